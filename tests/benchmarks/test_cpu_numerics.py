"""A layer on a CPU against float32, fed the same input and choice of experts: with weights as stored, and in int8."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cpu_numerics import layer_errors
from harmonium.model.config import ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

CONFIG = ModelConfig(hidden_size=288, intermediate_size=288, n_layers=2, n_heads=16, n_kv_heads=2, vocab_size=512)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 1e-5), (torch.int8, 1.5e-2)])
def test_layers_are_near_float32(dtype: torch.dtype, bound: float) -> None:
    source = Dummy(CONFIG)
    errors = layer_errors(Transformer.load(source, dtype=dtype), source)
    assert errors["attention_error"] < bound and errors["experts_error"] < 1e-5
    assert dtype != torch.int8 or errors["attention_error"] > 1e-3, "int8 was not used"
