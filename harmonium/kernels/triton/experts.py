"""The experts of few tokens: each chosen expert's packed rows meet the one token that chose it; nothing is sorted.

Two kernels: gate_up with its bias and SwiGLU into a float16 scratch (SwiGLU's clamps bound it to 56, so float16 keeps
more of it than bfloat16 would), then down, weighted, summed over a token's experts and added to the residual stream.
"""

from __future__ import annotations

import triton
import triton.language as tl

from harmonium.kernels.triton.mxfp4 import row_dots, swiglu


@triton.jit
def few_gate_up(
    x_ptr,  # (tokens, hidden)
    indices_ptr,  # (tokens, k) int64
    words_ptr,  # (experts, 2 * inner, hidden / 8) int32
    scales_ptr,  # (experts, 2 * inner, hidden / 32) uint8
    bias_ptr,  # (experts, 2 * inner)
    out_ptr,  # (tokens, k, inner) float16
    K: tl.constexpr,
    HIDDEN: tl.constexpr,
    INNER: tl.constexpr,
    ROWS: tl.constexpr,
    N: tl.constexpr,
    C: tl.constexpr,
    PDL: tl.constexpr,
):
    choice = tl.program_id(1)
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    expert = tl.load(indices_ptr + choice)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < 2 * INNER
    rows = expert * (2 * INNER) + row
    sums = row_dots(words_ptr, scales_ptr, rows, is_row, x_ptr + choice // K * HIDDEN, HIDDEN, ROWS, N, C)
    sums += tl.load(bias_ptr + rows, is_row, 0).to(tl.float32)
    gate, up = tl.split(tl.reshape(sums, [ROWS // 2, 2]))
    column = tl.program_id(0) * (ROWS // 2) + tl.arange(0, ROWS // 2)
    tl.store(out_ptr + choice * INNER + column, swiglu(gate, up).to(tl.float16), column < INNER)


@triton.jit
def few_down(
    x_ptr,  # (tokens, hidden), added to
    inner_ptr,  # (tokens, k, inner) float16
    indices_ptr,  # (tokens, k) int64
    shares_ptr,  # (tokens, k) float32
    words_ptr,  # (experts, hidden, inner / 8) int32
    scales_ptr,  # (experts, hidden, inner / 32) uint8
    bias_ptr,  # (experts, hidden)
    K: tl.constexpr,
    HIDDEN: tl.constexpr,
    INNER: tl.constexpr,
    ROWS: tl.constexpr,
    N: tl.constexpr,
    C: tl.constexpr,
    PDL: tl.constexpr,
):
    token = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < HIDDEN
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    total = tl.load(x_ptr + token * HIDDEN + row, is_row, 0).to(tl.float32)
    for i in range(K):
        choice = token * K + i
        rows = tl.load(indices_ptr + choice) * HIDDEN + row
        sums = row_dots(words_ptr, scales_ptr, rows, is_row, inner_ptr + choice * INNER, INNER, ROWS, N, C)
        sums += tl.load(bias_ptr + rows, is_row, 0).to(tl.float32)
        total += sums * tl.load(shares_ptr + choice)
    tl.store(x_ptr + token * HIDDEN + row, total.to(x_ptr.dtype.element_ty), is_row)
