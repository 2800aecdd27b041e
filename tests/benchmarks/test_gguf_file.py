"""The GGUF holds the checkpoint's numbers, as the `gguf` package reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harmonium.model import mxfp4
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy

gguf = pytest.importorskip("gguf")


def test_a_checkpoint_as_gguf(tmp_path: Path):
    from benchmarks import gguf_file

    path, source = tmp_path / "tiny.gguf", Dummy(TINY.with_layers(2))
    gguf_file.write(path, source)
    reader = gguf.GGUFReader(path)
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    stored = dict(source.tensors())
    assert len(found) == 3 + 2 * (5 + 8 + 6)
    layer = "model.layers.1."
    for name, ours in (("gate_up_proj", None), ("down_proj", "ffn_down_exps")):
        projection = f"{layer}mlp.experts.{name}"
        values = mxfp4.decode(stored[f"{projection}_blocks"], stored[f"{projection}_scales"]).numpy()
        bias = stored[f"{projection}_bias"].float().numpy()
        parts = {ours: slice(None)} if ours else {"ffn_gate_exps": slice(0, None, 2), "ffn_up_exps": slice(1, None, 2)}
        for part, rows in parts.items():
            assert np.array_equal(found[f"blk.1.{part}.weight"], values[:, rows])
            assert np.array_equal(found[f"blk.1.{part}.bias"], bias[:, rows])
    attention = f"{layer}self_attn."
    matrices = {"lm_head.weight": "output.weight", f"{attention}o_proj.weight": "blk.1.attn_output.weight"}
    for name, ours in matrices.items():
        exact = stored[name].float()
        assert torch.from_numpy(found[ours]).sub(exact).abs().max() <= exact.abs().max() / 127
    assert np.array_equal(found["blk.1.attn_sinks.weight"], stored[f"{attention}sinks"].float().numpy())
    fields = {name: reader.fields[f"gpt-oss.{name}"].contents() for name in ("block_count", "expert_used_count")}
    assert fields == {"block_count": 2, "expert_used_count": 4}


def test_a_file_that_was_interrupted_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks import gguf_file

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    path, source = tmp_path / "tiny.gguf", Dummy(TINY.with_layers(2))
    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gguf_file.write(path, source)
    assert not path.exists()
    monkeypatch.undo()
    gguf_file.write(path, source)
    assert [one.name for one in tmp_path.iterdir()] == ["tiny.gguf"]
