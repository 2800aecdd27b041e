"""Attention over pages with sinks: one new token a row, split over its context; and many, tile by tile.

Both keep a running maximum and sum (Milakov and Gimelshein 2018, arXiv:1805.02867) in powers of two, and take the sink
in at the end, as one more logit without a value. Pages out of a token's reach are never read.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-1.0e30)


@triton.jit
def one_tile(
    q, acc, top, total, k_ptr, v_ptr, table_ptr, kv_head, key, is_key, mask, scale,
    KV_HEADS: tl.constexpr, PAGE_SIZE: tl.constexpr, HEAD_DIM: tl.constexpr, MASKED: tl.constexpr = True,
):  # fmt: skip
    """Takes keys (N,) into acc (M, head_dim), top and total (M,), for q (M, head_dim) and mask (M, N), if MASKED."""
    part = tl.arange(0, HEAD_DIM)
    if MASKED:
        page = tl.load(table_ptr + key // PAGE_SIZE, is_key, 0).to(tl.int64)
    else:
        page = tl.load(table_ptr + key // PAGE_SIZE).to(tl.int64)
    at = ((page * KV_HEADS + kv_head) * PAGE_SIZE + key % PAGE_SIZE)[:, None] * HEAD_DIM + part[None, :]
    if MASKED:
        k = tl.load(k_ptr + at, is_key[:, None], 0)  # (N, head_dim)
        v = tl.load(v_ptr + at, is_key[:, None], 0)
    else:
        k, v = tl.load(k_ptr + at), tl.load(v_ptr + at)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    if MASKED:
        scores = tl.where(mask, scores, float("-inf"))
    new_top = tl.maximum(top, tl.max(scores, 1) * scale)
    weights = tl.exp2(scores * scale - new_top[:, None])
    shrink = tl.exp2(top - new_top)
    total = total * shrink + tl.sum(weights, 1)
    acc = tl.dot(weights.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
    return acc, new_top, total


@triton.jit
def with_sink(acc, top, total, sink):
    """What attention gives, once the sink (M,) has taken its share."""
    new_top = tl.maximum(top, sink)
    shrink = tl.exp2(top - new_top)
    return acc * (shrink / (total * shrink + tl.exp2(sink - new_top)))[:, None]


@triton.jit
def attend_one(
    q_ptr,  # (rows, heads, head_dim)
    k_ptr,  # (pages, kv_heads, page_size, head_dim)
    v_ptr,
    table_ptr,  # (rows, max_pages) int32
    lengths_ptr,  # (rows,) int32
    sinks_ptr,  # (heads,)
    out_ptr,  # like q
    parts_ptr,  # (rows, kv_heads, splits, group, head_dim) float32, scratch
    tops_ptr,  # (rows, kv_heads, 2, splits, group) float32, scratch: maxima, sums
    arrived_ptr,  # (rows, kv_heads) int32, zero before and after
    table_stride,
    scale,
    WINDOW: tl.constexpr,  # 0 for none
    GROUP: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    SPLITS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
):
    """A program takes a share of one row's context for one key/value head; the last one to come joins the shares."""
    kv_head, split, row = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    member = tl.arange(0, M)
    is_member = member < GROUP
    part = tl.arange(0, HEAD_DIM)
    length = tl.load(lengths_ptr + row)
    first = 0
    if WINDOW > 0:
        first = tl.maximum(length - WINDOW, 0)
    first_tile = first // N
    tiles = tl.cdiv(tl.cdiv(length, N) - first_tile, SPLITS)
    start = (first_tile + split * tiles) * N
    stop = tl.minimum(length, start + tiles * N)
    heads = (row * KV_HEADS + kv_head) * GROUP + member
    q = tl.load(q_ptr + heads[:, None] * HEAD_DIM + part[None, :], is_member[:, None], 0)
    sink = tl.load(sinks_ptr + kv_head * GROUP + member, is_member, 0).to(tl.float32) * LOG2E
    acc = tl.zeros([M, HEAD_DIM], tl.float32)
    top, total = tl.full([M], LOWEST, tl.float32), tl.zeros([M], tl.float32)
    for at in range(start, stop, N):
        key = at + tl.arange(0, N)
        is_key = (key >= first) & (key < stop)
        acc, top, total = one_tile(
            q, acc, top, total, k_ptr, v_ptr, table_ptr + row * table_stride, kv_head, key, is_key,
            is_key[None, :], scale, KV_HEADS, PAGE_SIZE, HEAD_DIM,
        )  # fmt: skip
    place = out_ptr + heads[:, None] * HEAD_DIM + part[None, :]
    if SPLITS == 1:
        tl.store(place, with_sink(acc, top, total, sink).to(out_ptr.dtype.element_ty), is_member[:, None])
    else:
        base = (row * KV_HEADS + kv_head) * SPLITS
        parts = parts_ptr + ((base + split) * GROUP + member)[:, None] * HEAD_DIM + part[None, :]
        tops = tops_ptr + 2 * base * GROUP + member
        tl.store(parts, acc, is_member[:, None])
        tl.store(tops + split * GROUP, top, is_member)
        tl.store(tops + (SPLITS + split) * GROUP, total, is_member)
        tl.debug_barrier()
        arrived = tl.atomic_add(arrived_ptr + row * KV_HEADS + kv_head, 1, sem="acq_rel")
        if arrived == SPLITS - 1:
            tl.store(arrived_ptr + row * KV_HEADS + kv_head, 0)
            acc = tl.zeros([M, HEAD_DIM], tl.float32)
            top, total = tl.full([M], LOWEST, tl.float32), tl.zeros([M], tl.float32)
            for other in range(SPLITS):
                from_here = parts_ptr + ((base + other) * GROUP + member)[:, None] * HEAD_DIM + part[None, :]
                its_acc = tl.load(from_here, is_member[:, None], 0, cache_modifier=".cg")
                its_top = tl.load(tops + other * GROUP, is_member, LOWEST, cache_modifier=".cg")
                its_total = tl.load(tops + (SPLITS + other) * GROUP, is_member, 0, cache_modifier=".cg")
                new_top = tl.maximum(top, its_top)
                mine, its = tl.exp2(top - new_top), tl.exp2(its_top - new_top)
                acc = acc * mine[:, None] + its_acc * its[:, None]
                total = total * mine + its_total * its
                top = new_top
            tl.store(place, with_sink(acc, top, total, sink).to(out_ptr.dtype.element_ty), is_member[:, None])


