"""The experts' two products for prompts on Hopper: weights are decoded while the tensor cores work.

A program has 256 rows of one expert, as two halves, and up to N of its pairs. Each half's product runs while the other
half's weights are decoded into the registers from which the tensor cores take their left operand, so that one product
is always on its way. x, words and scales come by asynchronous copies through a ring of groups of column tiles, a group
being what threads wait for together. A weight has four times fewer bits than x, hence more rows than pairs: x, read
anew for every row tile, is what fills the L2 cache's wires.

In Gluon, because Triton's own pipeline waits for a product before it decodes (`experts.finished`). bfloat16 alone, and
widths of whole groups. Nothing may branch while a product runs: ptxas then runs all of them one by one. Nor does ptxas
know what a running product reads: a name's weights are decoded anew only when the product that read them is waited for.
Sources: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)

from harmonium.kernels.triton.mxfp4 import ALPHA, BFLOATS, CONSTRAINTS, DECODE, LIMIT
from harmonium.kernels.triton.packed import Packed
from harmonium.kernels.triton.tiles import Tiles

copy = async_copy.async_load if hasattr(async_copy, "async_load") else async_copy.async_copy_global_to_shared
"""From global to shared memory; Triton 3.9 calls it by the first name, 3.6 by the second."""
WARPS = 8
HALF = gl.constexpr(2)
"""Tiles of 64 rows in half a program: one for each group of four warps."""
GROUPS = gl.constexpr(64)
"""Groups of four lanes in a program; they share their scales."""
POWER = gl.constexpr(-ALPHA.value * 1.4426950408889634)
# What a lane reads: words (groups, lanes, 4), scales (groups,), and 16 bytes of x (pairs, 64 columns).
WORDS = gl.constexpr(gl.BlockedLayout([1, 1, 4], [8, 4, 1], [8, 1, 1], [2, 1, 0]))
SCALES = gl.constexpr(gl.SliceLayout(1, gl.SliceLayout(2, WORDS.value)))
SCALES_COPY = gl.constexpr(gl.BlockedLayout([1], [32], [8], [0]))
X_COPY = gl.constexpr(gl.BlockedLayout([1, 8], [4, 8], [8, 1], [1, 0]))


@gluon.constexpr_function
def sums(n):
    return gl.NVMMADistributedLayout([3, 0], [8, 1], [16, n, 16])


@gluon.jit
def operand(words, scales, N: gl.constexpr):
    """Words (GROUPS, 4, 4) and scales (GROUPS,) of half a program as the left operand (128, 64), in their registers."""
    scales = gl.broadcast(gl.expand_dims(gl.expand_dims(scales, 1), 2), words)[0]
    v = gl.inline_asm_elementwise(DECODE, CONSTRAINTS, [words, scales], BFLOATS, is_pure=False, pack=4)
    v0, v1, v2, v3, v4, v5, v6, v7 = v  # each (groups, lanes, half and side)
    even = gl.join(gl.join(v0, v4), gl.join(v2, v6))  # (.., block, pair's high bit)
    odd = gl.join(gl.join(v1, v5), gl.join(v3, v7))
    both = gl.reshape(gl.join(even, odd), [HALF, 4, 8, 4, 2, 2, 2, 2, 2])
    # From (tile, warp, group, member, half, side, block, high, low) to rows and columns.
    both = gl.reshape(gl.permute(both, (0, 1, 4, 2, 6, 7, 8, 3, 5)), [HALF * 64, 64])
    return gl.convert_layout(both, gl.DotOperandLayout(0, sums(N), 2), assert_trivial=True)


@gluon.jit
def packed_at(words_ptr, scales_ptr, expert, row_tile, STEPS: gl.constexpr, ROW_TILES: gl.constexpr):
    """Where the words and scales of half a program's first column tile are; rows that are none have the last ones'."""
    base = expert.to(gl.int64) * (ROW_TILES * STEPS)
    group = gl.arange(0, GROUPS, gl.SliceLayout(1, gl.SliceLayout(2, WORDS)))
    lane = gl.arange(0, 4, gl.SliceLayout(0, gl.SliceLayout(2, WORDS)))
    word = gl.arange(0, 4, gl.SliceLayout(0, gl.SliceLayout(1, WORDS)))
    tile = gl.minimum(row_tile + group // 32, ROW_TILES - 1) * STEPS
    at = (tile * 512 + group % 32 * 16)[:, None, None] + (lane * 4)[None, :, None] + word[None, None, :]
    group = gl.arange(0, GROUPS, SCALES_COPY)
    tile = gl.minimum(row_tile + group // 32, ROW_TILES - 1) * STEPS
    return words_ptr + base * 512 + at, scales_ptr + base * 32 + (tile * 32 + group % 32)


@gluon.jit
def new_ring(SLOTS: gl.constexpr):
    """Room for the words and the scales of half a program's column tiles."""
    words = gl.allocate_shared_memory(gl.int32, [SLOTS, GROUPS, 4, 4], gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))
    return words, gl.allocate_shared_memory(gl.int32, [SLOTS, GROUPS], gl.SwizzledSharedLayout(1, 1, 1, [0]))


