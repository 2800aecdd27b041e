"""The choice of an id: mask, temperature, noise, the largest score and the table's next state, reading logits once.

A program finds the best of some columns of a row; the one of a row that comes last joins them, looks at the state's
edges, which are allowed whatever its mask says, and takes the step. The noise is engine/noise.py's.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def mixed(x, key):
    """lowbias32 of x, uint32, with key added half-way."""
    x ^= x >> 16
    x *= 0x7FEB352D
    x += key
    x ^= x >> 15
    x *= 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def gumbel(ids, first, second):
    """The noise of ids (n,) under a key of two words."""
    hashes = mixed(mixed(ids.to(tl.uint32), tl.zeros_like(ids).to(tl.uint32)) ^ first, second) & 0x7FFFFFFF
    v = hashes.to(tl.int32).to(tl.float32) * 4.656612594724063e-10 + 2.3283064365386963e-10  # (1 - 2 ** -24) / 2 ** 31
    # -log(1 - v) without the rounding of 1 - v where v is small, which is where noise is large
    series = v * (1 + v * (0.5 + v * (0.33333334 + v * (0.25 + v * 0.2))))
    return -tl.log(tl.where(v < 0.015625, series, -tl.log(1 - v)))


@triton.jit
def scored(logits, ids, inverse, scale, first, second):
    """Scores whose largest is the draw; what is no number becomes infinite, so that it is found."""
    scores = logits * inverse + gumbel(ids, first, second) * scale
    return tl.where(scores == scores, scores, float("inf"))


@triton.jit
def draw(
    logits_ptr,  # (n, vocabulary) float32
    inverse_ptr,  # (n,) float32
    scale_ptr,  # (n,) float32
    keys_ptr,  # (n, 2) int32
    lanes_ptr,  # (n,) int64
    places_ptr,  # (n, 2) int64
    budgets_ptr,  # (n,) int64
    states_ptr,  # (.., 6) int64: row of masks, next state, exit, first and last edge, whether there are edges
    edges_ptr,  # (.., 2) int64: id, next state
    masks_ptr,  # (.., vocabulary) bool
    lane_places_ptr,  # (.., 2) int64
    last_ids_ptr,  # (..,) int64
    best_ptr,  # (n, n_blocks) float32, scratch
    best_ids_ptr,  # (n, n_blocks) int64, scratch
    arrived_ptr,  # (n,) int32, zero before and after
    out_ptr,  # (n,) int64
    vocabulary,
    n_blocks,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
    EDGES: tl.constexpr,
):
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    lane = tl.load(lanes_ptr + row)
    state, spent = tl.load(places_ptr + 2 * row), tl.load(places_ptr + 2 * row + 1)
    if state < 0:
        state, spent = tl.load(lane_places_ptr + 2 * lane), tl.load(lane_places_ptr + 2 * lane + 1)
    inverse, scale = tl.load(inverse_ptr + row), tl.load(scale_ptr + row)
    first = tl.load(keys_ptr + 2 * row).to(tl.uint32, bitcast=True)
    second = tl.load(keys_ptr + 2 * row + 1).to(tl.uint32, bitcast=True)
    mask_row = tl.load(states_ptr + state * 6)
    ids = block * BLOCK + tl.arange(0, BLOCK)
    is_id = ids < vocabulary
    is_allowed = tl.load(masks_ptr + mask_row * vocabulary + ids, is_id, 0) != 0
    logits = tl.load(logits_ptr + row * vocabulary + ids, is_id, 0)
    scores = tl.where(is_allowed, scored(logits, ids, inverse, scale, first, second), float("-inf"))
    tl.store(best_ptr + row * n_blocks + block, tl.max(scores, 0))
    tl.store(best_ids_ptr + row * n_blocks + block, (block * BLOCK + tl.argmax(scores, 0)).to(tl.int64))
    tl.debug_barrier()
    if tl.atomic_add(arrived_ptr + row, 1, sem="acq_rel") == n_blocks - 1:
        tl.store(arrived_ptr + row, 0)
        place = tl.arange(0, BLOCKS)
        tops = tl.load(best_ptr + row * n_blocks + place, place < n_blocks, float("-inf"), cache_modifier=".cg")
        top = tl.max(tops, 0)
        chosen = tl.load(best_ids_ptr + row * n_blocks + tl.argmax(tops, 0), cache_modifier=".cg")
        after, left = tl.load(states_ptr + state * 6 + 1), tl.load(states_ptr + state * 6 + 2)
        edge, last = tl.load(states_ptr + state * 6 + 3), tl.load(states_ptr + state * 6 + 4)
        last = tl.where(tl.load(states_ptr + state * 6 + 5) > 0, last, edge - 1)
        edge_top, edge_id, edge_next = tl.full([], float("-inf"), tl.float32), chosen, after
        for start in range(edge, last + 1, EDGES):
            at = start + tl.arange(0, EDGES)
            tokens = tl.load(edges_ptr + 2 * at, at <= last, 0)
            its_logits = tl.load(logits_ptr + row * vocabulary + tokens, at <= last, 0)
            its_scores = scored(its_logits, tokens, inverse, scale, first, second)
            its_scores = tl.where(at <= last, its_scores, float("-inf"))
            its_top, its_place = tl.max(its_scores, 0), start + tl.argmax(its_scores, 0)
            if its_top > edge_top:
                edge_top = its_top
                edge_id, edge_next = tl.load(edges_ptr + 2 * its_place), tl.load(edges_ptr + 2 * its_place + 1)
        if edge_top >= top:  # of equals the edge: an id that the mask allows too leads where its edge does
            top, chosen, after = edge_top, edge_id, edge_next
        exits = tl.load(states_ptr + after * 6 + 2)
        if exits >= 0:
            spent += (left >= 0).to(tl.int64)
            after = tl.where(spent >= tl.load(budgets_ptr + row), exits, after)
        is_chosen = tl.abs(top) < float("inf")
        tl.store(out_ptr + row, tl.where(is_chosen, chosen, -1))
        tl.store(last_ids_ptr + lane, tl.where(is_chosen, chosen, 0))
        tl.store(lane_places_ptr + 2 * lane, after)
        tl.store(lane_places_ptr + 2 * lane + 1, spent)
