"""Dense products for a few dozen tokens on tensor cores, each fused with what stands before and after it.

Weights are the left operand, some rows a program, and stream through once; tokens are the right one, which stays in the
L2 cache. The floor is the weights' bytes: at 20b's sizes 29.5 MB for q, k and v and 23.6 MB for the output, 7.0 and
5.6 us a layer at 4.2 TB/s. Past some 32 tokens what all programs read of the tokens is more than the weights.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def qkv(
    x_ptr,  # (tokens, hidden), normed
    weight_ptr,  # ((heads + 2 * kv_heads) * head_dim, hidden): q, k, v
    bias_ptr,
    cos_ptr,  # (tokens, head_dim / 2) float32
    sin_ptr,
    slots_ptr,  # (tokens,) int64
    out_ptr,  # (tokens, heads * head_dim)
    k_cache_ptr,  # (pages, kv_heads, page_size, head_dim)
    v_cache_ptr,
    tokens,
    HIDDEN: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    PAIRS: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program computes PAIRS rotation pairs of one head, rows i and i + head_dim / 2, for all tokens."""
    half: tl.constexpr = HEAD_DIM // 2
    parts: tl.constexpr = half // PAIRS
    head = tl.program_id(0) // parts
    side = tl.arange(0, 2 * PAIRS)
    pair = tl.program_id(0) % parts * PAIRS + tl.arange(0, PAIRS)
    row = head * HEAD_DIM + tl.program_id(0) % parts * PAIRS + side // PAIRS * half + side % PAIRS
    token, column = tl.arange(0, TOKENS), tl.arange(0, BLOCK)
    is_token = token < tokens
    weight_at = weight_ptr + row[:, None] * HIDDEN + column[None, :]
    x_at = x_ptr + token[None, :] * HIDDEN + column[:, None]
    acc = tl.zeros([2 * PAIRS, TOKENS], tl.float32)
    for start in range(0, HIDDEN, BLOCK):
        is_column = start + column < HIDDEN
        weight = tl.load(weight_at + start, is_column[None, :], 0)
        x = tl.load(x_at + start, is_token[None, :] & is_column[:, None], 0)
        acc = tl.dot(weight.to(x.dtype), x, acc, input_precision="ieee")
    acc += tl.load(bias_ptr + row).to(tl.float32)[:, None]
    a, b = tl.split(tl.permute(tl.reshape(acc, [2, PAIRS, TOKENS]), (1, 2, 0)))  # each (PAIRS, TOKENS)
    angle = token[None, :] * half + pair[:, None]
    cos, sin = tl.load(cos_ptr + angle, is_token[None, :], 0), tl.load(sin_ptr + angle, is_token[None, :], 0)
    turned, other = a * cos - b * sin, b * cos + a * sin
    if head < HEADS:
        place = out_ptr + token[None, :] * (HEADS * HEAD_DIM) + head * HEAD_DIM + pair[:, None]
        tl.store(place, turned.to(out_ptr.dtype.element_ty), is_token[None, :])
        tl.store(place + half, other.to(out_ptr.dtype.element_ty), is_token[None, :])
    else:
        slot = tl.load(slots_ptr + token, is_token, 0)
        its_head = (head - HEADS) % KV_HEADS
        first = ((slot // PAGE_SIZE * KV_HEADS + its_head) * PAGE_SIZE + slot % PAGE_SIZE) * HEAD_DIM
        cached = first[None, :] + pair[:, None]
        if head < HEADS + KV_HEADS:
            tl.store(k_cache_ptr + cached, turned.to(k_cache_ptr.dtype.element_ty), is_token[None, :])
            tl.store(k_cache_ptr + cached + half, other.to(k_cache_ptr.dtype.element_ty), is_token[None, :])
        else:
            tl.store(v_cache_ptr + cached, a.to(v_cache_ptr.dtype.element_ty), is_token[None, :])
            tl.store(v_cache_ptr + cached + half, b.to(v_cache_ptr.dtype.element_ty), is_token[None, :])


@triton.jit
def project_add(
    x_ptr,  # (tokens, hidden), added to
    attended_ptr,  # (tokens, width)
    weight_ptr,  # (hidden, width)
    bias_ptr,
    tokens,
    HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < HIDDEN
    token, column = tl.arange(0, TOKENS), tl.arange(0, BLOCK)
    is_token = token < tokens
    weight_at = weight_ptr + row[:, None] * WIDTH + column[None, :]
    attended_at = attended_ptr + token[None, :] * WIDTH + column[:, None]
    acc = tl.zeros([ROWS, TOKENS], tl.float32)
    for start in range(0, WIDTH, BLOCK):
        is_column = start + column < WIDTH
        weight = tl.load(weight_at + start, is_row[:, None] & is_column[None, :], 0)
        attended = tl.load(attended_at + start, is_token[None, :] & is_column[:, None], 0)
        acc = tl.dot(weight.to(attended.dtype), attended, acc, input_precision="ieee")
    acc += tl.load(bias_ptr + row, is_row, 0).to(tl.float32)[:, None]
    is_there = is_row[:, None] & is_token[None, :]
    place = x_ptr + token[None, :] * HIDDEN + row[:, None]
    acc += tl.load(place, is_there, 0).to(tl.float32)
    tl.store(place, acc.to(x_ptr.dtype.element_ty), is_there)
