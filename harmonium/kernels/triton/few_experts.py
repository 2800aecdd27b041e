"""The experts of a token or two in one kernel: each pair of token and choice reads its own expert, nothing is listed.

The first programs compute the first product and count themselves done, pair by pair; the others, the second product's,
wait for their pair's. Blocks start in the order of their numbers, so whoever is waited for has started: the second
product's programs come to processors that the first one's leave, and no processor idles between the two.
"""

from __future__ import annotations

import triton
import triton.language as tl

from harmonium.kernels.triton.experts import gate_up_tile, rows_product


@triton.jit
def experts(
    x_ptr,  # (tokens, hidden), normed
    total_ptr,  # (tokens, hidden), added to
    indices_ptr,  # (pairs,) int64
    shares_ptr,  # (pairs,) float32
    first_words_ptr,  # of Packed
    first_scales_ptr,  # of Packed, as int32
    first_bias_ptr,  # (experts, 2 * inner)
    second_words_ptr,
    second_scales_ptr,
    second_bias_ptr,  # (experts, hidden)
    between_ptr,  # (pairs, inner)
    parts_ptr,  # (splits, pairs, hidden) float32, scratch
    done_ptr,  # (pairs + tokens,) int32, zero before and after
    arrived_ptr,  # (tokens, tiles of hidden) int32, zero before and after
    n_pairs,
    first_unit,
    second_unit,
    K: tl.constexpr,
    HIDDEN: tl.constexpr,
    INNER: tl.constexpr,
    N: tl.constexpr,
    FIRST_ROWS: tl.constexpr,
    FIRST_STEPS: tl.constexpr,
    SECOND_ROWS: tl.constexpr,
    SECOND_STEPS: tl.constexpr,
    SPLITS: tl.constexpr,
    PTX: tl.constexpr,
    PDL: tl.constexpr,
):
    if PDL:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    firsts: tl.constexpr = ((2 * INNER + 63) // 64 + FIRST_ROWS - 1) // FIRST_ROWS
    seconds: tl.constexpr = ((HIDDEN + 63) // 64 + SECOND_ROWS - 1) // SECOND_ROWS
    number = tl.program_id(0)
    if number < n_pairs * firsts:
        pair = number // firsts
        gate_up_tile(
            x_ptr, indices_ptr, first_words_ptr, first_scales_ptr, first_bias_ptr, between_ptr, first_unit,
            tl.load(indices_ptr + pair).to(tl.int32), pair, pair + 1, number % firsts * FIRST_ROWS,
            K, HIDDEN, INNER, N, FIRST_ROWS, FIRST_STEPS, True, PTX,
        )  # fmt: skip
        tl.debug_barrier()
        tl.atomic_add(done_ptr + pair, 1, sem="release")
    else:
        number -= n_pairs * firsts
        tile, pair, split = number % seconds, number // seconds % n_pairs, number // (seconds * n_pairs)
        expert = tl.load(indices_ptr + pair).to(tl.int32)
        row = tile * (SECOND_ROWS * 64) + tl.arange(0, SECOND_ROWS * 64)
        is_row = row < HIDDEN
        token = pair // K
        total_at = total_ptr + token * HIDDEN + row
        total = tl.load(total_at, is_row, 0).to(tl.float32)  # nobody adds to it before this program has arrived
        bias = tl.load(second_bias_ptr + expert.to(tl.int64) * HIDDEN + row, is_row, 0).to(tl.float32)
        n_done = tl.atomic_add(done_ptr + pair, 0, sem="acquire")
        while n_done < firsts:
            n_done = tl.atomic_add(done_ptr + pair, 0, sem="acquire")
        place = pair + tl.arange(0, N)
        is_column = place < pair + 1
        acc = rows_product(
            between_ptr, place, is_column, second_words_ptr, second_scales_ptr, expert, tile * SECOND_ROWS, split,
            INNER, (HIDDEN + 63) // 64, N, SECOND_ROWS, SECOND_STEPS, SPLITS, PTX,
        )  # fmt: skip
        acc = acc * second_unit + tl.where(split == 0, bias, 0.0)[:, None]
        part_at = parts_ptr + (split * n_pairs + place)[None, :].to(tl.int64) * HIDDEN + row[:, None]
        tl.store(part_at, acc, is_row[:, None] & is_column[None, :])
        tl.debug_barrier()
        if tl.atomic_add(arrived_ptr + token * seconds + tile, 1, sem="acq_rel") == K * SPLITS - 1:
            tl.store(arrived_ptr + token * seconds + tile, 0)
            for i in tl.static_range(K * SPLITS):
                other = token * K + i % K
                part = tl.load(parts_ptr + (i // K * n_pairs + other) * HIDDEN + row, is_row, 0, cache_modifier=".cg")
                total += part * tl.load(shares_ptr + other)
            tl.store(total_at, total.to(total_ptr.dtype.element_ty), is_row)
            if tl.atomic_add(done_ptr + n_pairs + token, 1, sem="acq_rel") == seconds - 1:  # none of the token's waits
                tl.store(done_ptr + n_pairs + token, 0)
                for i in tl.static_range(K):
                    tl.store(done_ptr + token * K + i, 0)
