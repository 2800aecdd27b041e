"""The experts: two products with packed weights on tensor cores, weights as the left operand, tokens as the right.

A program has some rows of one expert and some of the pairs (token, choice) that chose it. For a token or two each pair
is a tile of its own, found by its index; otherwise `group` first lists the pairs by expert. What a tile holds follows
from the device's own counts, so the host never waits; the grid covers the worst case. The first product ends in SwiGLU,
the second in the parts of a token, which the program that comes last, or `sum_add`, weights and adds up in order. A
tile that is at most half full takes half the columns.

The floor is the bytes of the chosen experts: at 20b's sizes 13.2 MB each, 12.4 us a layer for four at 4.26 TB/s.
Decoding takes 15 instructions for eight values, 6 us a layer of issue slots for four experts at 1.8 GHz and 132
processors: less than the bytes take. Triton 3.6 sends eight columns through instructions of one warp (mma), more
through those of four (wgmma), whose end has to be waited for; `hopper` has a prompt's tiles without that wait.
"""

from __future__ import annotations

import triton
import triton.language as tl

from harmonium.kernels.triton.mxfp4 import decoded, swiglu


@triton.jit
def group(
    indices_ptr,  # (pairs,) int64
    order_ptr,  # (pairs,) int32: pairs (token * k + choice) by expert, in order
    places_ptr,  # (pairs,) int32: where in that order each pair is
    tiles_ptr,  # (pairs // N + experts, 3) int32: expert or -1, its first and last place in order
    n_pairs,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """A program lists one expert's pairs among BLOCK of all, the first one its tiles, too.

    Expert e's tiles start at (pairs before its) // N + e. Each program counts all pairs for itself, which takes less
    time than waiting for others would.
    """
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    expert, own = tl.program_id(0), tl.program_id(1) * BLOCK
    place = tl.arange(0, BLOCK)
    before, ahead, count = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32)
    for start in range(0, n_pairs, BLOCK):
        chosen = tl.load(indices_ptr + start + place, start + place < n_pairs, 1 << 30)
        is_mine = (chosen == expert).to(tl.int32)
        before += (chosen < expert).to(tl.int32)
        ahead += tl.where(start < own, is_mine, 0)
        count += is_mine
    first = tl.sum(before, 0)
    last = first + tl.sum(count, 0)
    if own == 0:
        tile = first // N + expert
        n_used, n_slots = (last - first + N - 1) // N, last // N + 1 - first // N
        for start in range(0, n_slots, BLOCK):
            i = start + place
            is_used = i < n_used
            at = tiles_ptr + (tile + i) * 3
            tl.store(at, tl.where(is_used, expert, -1), i < n_slots)
            tl.store(at + 1, first + i * N, is_used)
            tl.store(at + 2, tl.minimum(first + (i + 1) * N, last), is_used)
    is_here = tl.load(indices_ptr + own + place, own + place < n_pairs, 1 << 30) == expert
    its_place = first + tl.sum(ahead, 0) + tl.cumsum(is_here.to(tl.int32), 0) - 1
    tl.store(order_ptr + its_place, own + place, is_here)
    tl.store(places_ptr + own + place, its_place, is_here)


@triton.jit
def find_tile(tile, indices_ptr, tiles_ptr, DIRECT: tl.constexpr):
    """The tile's expert or -1, and its first and last place."""
    if DIRECT:
        expert, first = tl.load(indices_ptr + tile).to(tl.int32), tile
        last = tile + 1
    else:
        expert = tl.load(tiles_ptr + tile * 3)
        first = tl.load(tiles_ptr + tile * 3 + 1, expert >= 0, 0)
        last = tl.load(tiles_ptr + tile * 3 + 2, expert >= 0, 0)
    return expert, first, last


@triton.jit
def finished(acc):
    """acc itself, once the products that sum into it are done: a use of it, in no instructions.

    Without it Triton lets a product run on while the next weights are decoded into the registers that it reads
    (triton-lang/triton, issue 9433; in 3.6, mended later).
    """
    return tl.inline_asm_elementwise("// $0", "=r,0", [acc], tl.float32, is_pure=False, pack=1)


