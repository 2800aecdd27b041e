"""Row by row, for many tokens: the norm, rotation with the cache write, and the choice of experts."""

from __future__ import annotations

import triton
import triton.language as tl

from harmonium.kernels.triton.linear import choose, inverse_rms


@triton.jit
def norm_rows(
    x_ptr, rows_ptr, norm_ptr, out_ptr, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, PICK: tl.constexpr,
):  # fmt: skip
    """out row i from x row i, or from x row rows[i] where PICK."""
    column = tl.arange(0, BLOCK)
    is_column = column < WIDTH
    row = tl.program_id(0).to(tl.int64)
    source = row
    if PICK:
        source = tl.load(rows_ptr + row)
    x = tl.load(x_ptr + source * WIDTH + column, is_column, 0).to(tl.float32)
    norm = tl.load(norm_ptr + column, is_column, 0).to(tl.float32)
    x = x * inverse_rms(x, WIDTH, eps) * norm
    tl.store(out_ptr + row * WIDTH + column, x.to(out_ptr.dtype.element_ty), is_column)


@triton.jit
def rotate_store(
    all_ptr,  # (tokens, heads + 2 * kv_heads, head_dim): q, k, v
    q_ptr,  # (tokens, heads, head_dim), q rotated
    cos_ptr,  # (tokens, head_dim / 2) float32
    sin_ptr,
    slots_ptr,  # (tokens,) int64
    k_cache_ptr,  # (pages, kv_heads, page_size, head_dim)
    v_cache_ptr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    HEADS_BLOCK: tl.constexpr,
    KV_BLOCK: tl.constexpr,
):
    half: tl.constexpr = HEAD_DIM // 2
    token = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, half)
    cos = tl.load(cos_ptr + token * half + pair)[None, :]
    sin = tl.load(sin_ptr + token * half + pair)[None, :]
    head = tl.arange(0, HEADS_BLOCK)
    here = all_ptr + token * (HEADS + 2 * KV_HEADS) * HEAD_DIM
    source = here + head[:, None] * HEAD_DIM + pair[None, :]
    at = q_ptr + (token * HEADS + head)[:, None] * HEAD_DIM + pair[None, :]
    there = (head < HEADS)[:, None]
    a, b = tl.load(source, there, 0).to(tl.float32), tl.load(source + half, there, 0).to(tl.float32)
    tl.store(at, (a * cos - b * sin).to(q_ptr.dtype.element_ty), there)
    tl.store(at + half, (b * cos + a * sin).to(q_ptr.dtype.element_ty), there)
    kv_head = tl.arange(0, KV_BLOCK)
    there = (kv_head < KV_HEADS)[:, None]
    source = here + (HEADS + kv_head)[:, None] * HEAD_DIM + pair[None, :]
    slot = tl.load(slots_ptr + token)
    place = (slot // PAGE_SIZE * KV_HEADS + kv_head) * PAGE_SIZE + slot % PAGE_SIZE
    cached = place[:, None] * HEAD_DIM + pair[None, :]
    a, b = tl.load(source, there, 0).to(tl.float32), tl.load(source + half, there, 0).to(tl.float32)
    tl.store(k_cache_ptr + cached, (a * cos - b * sin).to(k_cache_ptr.dtype.element_ty), there)
    tl.store(k_cache_ptr + cached + half, (b * cos + a * sin).to(k_cache_ptr.dtype.element_ty), there)
    for offset in tl.static_range(0, 2):
        v = tl.load(source + KV_HEADS * HEAD_DIM + offset * half, there, 0)
        tl.store(v_cache_ptr + cached + offset * half, v.to(v_cache_ptr.dtype.element_ty), there)


@triton.jit
def choose_rows(
    logits_ptr, indices_ptr, shares_ptr,
    EXPERTS: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    logits = tl.load(logits_ptr + row * EXPERTS + place, place < EXPERTS, float("-inf")).to(tl.float32)
    choose(logits, place, indices_ptr + row * K, shares_ptr + row * K, K)
