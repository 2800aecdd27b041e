"""Matrices in int8, half the bytes of bfloat16, for a CPU that reads weights more slowly than it multiplies.

Every 32 values of a row share a scale, a bfloat16, so that one large weight costs its neighbours and no others. A
weight is off by half a step at most, 1/254 of the largest of its 32, which makes a product's relative error about 0.5 %
for weights that are normally distributed. A matrix is read through `to`, like a tensor's, so whatever runs on tensors
runs on these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harmonium.errors import Unsupported

BLOCK = 32
"""Values that share a scale."""


@dataclass(frozen=True)
class Int8Matrix:
    """codes (out, in) int8 from -127 to 127, scales (out, in / 32) bfloat16."""

    codes: Tensor
    scales: Tensor

    @classmethod
    def quantize(cls, weight: Tensor) -> Int8Matrix:
        """weight (out, in), rounded to nearest, halves up. Raises Unsupported where rows are no blocks of 32."""
        if weight.shape[1] % BLOCK:
            raise Unsupported(
                f"A matrix of {weight.shape[1]} columns has no blocks of {BLOCK}; leave --dtype int8 out."
            )
        blocks = weight.float().unflatten(1, (-1, BLOCK))
        scales = (blocks.abs().amax(-1) * (1 / 127)).bfloat16()
        steps = scales.float().clamp(min=torch.finfo(torch.float32).tiny).unsqueeze(-1)
        codes = (blocks * steps.reciprocal() + 0.5).floor_().clamp_(-127, 127).to(torch.int8)
        return cls(codes.flatten(1), scales)

    def to(self, dtype: torch.dtype) -> Tensor:
        """The values that it stands for."""
        values: Tensor = self.codes.unflatten(1, (-1, BLOCK)).float() * self.scales.float().unsqueeze(-1)
        return values.flatten(1).to(dtype)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> torch.Size:
        return self.codes.shape

    @property
    def device(self) -> torch.device:
        return self.codes.device

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes
