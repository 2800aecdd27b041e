"""A layer on a CPU against float32, fed the same input and choice of experts: with weights as stored, and in int8."""

from __future__ import annotations

from statistics import median

import pytest
import torch

from benchmarks.cpu_numerics import layer_errors
from harmonium.model.config import ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

CONFIG = ModelConfig(hidden_size=288, intermediate_size=288, n_layers=2, n_heads=16, n_kv_heads=2, vocab_size=512)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 1e-5), (torch.int8, 1.5e-2)])
def test_layers_are_near_float32(dtype: torch.dtype, bound: float) -> None:
    """In the median of five inputs: a narrow layer's single tokens are now and then a tenth off it."""
    source = Dummy(CONFIG)
    model, found = Transformer.load(source, dtype=dtype), list[dict[str, float]]()
    for seed in range(5):
        torch.manual_seed(seed)
        found.append(layer_errors(model, source))
    attention, experts = (median(errors[name] for errors in found) for name in ("attention_error", "experts_error"))
    assert attention < bound and experts < 1e-5
    assert dtype != torch.int8 or attention > 1e-3, "int8 was not used"