@gluon.jit
def copy_packed(words, scales, words_at, scales_at, slot, tile, is_there):
    mask = gl.full([GROUPS, 4, 4], is_there, gl.int1, WORDS)
    copy(words.index(slot), words_at + tile * 512, mask)
    mask = gl.full([GROUPS], is_there, gl.int1, SCALES_COPY)
    copy(scales.index(slot), scales_at + tile * 32, mask)


@gluon.jit
def copy_group(
    x, x_at, words_0, scales_0, words_0_at, scales_0_at, words_1, scales_1, words_1_at, scales_1_at, group,
    STEPS: gl.constexpr, STAGES: gl.constexpr, GROUP: gl.constexpr, HALVES: gl.constexpr,
):  # fmt: skip
    """Starts the copies of a group, if there is one. The first half's weights are those of the next column tile."""
    slot, is_there = group % STAGES * GROUP, group * GROUP < STEPS
    for i in gl.static_range(GROUP):
        step = group * GROUP + i
        mask = gl.full([x.shape[1], 64], is_there, gl.int1, X_COPY)
        copy(x.index(slot + i), x_at + step * 64, mask)
        copy_packed(words_0, scales_0, words_0_at, scales_0_at, slot + i, step + 1, step + 1 < STEPS)
        if HALVES == 2:
            copy_packed(words_1, scales_1, words_1_at, scales_1_at, slot + i, step, is_there)
    async_copy.commit_group()


