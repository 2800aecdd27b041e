"""MXFP4: 4-bit floats in blocks of 32 along the input dimension, with one power of two per block.

A value is E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives) times 2^(scale - 127). Byte j of a block's 16 holds
value 2j in its low and 2j + 1 in its high nibble. Sources: OCP Microscaling Formats (MX) Specification v1.0; for the
order of the nibbles openai/gpt-oss, gpt_oss/torch/weights.py.

Everything here is elementwise and compiles; nothing multiplies matrices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harmonium.errors import BadRequest
from harmonium.kernels.reference import decode_mxfp4

BLOCK = 32
"""Values that share a scale."""

decode = decode_mxfp4
"""blocks (..., n, 16) uint8, scales (..., n) uint8, dtype -> (..., 32 * n), exact in float32 and bfloat16."""


def pack(codes: Tensor) -> Tensor:
    """(..., 2 * k) 4-bit codes as uint8 -> (..., k) bytes, even positions in the low nibbles."""
    return codes[..., 0::2] | codes[..., 1::2] << 4


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (..., 32 * n) -> blocks (..., n, 16) and scales (..., n), both uint8, rounded to nearest, ties to even.

    The scale is the specification's, 2^(floor(log2(largest)) - 2), or twice that where the block's squared error is
    smaller. The specification's saturates what is above 7 of its steps at 6; below that its grid contains the coarser
    one, so no third scale can win. What was decoded before comes back unchanged. Weights that are not finite raise
    BadRequest.
    """
    if not weight.isfinite().all():
        raise BadRequest("The weights hold NaN or infinity and cannot be quantized; train or merge them again.")
    values, exponent = _nearest(weight)
    # A float16 that holds a value times 2^-14 has the value's code in its sign and its bits 9 to 11, subnormals too.
    bits = (values / 2.0**14).to(torch.float16).view(torch.int16)
    codes = (bits >> 9 & 7 | bits >> 12 & 8).to(torch.uint8)
    return pack(codes).contiguous(), exponent.to(torch.uint8).contiguous()


def fake_quantize(weight: Tensor) -> Tensor:
    """decode(*quantize(weight)) in weight's dtype, bit for bit, with the gradient of the identity. (..., 32 * n)."""
    result: Tensor = _StraightThrough.apply(weight)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        values, exponent = _nearest(weight)
        return (values * _power_of_two(exponent).unsqueeze(-1)).flatten(-2).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _nearest(weight: Tensor) -> tuple[Tensor, Tensor]:
    """E2M1 values (..., n, 32) as float32 and their biased exponents (..., n) as int32."""
    blocks = weight.float().reshape(*weight.shape[:-1], -1, BLOCK)  # (..., n, 32)
    largest = blocks.abs().amax(dim=-1)
    exponent = ((largest.view(torch.int32) >> 23) - 2).clamp(min=0)
    scaled = blocks * _power_of_two(254 - exponent).unsqueeze(-1)  # |scaled| < 8
    fine, coarse = _round_to_e2m1(scaled), _round_to_e2m1(scaled / 2)
    fine_error = (fine - scaled).square().sum(dim=-1)
    coarse_error = (coarse * 2 - scaled).square().sum(dim=-1)
    is_coarse = coarse_error < fine_error
    return torch.where(is_coarse.unsqueeze(-1), coarse, fine), exponent + is_coarse.to(torch.int32)


def _round_to_e2m1(value: Tensor) -> Tensor:
    """The nearest E2M1 value. An even multiple of the local step is an even code, so round()'s ties are E2M1's."""
    magnitude = value.abs()
    step = 0.5 + 0.5 * (magnitude >= 2) + (magnitude >= 4)
    return ((magnitude / step).round() * step).clamp(max=6).copysign(value)


def _power_of_two(exponent: Tensor) -> Tensor:
    """2^(exponent - 127) as float32, from the exponent's bits, 0 to 254."""
    exponent = exponent.to(torch.int32)
    return torch.where(exponent == 0, 1 << 22, exponent << 23).view(torch.float32)
