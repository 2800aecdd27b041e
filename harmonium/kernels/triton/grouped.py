"""The experts of many tokens: pairs of token and choice sorted by expert, tiles of them times packed weights.

A tile's rows share one expert, whose weights are decoded in registers on their way to the tensor cores. Which expert a
tile has follows from the counts on the device, so the host never waits; the grid covers the worst case.
"""

from __future__ import annotations

import triton
import triton.language as tl

from harmonium.kernels.triton.mxfp4 import pair, power, swiglu


@triton.jit
def decoded(words_ptr, scales_ptr, rows, is_row, start, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr):
    """Columns start to start + BLOCK of packed rows (N,): (N, BLOCK) values, exact in DTYPE where it can hold them."""
    n_words: tl.constexpr = WIDTH // 8
    word = start // 8 + tl.arange(0, BLOCK // 8)
    there = is_row[:, None] & (word < n_words)[None, :]
    at = rows[:, None] * n_words + word[None, :]
    words = tl.load(words_ptr + at, there, 0).to(tl.uint32, bitcast=True)
    scale = power(tl.load(scales_ptr + rows[:, None] * (n_words // 4) + (word // 4)[None, :], there, 0))
    x0, x4 = pair(words, 0)
    x1, x5 = pair(words, 1)
    x2, x6 = pair(words, 2)
    x3, x7 = pair(words, 3)
    # Joined so that the last axis runs over bits 0, 1, 2 of a value's place, low bit fastest.
    low = tl.join(tl.join(scaled(x0, scale, DTYPE), scaled(x2, scale, DTYPE)),
                  tl.join(scaled(x1, scale, DTYPE), scaled(x3, scale, DTYPE)))  # fmt: skip
    high = tl.join(tl.join(scaled(x4, scale, DTYPE), scaled(x6, scale, DTYPE)),
                   tl.join(scaled(x5, scale, DTYPE), scaled(x7, scale, DTYPE)))  # fmt: skip
    both = tl.permute(tl.join(low, high), (0, 1, 4, 2, 3))  # (N, words, bit 2, bit 1, bit 0)
    return tl.reshape(both, [words.shape[0], BLOCK])


@triton.jit
def scaled(x, scale, DTYPE: tl.constexpr):
    return (x.to(tl.float32) * scale).to(DTYPE)


@triton.jit
def grouped(
    x_ptr,  # (tokens, width), or (pairs, width) where not GATHER
    order_ptr,  # (pairs,) int64: the pairs (token * k + choice), sorted by expert
    starts_ptr,  # (experts + 1,) int64: each expert's first place in order
    words_ptr,  # (experts, out, width / 8) int32
    scales_ptr,  # (experts, out, width / 32) uint8
    bias_ptr,  # (experts, out)
    shares_ptr,  # (pairs,) float32
    out_ptr,  # GATHER: (pairs, out / 2) in sorted order, after SwiGLU; else (pairs, out) by pair, weighted
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    EXPERTS: tl.constexpr,
    EXPERTS_BLOCK: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    GATHER: tl.constexpr,
):
    tile = tl.program_id(1)
    expert_place = tl.arange(0, EXPERTS_BLOCK)
    is_expert = expert_place < EXPERTS
    begin = tl.load(starts_ptr + expert_place, is_expert, 0)
    n_tiles = (tl.load(starts_ptr + expert_place + 1, is_expert, 0) - begin + M - 1) // M
    ends = tl.cumsum(n_tiles, 0)
    expert = tl.sum((is_expert & (ends <= tile)).to(tl.int32), 0)
    if expert >= EXPERTS:
        return
    before = tl.sum(tl.where(expert_place < expert, n_tiles, 0), 0)
    last = tl.load(starts_ptr + expert + 1)
    place = tl.load(starts_ptr + expert) + (tile - before) * M + tl.arange(0, M)
    is_place = place < last
    its_pair = tl.load(order_ptr + place, is_place, 0)
    source = place
    if GATHER:
        source = its_pair // K
    row = tl.program_id(0) * N + tl.arange(0, N)
    is_row = row < OUT
    rows = expert.to(tl.int64) * OUT + row
    acc = tl.zeros([N, M], tl.float32)  # weights are the wide operand and stay in registers
    for start in range(0, WIDTH, BLOCK):
        column = start + tl.arange(0, BLOCK)
        there = is_place[:, None] & (column < WIDTH)[None, :]
        x = tl.load(x_ptr + source[:, None] * WIDTH + column[None, :], there, 0)
        weight = decoded(words_ptr, scales_ptr, rows, is_row, start, WIDTH, BLOCK, x_ptr.dtype.element_ty)
        acc = tl.dot(weight, tl.trans(x), acc, input_precision="ieee")
    acc += tl.load(bias_ptr + rows, is_row, 0).to(tl.float32)[:, None]
    if GATHER:
        gate, up = tl.split(tl.permute(tl.reshape(acc, [N // 2, 2, M]), (0, 2, 1)))
        column = tl.program_id(0) * (N // 2) + tl.arange(0, N // 2)
        at = place[None, :] * (OUT // 2) + column[:, None]
        there = is_place[None, :] & (column < OUT // 2)[:, None]
        tl.store(out_ptr + at, swiglu(gate, up).to(out_ptr.dtype.element_ty), there)
    else:
        acc *= tl.load(shares_ptr + its_pair, is_place, 0)[None, :]
        at = its_pair[None, :] * OUT + row[:, None]
        tl.store(out_ptr + at, acc.to(out_ptr.dtype.element_ty), is_place[None, :] & is_row[:, None])


@triton.jit
def sum_add(x_ptr, parts_ptr, K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """x (tokens, width) += parts (tokens, k, width), summed over k in float32."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    is_column = column < WIDTH
    total = tl.load(x_ptr + token * WIDTH + column, is_column, 0).to(tl.float32)
    for i in tl.static_range(K):
        total += tl.load(parts_ptr + (token * K + i) * WIDTH + column, is_column, 0).to(tl.float32)
    tl.store(x_ptr + token * WIDTH + column, total.to(x_ptr.dtype.element_ty), is_column)
