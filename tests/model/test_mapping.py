"""On a CPU a checkpoint's weights are pages of its file: nothing of them is copied, and processes share them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harmonium.kernels.int8 import Int8Matrix
from harmonium.model import checkpoint
from harmonium.model.transformer import Transformer


def mapped_ranges(path: Path) -> list[range]:
    lines = [line.split() for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    ends = [line[0].split("-") for line in lines if line[-1] == str(path.resolve())]
    return [range(int(start, 16), int(stop, 16)) for start, stop in ends]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/maps; run it on Linux")
def test_weights_are_the_files_pages(nano: Path) -> None:
    model = Transformer.load(checkpoint.open(nano))
    model.prepare()
    ranges = mapped_ranges(nano / "model.safetensors")
    layer, operations = model.weights.layers[3], model._layers[3]
    for tensor in (layer.q, layer.o, layer.experts.gate_up, layer.experts.down, model.weights.embedding):
        assert isinstance(tensor, torch.Tensor) and any(tensor.data_ptr() in part for part in ranges)
    for weights in (operations.qkv.weights[0][0], operations.experts.packed[0][0][0], model._head.weight):  # type: ignore[attr-defined, union-attr]
        assert any(weights.ctypes.data in part for part in ranges), "the kernels read the same"


def test_int8_is_that_of_attention_and_head_alone(nano: Path) -> None:
    exact, model = (Transformer.load(checkpoint.open(nano), dtype=dtype) for dtype in (None, torch.int8))
    assert isinstance(model.weights.head, Int8Matrix) and isinstance(model.weights.layers[0].o, Int8Matrix)
    for (name, stored), (_, rounded) in zip(exact.tensors(), model.tensors(), strict=True):
        is_rounded = name.endswith(
            ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "lm_head.weight")
        )
        assert torch.equal(stored, rounded) != is_rounded, name
        assert (stored.float() - rounded.float()).norm() <= 1e-2 * stored.float().norm()
