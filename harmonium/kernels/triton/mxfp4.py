"""Packed MXFP4 in registers: codes to values without a table, and the products of few tokens with their experts.

A 32-bit word holds eight codes. Masks and shifts turn codes j and j + 4 into a pair of float16 that are the values
times 2 ** -14, exactly, subnormals included; the 2 ** 14 goes into the scale. Source of the format: OCP Microscaling
Formats (MX) v1.0.
"""

from __future__ import annotations

import triton
import triton.language as tl

LIMIT = tl.constexpr(7.0)
ALPHA = tl.constexpr(1.702)


@triton.jit
def pair(words, j: tl.constexpr):
    """Values j and j + 4 of each word (uint32) times 2 ** -14, as two float16 tensors of the words' shape."""
    if j == 3:
        bits = ((words >> 3) & 0x0E000E00) | (words & 0x80008000)
    else:
        bits = ((words << (9 - 4 * j)) & 0x0E000E00) | ((words << (12 - 4 * j)) & 0x80008000)
    low = bits.to(tl.uint16).to(tl.float16, bitcast=True)
    high = (bits >> 16).to(tl.uint16).to(tl.float16, bitcast=True)
    return low, high


@triton.jit
def power(scales):
    """2 ** 14 times what scales (uint8) stand for, float32; exact up to a scale of 2 ** 113."""
    return ((scales.to(tl.uint32) + 14) << 23).to(tl.float32, bitcast=True)


@triton.jit
def planes(x, N: tl.constexpr):
    """x (32 * N,) as eight (N, 4): plane i has value i of every word."""
    even, odd = tl.split(tl.reshape(x, [N, 4, 2, 2, 2]))  # places 0, 2, 4, 6 and 1, 3, 5, 7; last axis: 0 and 2
    x04_26 = tl.split(even)
    x15_37 = tl.split(odd)
    x0, x4 = tl.split(x04_26[0])
    x2, x6 = tl.split(x04_26[1])
    x1, x5 = tl.split(x15_37[0])
    x3, x7 = tl.split(x15_37[1])
    return x0, x1, x2, x3, x4, x5, x6, x7


@triton.jit
def block_dots(words, x, N: tl.constexpr):
    """words (rows, N, 4) times x (32 * N,) float32, block by block and 2 ** -14 too small: (rows, N) float32."""
    x0, x1, x2, x3, x4, x5, x6, x7 = planes(x, N)
    low, high = pair(words, 0)
    total = low.to(tl.float32) * x0[None, :, :]
    total = tl.fma(high.to(tl.float32), tl.broadcast_to(x4[None, :, :], total.shape), total)
    low, high = pair(words, 1)
    total = tl.fma(low.to(tl.float32), tl.broadcast_to(x1[None, :, :], total.shape), total)
    total = tl.fma(high.to(tl.float32), tl.broadcast_to(x5[None, :, :], total.shape), total)
    low, high = pair(words, 2)
    total = tl.fma(low.to(tl.float32), tl.broadcast_to(x2[None, :, :], total.shape), total)
    total = tl.fma(high.to(tl.float32), tl.broadcast_to(x6[None, :, :], total.shape), total)
    low, high = pair(words, 3)
    total = tl.fma(low.to(tl.float32), tl.broadcast_to(x3[None, :, :], total.shape), total)
    total = tl.fma(high.to(tl.float32), tl.broadcast_to(x7[None, :, :], total.shape), total)
    return tl.sum(total, 2)


@triton.jit
def row_dots(
    words_ptr,
    scales_ptr,
    rows,
    is_row,
    x_ptr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    N: tl.constexpr,
    C: tl.constexpr,
):
    """Rows (ROWS,) int64 of packed matrices of WIDTH columns, times x (WIDTH,): (ROWS,) float32.

    C chunks of N blocks are asked for at once, before the first is used.
    """
    n_blocks: tl.constexpr = WIDTH // 32
    sums = tl.zeros([ROWS, N], tl.float32)
    for start in tl.static_range(0, n_blocks, C * N):
        loaded = ()
        for chunk in tl.static_range(C):
            block = start + chunk * N + tl.arange(0, N)
            there = is_row[:, None] & (block < n_blocks)[None, :]
            at = rows[:, None] * n_blocks + block[None, :]
            words = tl.load(words_ptr + at[:, :, None] * 4 + tl.arange(0, 4)[None, None, :], there[:, :, None], 0)
            both = (words, tl.load(scales_ptr + at, there, 0))
            loaded = loaded + both  # type: ignore[assignment]
        for chunk in tl.static_range(C):
            column = (start + chunk * N) * 32 + tl.arange(0, 32 * N)
            x = tl.load(x_ptr + column, column < WIDTH, 0).to(tl.float32)
            dots = block_dots(loaded[2 * chunk].to(tl.uint32, bitcast=True), x, N)
            sums = tl.fma(dots, power(loaded[2 * chunk + 1]), sums)
    return tl.sum(sums, 1)


@triton.jit
def swiglu(gate, up):
    gate = tl.minimum(gate, LIMIT)
    up = tl.minimum(tl.maximum(up, -LIMIT), LIMIT)
    return (up + 1) * gate / (1 + tl.exp(gate * -ALPHA))
