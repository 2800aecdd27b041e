"""MXFP4 against transformers' decoder, a brute-force rounding, and its own inverse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from harmonium.errors import BadRequest
from harmonium.model import mxfp4

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def random_packed(seed: int, shape: tuple[int, ...] = (3, 64, 5)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (*shape, 16), generator=generator, dtype=torch.uint8)
    return blocks, torch.randint(0, 252, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decode_equals_transformers_bit_for_bit(dtype: torch.dtype) -> None:
    blocks, scales = random_packed(0)
    theirs = convert_moe_packed_tensors(blocks, scales, dtype=dtype).transpose(1, 2)
    assert torch.equal(mxfp4.decode(blocks, scales, dtype), theirs)


def test_every_code_at_every_scale() -> None:
    blocks = mxfp4.pack(torch.arange(16, dtype=torch.uint8).repeat(2)).expand(255, 1, 16)
    scales = torch.arange(255, dtype=torch.uint8).unsqueeze(-1)
    signed = torch.cat((E2M1, -E2M1)).repeat(2).double()
    exact = signed * torch.ldexp(torch.ones(255, 1, dtype=torch.float64), torch.arange(255).unsqueeze(-1) - 127)
    assert torch.equal(mxfp4.decode(blocks, scales).double(), exact.float().double())
    assert torch.equal(mxfp4.decode(blocks, scales, torch.bfloat16)[:253].double(), exact[:253])


def test_even_positions_are_low_nibbles() -> None:
    assert mxfp4.pack(torch.tensor([1, 2, 15, 8], dtype=torch.uint8)).tolist() == [0x21, 0x8F]


@given(seed=st.integers(0, 2**32 - 1), magnitude=st.floats(-100, 100), dtype=st.sampled_from(["float32", "bfloat16"]))
@settings(max_examples=60, deadline=None)
def test_quantize_finds_the_best_of_the_neighboring_scales(seed: int, magnitude: float, dtype: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randn(6, 64, generator=generator) * 2.0**magnitude).to(getattr(torch, dtype))
    blocks, scales = mxfp4.quantize(weight)
    exact = weight.double().view(6, 2, 1, mxfp4.BLOCK)
    steps = 2.0 ** (scales.double().unsqueeze(-1) - 127 + torch.arange(-2, 3))  # (6, 2, 5): the scale and four others
    grid = torch.cat((E2M1, -E2M1)).double() * steps.unsqueeze(-1)  # (6, 2, 5, 16)
    errors = (exact.unsqueeze(-1) - grid.unsqueeze(-2)).abs().amin(dim=-1).square().sum(dim=-1)  # (6, 2, 5)
    ours = (exact.squeeze(2) - mxfp4.decode(blocks, scales).double().view(6, 2, -1)).square().sum(dim=-1)
    torch.testing.assert_close(ours, errors.amin(dim=-1), rtol=1e-9, atol=0)


def test_ties_go_to_the_even_code() -> None:
    weight = torch.zeros(32)
    weight[:9] = torch.tensor([6.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, -2.5])
    values = mxfp4.decode(*mxfp4.quantize(weight))[:9]
    assert values.tolist() == [6.0, 0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, -2.0]


def test_largest_above_seven_steps_takes_the_coarser_scale() -> None:
    weight = torch.tensor([7.5] + [0.0] * 31)
    blocks, scales = mxfp4.quantize(weight)
    assert mxfp4.decode(blocks, scales)[0] == 8.0 and scales.tolist() == [128]


@given(seed=st.integers(0, 2**32 - 1), magnitude=st.integers(-140, 100))
@settings(max_examples=60, deadline=None)
def test_what_was_quantized_comes_back_unchanged(seed: int, magnitude: int) -> None:
    weight = torch.randn(4, 96, generator=torch.Generator().manual_seed(seed)) * 2.0**magnitude
    blocks, scales = mxfp4.quantize(weight)
    again = mxfp4.quantize(mxfp4.decode(blocks, scales))
    assert torch.equal(again[0], blocks) and torch.equal(again[1], scales)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_packed_tensor_keeps_its_values(seed: int) -> None:
    decoded = mxfp4.decode(*random_packed(seed, (4, 3)))
    assert torch.equal(mxfp4.decode(*mxfp4.quantize(decoded)), decoded)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_quantize_is_quantize_and_decode_with_identity_gradient(dtype: torch.dtype) -> None:
    weight = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    upstream = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(2)).to(dtype)
    result = mxfp4.fake_quantize(weight)
    assert result.dtype == dtype and torch.equal(result, mxfp4.decode(*mxfp4.quantize(weight), dtype))
    result.backward(upstream)
    assert weight.grad is not None and torch.equal(weight.grad, upstream)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BadRequest, match="NaN"):
        mxfp4.quantize(torch.full((32,), float("nan")))