@gluon.jit
def rows_product(
    x_ptr, source, words_ptr, scales_ptr, expert, row_tile,
    WIDTH: gl.constexpr, ROW_TILES: gl.constexpr, N: gl.constexpr, HALVES: gl.constexpr, GROUP: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    """HALVES times 128 rows of an expert, from row_tile on, times rows source (N,) of x: each half's (128, N) float32.

    A single half is given twice.
    """
    STEPS: gl.constexpr = WIDTH // 64
    x = gl.allocate_shared_memory(gl.bfloat16, [STAGES * GROUP, N, 64], gl.NVMMASharedLayout(128, 16, 2))
    words_0, scales_0 = new_ring(STAGES * GROUP)
    words_1, scales_1 = words_0, scales_0
    if HALVES == 2:
        words_1, scales_1 = new_ring(STAGES * GROUP)
    column = gl.arange(0, 64, gl.SliceLayout(0, X_COPY))
    x_at = x_ptr + (source.to(gl.int64)[:, None] * WIDTH + column[None, :])
    words_0_at, scales_0_at = packed_at(words_ptr, scales_ptr, expert, row_tile, STEPS, ROW_TILES)
    words_1_at, scales_1_at = packed_at(words_ptr, scales_ptr, expert, row_tile + HALF, STEPS, ROW_TILES)
    for ahead in gl.static_range(STAGES - 1):
        copy_group(
            x, x_at, words_0, scales_0, words_0_at, scales_0_at, words_1, scales_1, words_1_at, scales_1_at, ahead,
            STEPS, STAGES, GROUP, HALVES,
        )  # fmt: skip
    left_0 = operand(gl.load(words_0_at), gl.convert_layout(gl.load(scales_0_at), SCALES), N)
    left_1 = left_0
    acc_0 = gl.zeros([HALF * 64, N], gl.float32, sums(N))
    acc_1 = warpgroup_mma_init(acc_0)
    for group in range(STEPS // GROUP):
        async_copy.wait_group(STAGES - 2)
        fence_async_shared()
        for i in gl.static_range(GROUP):
            slot = group % STAGES * GROUP + i
            right = x.index(slot).permute((1, 0))
            words, scales = words_1.index(slot).load(WORDS), scales_1.index(slot).load(SCALES)
            acc_0 = warpgroup_mma(left_0, right, acc_0, is_async=True)
            if HALVES == 2:
                acc_1, left_1 = warpgroup_mma_wait(1, deps=[acc_1, left_1])
            if i == 0:
                tl.debug_barrier()  # here all threads are done with the group before
                copy_group(
                    x, x_at, words_0, scales_0, words_0_at, scales_0_at, words_1, scales_1, words_1_at, scales_1_at,
                    group + (STAGES - 1), STEPS, STAGES, GROUP, HALVES,
                )  # fmt: skip
            if HALVES == 2:
                left_1 = operand(words, scales, N)
                words, scales = words_0.index(slot).load(WORDS), scales_0.index(slot).load(SCALES)
                acc_1 = warpgroup_mma(left_1, right, acc_1, is_async=True)
                acc_0, left_0 = warpgroup_mma_wait(1, deps=[acc_0, left_0])
                left_0 = operand(words, scales, N)
            else:
                following = operand(words, scales, N)
                acc_0, left_0 = warpgroup_mma_wait(0, deps=[acc_0, left_0])
                left_0 = following
    acc_1, left_1 = warpgroup_mma_wait(0, deps=[acc_1, left_1])
    return acc_0, acc_1


@gluon.jit
def swiglu(gate, up):
    """As mxfp4.swiglu, with the device's own exponential and reciprocal, which are off by less than 1e-6."""
    gate = gl.minimum(gate, LIMIT)
    up = gl.minimum(gl.maximum(up, -LIMIT), LIMIT)
    power = gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [gate * POWER], gl.float32, True, 1)
    share = gl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=r,r", [1 + power], gl.float32, True, 1)
    return (up + 1) * gate * share


@gluon.jit
def store(
    acc, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
    OUT: gl.constexpr, GATED: gl.constexpr, N: gl.constexpr,
):  # fmt: skip
    """Half a program's sums, with their biases and, if GATED, through SwiGLU, to places first to last of out."""
    ROWS: gl.constexpr = HALF * (32 if GATED else 64)
    OUT_ROWS: gl.constexpr = gl.BlockedLayout([8, 1], [ROWS // 8, 256 // ROWS], [1, 8], [0, 1])
    first_row = row_tile * (ROWS // HALF)
    if GATED:
        acc = gl.permute(gl.reshape(acc, [ROWS // 8, 2, 8, N]), (0, 2, 3, 1))
        gate, up = gl.split(gl.reshape(acc, [ROWS, N, 2]))
        row = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, gate.type.layout))
        bias_at = bias_ptr + expert.to(gl.int64) * (2 * OUT) + row * 2
        gate = gate * unit + gl.load(bias_at, row < OUT, 0).to(gl.float32)[:, None]
        up = up * unit + gl.load(bias_at + 1, row < OUT, 0).to(gl.float32)[:, None]
        value = swiglu(gate, up)
    else:
        row = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, acc.type.layout))
        bias = gl.load(bias_ptr + expert.to(gl.int64) * OUT + row, row < OUT, 0).to(gl.float32)
        value = acc * unit + bias[:, None]
    value = gl.convert_layout(value.to(gl.bfloat16), OUT_ROWS)
    row = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, OUT_ROWS))
    place = first + gl.arange(0, N, gl.SliceLayout(0, OUT_ROWS))
    at = out_ptr + (place.to(gl.int64)[None, :] * OUT + row[:, None])
    gl.store(at, value, (row < OUT)[:, None] & (place < last)[None, :])


@gluon.jit
def tile_product(
    x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
    K: gl.constexpr, WIDTH: gl.constexpr, OUT: gl.constexpr, GATED: gl.constexpr, N: gl.constexpr,
    HALVES: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """HALVES times 128 rows of places first to last, N at most."""
    ROW_TILES: gl.constexpr = (OUT * (2 if GATED else 1) + 63) // 64
    source = gl.minimum(first + gl.arange(0, N, gl.SliceLayout(1, X_COPY)), last - 1)
    if GATED:
        source = gl.load(order_ptr + source) // K
    acc_0, acc_1 = rows_product(
        x_ptr, source, words_ptr, scales_ptr, expert, row_tile, WIDTH, ROW_TILES, N, HALVES, GROUP, STAGES
    )
    store(acc_0, bias_ptr, out_ptr, unit, expert, first, last, row_tile, OUT, GATED, N)
    if HALVES == 2:
        store(acc_1, bias_ptr, out_ptr, unit, expert, first, last, row_tile + HALF, OUT, GATED, N)


@gluon.jit
def sized_product(
    x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
    K: gl.constexpr, WIDTH: gl.constexpr, OUT: gl.constexpr, GATED: gl.constexpr, N: gl.constexpr,
    HALVES: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """A tile that is at most half full takes half the columns."""
    if (last - first) * 2 <= N:
        tile_product(
            x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
            K, WIDTH, OUT, GATED, N // 2, HALVES, GROUP, STAGES,
        )  # fmt: skip
    else:
        tile_product(
            x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
            K, WIDTH, OUT, GATED, N, HALVES, GROUP, STAGES,
        )  # fmt: skip


@gluon.jit
def product(
    x_ptr,  # (tokens, hidden) if GATED, (pairs, inner) in order if not
    order_ptr,  # of experts.group, as tiles
    tiles_ptr,
    words_ptr,  # of Packed
    scales_ptr,  # of Packed, as int32
    bias_ptr,  # (experts, 2 * inner) if GATED, (experts, hidden) if not
    out_ptr,  # (pairs, OUT), in order
    unit,
    K: gl.constexpr,
    WIDTH: gl.constexpr,
    OUT: gl.constexpr,  # inner if GATED, hidden if not
    GATED: gl.constexpr,
    N: gl.constexpr,
    GROUP: gl.constexpr,
    STAGES: gl.constexpr,
):
    """The first of an expert's products, which ends in SwiGLU, if GATED; else the second."""
    row_tile = gl.program_id(0) * (2 * HALF)
    tile_at = tiles_ptr + gl.program_id(1) * 3
    expert = gl.load(tile_at)
    if expert >= 0:
        first, last = gl.load(tile_at + 1), gl.load(tile_at + 2)
        if row_tile + HALF >= (OUT * (2 if GATED else 1) + 63) // 64:  # what is left is half a program at most
            sized_product(
                x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
                K, WIDTH, OUT, GATED, N, 1, GROUP, STAGES,
            )  # fmt: skip
        else:
            sized_product(
                x_ptr, order_ptr, words_ptr, scales_ptr, bias_ptr, out_ptr, unit, expert, first, last, row_tile,
                K, WIDTH, OUT, GATED, N, 2, GROUP, STAGES,
            )  # fmt: skip


def launch(packed: Packed, x: Tensor, order: Tensor, tiles: Tensor, out: Tensor, k: int, n: int) -> None:
    """All products of x with packed, for the pairs that `experts.group` listed in tiles of n; gated if paired."""
    product[triton.cdiv(packed.words.shape[1], 2 * HALF.value), len(tiles)](
        *(x, order, tiles, packed.words, packed.scales, packed.bias, out, packed.unit),
        *(k, packed.width, out.shape[-1], packed.is_paired, n, Tiles.hopper_group, Tiles.hopper_stages),
        num_warps=WARPS,
    )