@triton.jit
def rows_product(
    x_ptr, source, is_column, words_ptr, scales_ptr, expert, row_tile, split,
    WIDTH: tl.constexpr, ROW_TILES: tl.constexpr, N: tl.constexpr, TILES: tl.constexpr, STEPS: tl.constexpr,
    SPLITS: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """TILES * 64 rows of an expert, from row_tile on, times rows source (N,) of x: (TILES * 64, N) float32.

    Of SPLITS equal shares of the columns only the one named by split is summed.
    """
    column_tiles: tl.constexpr = (WIDTH + 63) // 64
    word, lane = tl.arange(0, TILES * 512), tl.arange(0, TILES * 128)
    base = (expert * ROW_TILES + row_tile).to(tl.int64) * column_tiles
    words_at = words_ptr + base * 512 + (word // 512 * (column_tiles * 512) + word % 512)
    scales_at = scales_ptr + base * 32 + (lane // 128 * (column_tiles * 32) + lane % 128 // 4)
    column = tl.arange(0, 64)
    x_at = x_ptr + source.to(tl.int64)[None, :] * WIDTH + column[:, None]
    acc = tl.zeros([TILES * 64, N], tl.float32)
    share: tl.constexpr = column_tiles // SPLITS
    for step in range(split * share, (split + 1) * share, STEPS):
        for i in tl.static_range(STEPS):
            tile = step + i
            if ROW_TILES % TILES == 0:
                words = tl.load(words_at + tile * 512)
                scales = tl.load(scales_at + tile * 32)
            else:
                words = tl.load(words_at + tile * 512, row_tile + word // 512 < ROW_TILES, 0)
                scales = tl.load(scales_at + tile * 32, row_tile + lane // 128 < ROW_TILES, 0)
            if WIDTH % 64 == 0:
                x = tl.load(x_at + tile * 64, is_column[None, :], 0)
            else:
                x = tl.load(x_at + tile * 64, is_column[None, :] & (tile * 64 + column < WIDTH)[:, None], 0)
            weights = decoded(words, scales, TILES, x_ptr.dtype.element_ty, PTX)
            if PTX and N <= 16:
                # In no instructions: else Triton sees from what these came, and wants another order, by shuffles.
                weights = tl.inline_asm_elementwise("// $0", "=r,0", [weights], tl.bfloat16, is_pure=False, pack=2)
            acc = tl.dot(weights, x, acc, input_precision="ieee")
            if PTX:
                acc = finished(acc)
    return acc


@triton.jit
def gate_up_tile(
    x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
    K: tl.constexpr, WIDTH: tl.constexpr, OUT: tl.constexpr, N: tl.constexpr, TILES: tl.constexpr, STEPS: tl.constexpr,
    DIRECT: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """TILES * 32 gated rows of places first to last, N at most."""
    place = first + tl.arange(0, N)
    is_column = place < last
    pairs = place
    if not DIRECT:
        pairs = tl.load(order_ptr + place, is_column, 0)
    row = row_tile * 32 + tl.arange(0, TILES * 32)
    is_row = row < OUT
    bias_at = bias_ptr + expert.to(tl.int64) * (2 * OUT) + row * 2
    gate_bias, up_bias = tl.load(bias_at, is_row, 0), tl.load(bias_at + 1, is_row, 0)
    acc = rows_product(
        x_ptr, pairs // K, is_column, words_ptr, scales_ptr, expert, row_tile, 0,
        WIDTH, (2 * OUT + 63) // 64, N, TILES, STEPS, 1, PTX,
    )  # fmt: skip
    acc = tl.permute(tl.reshape(acc, [TILES * 4, 2, 8, N]), (0, 2, 3, 1))
    gate, up = tl.split(tl.reshape(acc, [TILES * 32, N, 2]))
    gate = gate * unit + gate_bias.to(tl.float32)[:, None]
    up = up * unit + up_bias.to(tl.float32)[:, None]
    at = out_ptr + place.to(tl.int64)[None, :] * OUT + row[:, None]
    tl.store(at, swiglu(gate, up).to(out_ptr.dtype.element_ty), is_row[:, None] & is_column[None, :])


@triton.jit
def gate_up(
    x_ptr,  # (tokens, hidden)
    indices_ptr,  # (tokens, k) int64
    order_ptr,
    tiles_ptr,
    words_ptr,  # of Packed
    scales_ptr,  # of Packed, as int32
    bias_ptr,  # (experts, 2 * inner)
    out_ptr,  # (pairs, inner): by pair if DIRECT, in order if not
    unit,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,  # inner
    N: tl.constexpr,
    TILES: tl.constexpr,
    STEPS: tl.constexpr,
    DIRECT: tl.constexpr,
    PTX: tl.constexpr,
    PDL: tl.constexpr,
):
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row_tile = tl.program_id(0) * TILES
    expert, first, last = find_tile(tl.program_id(1), indices_ptr, tiles_ptr, DIRECT)
    if expert < 0:
        return
    if N >= 64 and (last - first) * 2 <= N:
        gate_up_tile(
            x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
            K, WIDTH, OUT, N // 2, TILES, STEPS, DIRECT, PTX,
        )  # fmt: skip
    else:
        gate_up_tile(
            x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
            K, WIDTH, OUT, N, TILES, STEPS, DIRECT, PTX,
        )  # fmt: skip


@triton.jit
def down_tile(
    x_ptr, words_ptr, scales_ptr, bias_ptr, parts_ptr, unit, expert, first, last, row_tile, split,
    WIDTH: tl.constexpr, OUT: tl.constexpr, N: tl.constexpr, TILES: tl.constexpr, STEPS: tl.constexpr,
    SPLITS: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """TILES * 64 rows of places first to last, N at most, of a split's share of the columns."""
    place = first + tl.arange(0, N)
    is_column = place < last
    row = row_tile * 64 + tl.arange(0, TILES * 64)
    is_row = row < OUT
    bias = tl.load(bias_ptr + expert.to(tl.int64) * OUT + row, is_row, 0).to(tl.float32)
    acc = rows_product(
        x_ptr, place, is_column, words_ptr, scales_ptr, expert, row_tile, split,
        WIDTH, (OUT + 63) // 64, N, TILES, STEPS, SPLITS, PTX,
    )  # fmt: skip
    acc = acc * unit + tl.where(split == 0, bias, 0.0)[:, None]
    at = parts_ptr + place.to(tl.int64)[None, :] * OUT + row[:, None]
    tl.store(at, acc.to(parts_ptr.dtype.element_ty), is_row[:, None] & is_column[None, :])


@triton.jit
def down(
    x_ptr,  # (pairs, inner), what gate_up gave
    indices_ptr,  # (tokens, k) int64
    tiles_ptr,
    words_ptr,  # of Packed
    scales_ptr,  # of Packed, as int32
    bias_ptr,  # (experts, hidden)
    shares_ptr,  # (tokens, k) float32
    parts_ptr,  # (splits, pairs, hidden), placed as x
    total_ptr,  # (tokens, hidden), added to if DIRECT
    arrived_ptr,  # (tokens, programs of a pair) int32, zero before and after
    unit,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    N: tl.constexpr,
    TILES: tl.constexpr,
    STEPS: tl.constexpr,
    SPLITS: tl.constexpr,  # 1 unless DIRECT
    DIRECT: tl.constexpr,
    PTX: tl.constexpr,
    PDL: tl.constexpr,
):
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row_tile, split = tl.program_id(0) * TILES, tl.program_id(2)
    expert, first, last = find_tile(tl.program_id(1), indices_ptr, tiles_ptr, DIRECT)
    if expert < 0:
        return
    row = row_tile * 64 + tl.arange(0, TILES * 64)
    is_row = row < OUT
    token = tl.program_id(1) // K  # if DIRECT
    if DIRECT:
        total_at = total_ptr + token * OUT + row
        total = tl.load(total_at, is_row, 0).to(tl.float32)  # nobody adds to it before this program has arrived
    n_pairs = tl.num_programs(1)  # if DIRECT
    its_parts = parts_ptr + (split * n_pairs).to(tl.int64) * OUT
    if N >= 64 and (last - first) * 2 <= N:
        down_tile(
            x_ptr, words_ptr, scales_ptr, bias_ptr, its_parts, unit, expert, first, last, row_tile, split,
            WIDTH, OUT, N // 2, TILES, STEPS, SPLITS, PTX,
        )  # fmt: skip
    else:
        down_tile(
            x_ptr, words_ptr, scales_ptr, bias_ptr, its_parts, unit, expert, first, last, row_tile, split,
            WIDTH, OUT, N, TILES, STEPS, SPLITS, PTX,
        )  # fmt: skip
    if DIRECT:
        counter = arrived_ptr + token * tl.num_programs(0) + tl.program_id(0)
        tl.debug_barrier()
        if tl.atomic_add(counter, 1, sem="acq_rel") == K * SPLITS - 1:
            tl.store(counter, 0)
            for i in tl.static_range(K * SPLITS):
                pair = token * K + i % K
                part = tl.load(parts_ptr + (i // K * n_pairs + pair) * OUT + row, is_row, 0, cache_modifier=".cg")
                total += part.to(tl.float32) * tl.load(shares_ptr + pair)
            tl.store(total_at, total.to(total_ptr.dtype.element_ty), is_row)


@triton.jit
def sum_add(
    x_ptr,  # (tokens, width), added to
    parts_ptr,  # (pairs, width) in order
    places_ptr,  # (tokens, k) int32
    shares_ptr,  # (tokens, k) float32
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_column = column < WIDTH
    total = tl.load(x_ptr + token * WIDTH + column, is_column, 0).to(tl.float32)
    for i in tl.static_range(K):
        place = tl.load(places_ptr + token * K + i).to(tl.int64)
        part = tl.load(parts_ptr + place * WIDTH + column, is_column, 0).to(tl.float32)
        total += part * tl.load(shares_ptr + token * K + i)
    tl.store(x_ptr + token * WIDTH + column, total.to(x_ptr.dtype.element_ty), is_column)
