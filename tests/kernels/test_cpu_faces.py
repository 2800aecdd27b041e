"""Rows of packed weights times faces of activations, as floats and as limbs, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harmonium.hardware import has_vnni
from harmonium.model import mxfp4

FORMS = ("floats", "limbs")
N_ROWS, N_TOKENS = 4, 7


def products(form: str, matrix: tuple[np.ndarray, ...], x: torch.Tensor) -> torch.Tensor:
    """Rows of a matrix times tokens x, in float32: one token, then two, then four."""
    import numba

    from harmonium.kernels.cpu import faces
    from harmonium.kernels.cpu.dots import dots_1, dots_2, dots_4

    if form == "limbs" and not has_vnni():
        pytest.skip("this processor has no VNNI; run the tests on one that has")
    new, put = getattr(faces, f"new_{form}"), getattr(faces, f"put_{form}")

    @numba.njit
    def multiply(matrix: Any, values: Any, n_blocks: int, out: Any) -> None:
        faces = new(N_TOKENS, n_blocks)
        for token in range(N_TOKENS):
            for block in range(n_blocks):
                put(faces, token, n_blocks, block, values, (token * n_blocks + block) * 32)
        for row in range(0, N_ROWS, 2):
            dots_1(matrix, row, n_blocks, faces, 0, out[row // 2], 0, N_TOKENS)
            dots_2(matrix, row, n_blocks, faces, 1, out[row // 2], 1, N_TOKENS)
            dots_4(matrix, row, n_blocks, faces, 3, out[row // 2], 3, N_TOKENS)

    out = np.empty((N_ROWS // 2, 2 * N_TOKENS), np.float32)
    multiply(matrix, x.flatten().numpy(), x.shape[1] // 32, out)
    return torch.from_numpy(out).view(N_ROWS, N_TOKENS)


def weights(n_blocks: int) -> tuple[tuple[np.ndarray, ...], torch.Tensor]:
    """MXFP4 at the end of what may be read, so that no line may read behind it; and its values."""
    blocks = torch.randint(256, (N_ROWS, n_blocks, 16), dtype=torch.uint8)
    scales = torch.randint(100, 140, (N_ROWS, n_blocks), dtype=torch.uint8)
    return (blocks.flatten().numpy(), scales.flatten().numpy()), mxfp4.decode(blocks, scales)


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_any_length_meet_faces(form: str):
    for n_blocks in (1, 2, 3, 4, 5, 90):
        (matrix, values), x = weights(n_blocks), torch.randn(N_TOKENS, n_blocks * 32)
        x *= torch.logspace(-20, 20, N_TOKENS)[:, None] * torch.logspace(-3, 3, n_blocks * 32).roll(7)
        x[2], x[3, :32] = 0, 1e-25
        exact = x.double() @ values.double().t()
        largest = x.abs().view(N_TOKENS, n_blocks, 32).amax(-1, keepdim=True).expand(-1, -1, 32).flatten(1)
        bound = largest.double() @ values.abs().double().t() + 1e-30
        assert ((products(form, matrix, x).t() - exact).abs() / bound).max() < 2e-7


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_none(form: str, odd: float):
    (matrix, _), x = weights(5), torch.randn(N_TOKENS, 160)
    x[1, 70] = odd
    found = products(form, matrix, x)
    assert not found[:, 1].isfinite().any()
    assert found[:, [0, *range(2, N_TOKENS)]].isfinite().all()