@triton.jit
def attend_many(
    q_ptr,  # (tokens, heads, head_dim)
    k_ptr,  # (pages, kv_heads, page_size, head_dim)
    v_ptr,
    table_ptr,  # (rows, max_pages) int32
    starts_ptr,  # (rows + 1,) int32
    lengths_ptr,  # (rows,) int32
    sinks_ptr,  # (heads,)
    out_ptr,  # like q
    table_stride,
    scale,
    WINDOW: tl.constexpr,  # 0 for none
    HEADS: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    KV_HEADS: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
):
    """A program takes M new tokens of one row and one head; the longest begin first, so that none is left alone at the
    end. Tiles of keys that need no mask between tokens come first."""
    tile, head, row = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1), tl.program_id(2)
    start = tl.load(starts_ptr + row)
    n_new = tl.load(starts_ptr + row + 1) - start
    if tile * M >= n_new:
        return
    length = tl.load(lengths_ptr + row)
    local = tile * M + tl.arange(0, M)
    is_query = local < n_new
    position = length - n_new + local
    part = tl.arange(0, HEAD_DIM)
    at = ((start + local).to(tl.int64) * HEADS + head)[:, None] * HEAD_DIM + part[None, :]
    q = tl.load(q_ptr + at, is_query[:, None], 0)
    sink = tl.load(sinks_ptr + head + tl.zeros([M], tl.int32)).to(tl.float32) * LOG2E
    acc = tl.zeros([M, HEAD_DIM], tl.float32)
    top, total = tl.full([M], LOWEST, tl.float32), tl.zeros([M], tl.float32)
    first, last = 0, tl.minimum(length, length - n_new + (tile + 1) * M)
    begin = 0
    if WINDOW > 0:
        first = tl.maximum(length - n_new + tile * M - WINDOW + 1, 0)
        begin = first // N * N
    else:
        begin = (length - n_new + tile * M + 1) // N * N
        for key_start in range(0, begin, N):
            acc, top, total = one_tile(
                q, acc, top, total, k_ptr, v_ptr, table_ptr + row * table_stride, head // (HEADS // KV_HEADS),
                key_start + tl.arange(0, N), None, None, scale, KV_HEADS, PAGE_SIZE, HEAD_DIM, False,
            )  # fmt: skip
    for key_start in range(begin, last, N):
        key = key_start + tl.arange(0, N)
        is_key = (key >= first) & (key < last)
        mask = is_key[None, :] & (key[None, :] <= position[:, None])
        if WINDOW > 0:
            mask = mask & (position[:, None] - key[None, :] < WINDOW)
        acc, top, total = one_tile(
            q, acc, top, total, k_ptr, v_ptr, table_ptr + row * table_stride, head // (HEADS // KV_HEADS), key,
            is_key, mask, scale, KV_HEADS, PAGE_SIZE, HEAD_DIM,
        )  # fmt: skip
    tl.store(out_ptr + at, with_sink(acc, top, total, sink).to(out_ptr.dtype.element_ty), is_query[:, None])
