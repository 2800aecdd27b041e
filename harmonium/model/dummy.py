"""Random weights of the real shape, for measuring and trying without a checkpoint: `--dummy 20b`.

They are scaled so that the model behaves like one: the residual stream stays near its first size through all layers,
logits vary, and routing spreads over all experts. Near-zero weights would send every token to the same few experts and
make batches look cheaper than they are.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonium.errors import BadRequest
from harmonium.model import layout
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, NANO, TINY, ModelConfig

CONFIGS = {"20b": GPT_OSS_20B, "120b": GPT_OSS_120B, "nano": NANO, "tiny": TINY}

GAINS = {"o_proj": 0.25, "gate_up_proj": 1.0, "down_proj": 0.25, "lm_head": 3.0}
"""Size of a product for an input of size 1, where it is not 1. Of logits 3: some tokens are likely, none is certain."""

CODE_SIZE = math.sqrt(68.5 / 8)
"""Root mean square of E2M1's values."""

SCALE_SIZE = math.sqrt((0.25 + 1 + 4) / 3)
"""Root mean square of 0.5, 1 and 2, the scales drawn from, relative to the middle one."""


@dataclass(frozen=True)
class Dummy:
    """A checkpoint that exists nowhere. The same seed gives the same tensors on the same kind of device."""

    config: ModelConfig
    seed: int = 0
    device: torch.device | str = "cpu"

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under its Hugging Face name, made on the device: experts packed, floats in bfloat16."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        return ((name, self._tensor(name, shape, generator)) for name, shape in layout.shapes(self.config).items())

    def tensors_on(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        return ((name, tensor.to(device)) for name, tensor in self.tensors())

    def _tensor(self, name: str, shape: layout.Shape, generator: torch.Generator) -> Tensor:
        parts = name.split(".")
        if name.endswith("_blocks"):  # eight bytes at a time
            words = torch.empty((*shape[:-1], 2), dtype=torch.int64, device=self.device)
            return words.random_(-(2**63), None, generator=generator).view(torch.uint8)
        if name.endswith("_scales"):
            size = GAINS[parts[-1].removesuffix("_scales")] / math.sqrt(32 * shape[-1]) / CODE_SIZE / SCALE_SIZE
            middle = 127 + round(math.log2(size))
            scales = torch.empty(shape, dtype=torch.uint8, device=self.device)
            return scales.random_(middle - 1, middle + 2, generator=generator)
        values = torch.empty(shape, dtype=torch.bfloat16, device=self.device)
        if parts[-2].endswith("norm"):
            return values.fill_(1)
        size = 1.0  # embeddings and sinks
        if parts[-1].endswith("bias"):
            size = 0.02
        elif parts[-2] in ("lm_head", "router") or parts[-2].endswith("_proj"):
            size = GAINS.get(parts[-2], 1.0) / math.sqrt(shape[-1])
        return values.normal_(std=size, generator=generator)


def parse(name: str, n_layers: int | None = None) -> ModelConfig:
    """The config of a dummy's name, with only so many layers; BadRequest for a name that is none."""
    if name not in CONFIGS:
        near = difflib.get_close_matches(name, CONFIGS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise BadRequest(f"There is no dummy {name!r}{hint} Choose from {', '.join(CONFIGS)}.")
    if n_layers is not None and n_layers < 1:
        raise BadRequest(f"A model of {n_layers} layers has nothing to run; give 1 or more.")
    return CONFIGS[name] if n_layers is None else CONFIGS[name].with_layers(n_layers)
