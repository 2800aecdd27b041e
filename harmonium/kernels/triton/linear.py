"""Dense matrix-vector products for few tokens, each fused with what stands before and after it.

All of them read a weight row once, whole, by one program. The norm's factor is one number a token, so it multiplies the
finished sums, which stay float32 throughout.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def inverse_rms(x, WIDTH: tl.constexpr, eps):
    """1 / the root mean square of x (float32, zeros past WIDTH)."""
    return tl.rsqrt(tl.sum(x * x, 0) / WIDTH + eps)


@triton.jit
def norm_qkv(
    x_ptr,  # (tokens, hidden)
    norm_ptr,
    q_ptr,  # (heads * head_dim, hidden)
    q_bias_ptr,
    k_ptr,  # (kv_heads * head_dim, hidden)
    k_bias_ptr,
    v_ptr,
    v_bias_ptr,
    cos_ptr,  # (tokens, head_dim / 2) float32
    sin_ptr,
    slots_ptr,  # (tokens,) int64
    out_ptr,  # (tokens, heads * head_dim)
    k_cache_ptr,  # (pages, kv_heads, page_size, head_dim)
    v_cache_ptr,
    eps,
    HIDDEN: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE_SIZE: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program computes PAIRS rotation pairs of one head: rows i and i + head_dim / 2."""
    half: tl.constexpr = HEAD_DIM // 2
    token = tl.program_id(1)
    head = tl.program_id(0) // (half // PAIRS)
    pair = tl.program_id(0) % (half // PAIRS) * PAIRS + tl.arange(0, PAIRS)
    weight_ptr, bias_ptr, local = q_ptr, q_bias_ptr, head
    if head >= HEADS + KV_HEADS:
        weight_ptr, bias_ptr, local = v_ptr, v_bias_ptr, head - HEADS - KV_HEADS
    elif head >= HEADS:
        weight_ptr, bias_ptr, local = k_ptr, k_bias_ptr, head - HEADS
    row = local * HEAD_DIM + pair
    column = tl.arange(0, BLOCK)
    is_column = column < HIDDEN
    at = row[:, None] * HIDDEN + column[None, :]
    first = tl.load(weight_ptr + at, is_column[None, :], 0)
    second = tl.load(weight_ptr + at + half * HIDDEN, is_column[None, :], 0)
    norm = tl.load(norm_ptr + column, is_column, 0).to(tl.float32)
    x = tl.load(x_ptr + token * HIDDEN + column, is_column, 0).to(tl.float32)
    factor = inverse_rms(x, HIDDEN, eps)
    x = x * norm
    a = tl.sum(first.to(tl.float32) * x[None, :], 1) * factor + tl.load(bias_ptr + row).to(tl.float32)
    b = tl.sum(second.to(tl.float32) * x[None, :], 1) * factor + tl.load(bias_ptr + row + half).to(tl.float32)
    slot = tl.load(slots_ptr + token)
    cached = ((slot // PAGE_SIZE * KV_HEADS + local) * PAGE_SIZE + slot % PAGE_SIZE) * HEAD_DIM + pair
    if head >= HEADS + KV_HEADS:
        tl.store(v_cache_ptr + cached, a.to(v_cache_ptr.dtype.element_ty))
        tl.store(v_cache_ptr + cached + half, b.to(v_cache_ptr.dtype.element_ty))
    else:
        cos, sin = tl.load(cos_ptr + token * half + pair), tl.load(sin_ptr + token * half + pair)
        turned, other = a * cos - b * sin, b * cos + a * sin
        if head >= HEADS:
            tl.store(k_cache_ptr + cached, turned.to(k_cache_ptr.dtype.element_ty))
            tl.store(k_cache_ptr + cached + half, other.to(k_cache_ptr.dtype.element_ty))
        else:
            place = out_ptr + token * HEADS * HEAD_DIM + row
            tl.store(place, turned.to(out_ptr.dtype.element_ty))
            tl.store(place + half, other.to(out_ptr.dtype.element_ty))


@triton.jit
def project_route(
    x_ptr,  # (tokens, hidden), added to
    attended_ptr,  # (tokens, width)
    o_ptr,  # (hidden, width)
    o_bias_ptr,
    norm_ptr,
    weight_ptr,  # (experts, hidden)
    bias_ptr,
    normed_ptr,  # (tokens, hidden)
    indices_ptr,  # (tokens, k) int64
    shares_ptr,  # (tokens, k) float32
    logits_ptr,  # (tokens, experts) float32, scratch
    projected_ptr,  # (tokens,) int32, zero before and after
    arrived_ptr,  # (tokens,) int32, zero before and after
    eps,
    HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr,
    EXPERTS: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    ROUTED: tl.constexpr,
    EXPERTS_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDTH_BLOCK: tl.constexpr,
):
    """ROWS rows of the output projection a program; behind these, programs that wait for all of them and then route.

    Programs start in order, so none waits for one that has no place to run; they fetch their weights meanwhile.
    """
    n_projecting: tl.constexpr = (HIDDEN + ROWS - 1) // ROWS
    token = tl.program_id(1)
    if tl.program_id(0) < n_projecting:
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        is_row = row < HIDDEN
        column = tl.arange(0, WIDTH_BLOCK)
        is_column = column < WIDTH
        weight = tl.load(o_ptr + row[:, None] * WIDTH + column[None, :], is_row[:, None] & is_column[None, :], 0)
        bias = tl.load(o_bias_ptr + row, is_row, 0).to(tl.float32)
        attended = tl.load(attended_ptr + token * WIDTH + column, is_column, 0).to(tl.float32)
        place = x_ptr + token * HIDDEN + row
        total = tl.load(place, is_row, 0).to(tl.float32) + bias
        total += tl.sum(weight.to(tl.float32) * attended[None, :], 1)
        tl.store(place, total.to(x_ptr.dtype.element_ty), is_row)
        tl.debug_barrier()
        tl.atomic_add(projected_ptr + token, 1, sem="release")
    else:
        arrived = route_rows(
            x_ptr, norm_ptr, weight_ptr, bias_ptr, normed_ptr, indices_ptr, shares_ptr, logits_ptr, projected_ptr,
            arrived_ptr, eps, tl.program_id(0) - n_projecting, tl.num_programs(0) - n_projecting,
            HIDDEN, EXPERTS, K, ROUTED, EXPERTS_BLOCK, BLOCK, n_projecting,
        )  # fmt: skip
        if arrived:
            tl.store(projected_ptr + token, 0)


@triton.jit
def norm_route(
    x_ptr,  # (tokens, hidden)
    norm_ptr,
    weight_ptr,  # (experts, hidden)
    bias_ptr,
    normed_ptr,  # (tokens, hidden)
    indices_ptr,  # (tokens, k) int64
    shares_ptr,  # (tokens, k) float32
    logits_ptr,  # (tokens, experts) float32, scratch
    arrived_ptr,  # (tokens,) int32, zero before and after
    eps,
    HIDDEN: tl.constexpr,
    EXPERTS: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    EXPERTS_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    route_rows(
        x_ptr, norm_ptr, weight_ptr, bias_ptr, normed_ptr, indices_ptr, shares_ptr, logits_ptr, arrived_ptr,
        arrived_ptr, eps, tl.program_id(0), tl.num_programs(0), HIDDEN, EXPERTS, K, ROWS, EXPERTS_BLOCK, BLOCK, 0,
    )  # fmt: skip


@triton.jit
def route_rows(
    x_ptr, norm_ptr, weight_ptr, bias_ptr, normed_ptr, indices_ptr, shares_ptr, logits_ptr, awaited_ptr, arrived_ptr,
    eps, part, n_parts,
    HIDDEN: tl.constexpr, EXPERTS: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr, EXPERTS_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr, AWAITED: tl.constexpr,
):  # fmt: skip
    """ROWS experts' logits, of a part of n_parts; the one that comes last chooses, and says so.

    x is there once AWAITED programs have counted in awaited.
    """
    token = tl.program_id(1)
    expert = part * ROWS + tl.arange(0, ROWS)
    is_expert = expert < EXPERTS
    column = tl.arange(0, BLOCK)
    is_column = column < HIDDEN
    is_weight = is_expert[:, None] & is_column[None, :]
    weight = tl.load(weight_ptr + expert[:, None] * HIDDEN + column[None, :], is_weight, 0)
    norm = tl.load(norm_ptr + column, is_column, 0).to(tl.float32)
    bias = tl.load(bias_ptr + expert, is_expert, 0).to(tl.float32)
    if AWAITED > 0:
        while tl.atomic_add(awaited_ptr + token, 0, sem="acquire") < AWAITED:
            pass
    x = tl.load(x_ptr + token * HIDDEN + column, is_column, 0, cache_modifier=".cg").to(tl.float32)
    x = x * inverse_rms(x, HIDDEN, eps) * norm
    if part == 0:
        tl.store(normed_ptr + token * HIDDEN + column, x.to(normed_ptr.dtype.element_ty), is_column)
    logits = tl.sum(weight.to(tl.float32) * x[None, :], 1) + bias
    tl.store(logits_ptr + token * EXPERTS + expert, logits, is_expert)
    tl.debug_barrier()
    is_last = tl.atomic_add(arrived_ptr + token, 1, sem="acq_rel") == n_parts - 1
    if is_last:
        tl.store(arrived_ptr + token, 0)
        place = tl.arange(0, EXPERTS_BLOCK)
        all_logits = tl.load(logits_ptr + token * EXPERTS + place, place < EXPERTS, float("-inf"), cache_modifier=".cg")
        choose(all_logits, place, indices_ptr + token * K, shares_ptr + token * K, K)
    return is_last


@triton.jit
def choose(logits, place, indices_ptr, shares_ptr, K: tl.constexpr):
    """The K best of logits (experts,) and their softmax, best first, the first of equals."""
    top = tl.max(logits, 0)
    shares = ()
    total = 0.0
    for i in tl.static_range(K):
        share = tl.exp(tl.max(logits, 0) - top)
        index = tl.argmax(logits, 0)
        tl.store(indices_ptr + i, index.to(tl.int64))
        logits = tl.where(place == index, float("-inf"), logits)
        shares = shares + (share,)  # type: ignore[assignment]  # noqa: RUF005 - Triton knows no other
        total += share
    for i in tl.static_range(K):
        tl.store(shares_ptr + i, shares[i] / total)


@triton.jit
def norm_head(
    x_ptr,  # (tokens, hidden)
    rows_ptr,  # (n,) int64
    norm_ptr,
    weight_ptr,  # (vocabulary, hidden)
    logits_ptr,  # (n, vocabulary) float32
    vocabulary,
    eps,
    HIDDEN: tl.constexpr,
    ROWS: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """TILES times ROWS rows a program, so that the norm is computed seldom; the next rows load while these sum."""
    n = tl.program_id(1)
    column = tl.arange(0, BLOCK)
    is_column = column < HIDDEN
    row = tl.program_id(0) * (ROWS * TILES) + tl.arange(0, ROWS)
    at = row.to(tl.int64)[:, None] * HIDDEN + column[None, :]
    weight = tl.load(weight_ptr + at, (row < vocabulary)[:, None] & is_column[None, :], 0)
    norm = tl.load(norm_ptr + column, is_column, 0).to(tl.float32)
    token = tl.load(rows_ptr + n)
    x = tl.load(x_ptr + token * HIDDEN + column, is_column, 0).to(tl.float32)
    x = x * inverse_rms(x, HIDDEN, eps) * norm
    for tile in range(TILES):
        after = row + (tile + 1) * ROWS
        coming = tl.load(
            weight_ptr + at + (tile + 1) * ROWS * HIDDEN,
            ((after < vocabulary) & (tile + 1 < TILES))[:, None] & is_column[None, :],
            0,
        )
        here = row + tile * ROWS
        logits = tl.sum(weight.to(tl.float32) * x[None, :], 1)
        tl.store(logits_ptr + n * vocabulary + here, logits, here < vocabulary)
        weight = coming
