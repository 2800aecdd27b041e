"""Checkpoints of the published widths against transformers, with one model in memory at a time."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import GptOssConfig, GptOssForCausalLM, Mxfp4Config
from transformers.initialization import no_init_weights

from harmonium.model import checkpoint, config_file, mxfp4
from harmonium.model.checkpoint import StoredCheckpoint
from harmonium.model.config import GPT_OSS_20B, ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer
from tests.o200k import tokenizer_json


class Lazy:
    """Stands in for transformers' dense experts and decodes those that are used."""

    def __init__(self, opened: StoredCheckpoint, name: str) -> None:
        self.blocks, self.scales = (opened.tensor(f"{name}_{part}") for part in ("blocks", "scales"))

    def __getitem__(self, expert: Tensor) -> Tensor:
        return mxfp4.decode(self.blocks[expert], self.scales[expert]).t()


def their_lazy_model(opened: StoredCheckpoint) -> Any:
    options = config_file.to_json(opened.config, is_packed=False)
    config = GptOssConfig(**options, attn_implementation="eager", experts_implementation="eager")
    with no_init_weights():
        model = GptOssForCausalLM(config).eval()
    for name, tensor in opened.tensors():
        if name.endswith("_scales"):
            path, _, projection = name.removesuffix("_scales").rpartition(".")
            experts = model.get_submodule(path)
            delattr(experts, projection)
            setattr(experts, projection, Lazy(opened, f"{path}.{projection}"))
        elif not name.endswith("_blocks"):
            model.get_parameter(name).data = tensor.float()
    return model


@torch.no_grad()
def our_logits(folder: Path, ids: Tensor) -> Tensor:
    return Transformer.load(checkpoint.open(folder), dtype=torch.float32).forward(ids)


def saved(folder: Path, config: ModelConfig) -> Path:
    checkpoint.save(folder, config, Dummy(config).tensors(), files=[tokenizer_json()])
    return folder


def test_one_layer_and_4096_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path, replace(GPT_OSS_20B.with_layers(1), vocab_size=4096))
    ids = torch.tensor([[17, 4000, 256]])
    with torch.no_grad():
        theirs = their_lazy_model(checkpoint.open(folder))(ids).logits
    torch.testing.assert_close(our_logits(folder, ids), theirs, rtol=0, atol=1e-5)


@pytest.mark.deep
def test_two_layers_and_every_row(tmp_path: Path) -> None:
    folder = saved(tmp_path, GPT_OSS_20B.with_layers(2))
    text = "Formats of four bits: " + ", ".join(f"{i} ≠ {i / 2}" for i in range(20))
    ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids])
    assert ids.shape[1] > GPT_OSS_20B.window
    ours = our_logits(folder, ids)
    gc.collect()
    packed = Mxfp4Config(dequantize=True)
    model = GptOssForCausalLM.from_pretrained(folder, quantization_config=packed, attn_implementation="eager")
    with torch.no_grad():
        theirs = model.float()(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
