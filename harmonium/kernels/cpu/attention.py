"""Attention with sinks over pages, for one new token of a row as for a whole prompt.

The queries of some new tokens that share a key and value head are the lanes of a panel; it meets the row's pages one
after another, in order. A lane keeps its largest score and its sum so far, and what it gathered is scaled down when a
larger score comes: blockwise softmax, as in Dao et al. 2022, arXiv:2205.14135. The sink is a score that comes first
and has no value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu import tile
from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.pool import State, shared
from harmonium.kernels.cpu.products import PANEL, Floats
from harmonium.kernels.cpu.simd import exp

Pages = NDArray[np.int32]

LOWEST = np.float32(-1e30)
"""The score of what a query does not see: finite, so that differences are."""


@inlined
def _page(
    queries: Floats,
    page: Floats,
    value_page: Floats,
    first: int,
    n_keys: int,
    seen: tuple[Pages, Pages],
    scores: Floats,
    tops: Floats,
    sums: Floats,
    out: Floats,
    is_half: bool,
) -> None:
    """One page: its first n_keys keys and values (page_size * head_dim,), from position `first` on, for all lanes.

    seen: of each lane the first position that it sees, and the one after the last.
    """
    head_dim = len(queries) // PANEL
    page_size, n_lanes = len(page) // head_dim, PANEL // 2 if is_half else PANEL
    scores[:] = 0
    for key in range(0, n_keys, tile.ROWS):
        if is_half:
            tile.half_tile(page, key * head_dim, head_dim, 1, queries, 0, head_dim, scores, key * PANEL)
        else:
            tile.whole_tile(page, key * head_dim, head_dim, 1, queries, 0, head_dim, scores, key * PANEL)
    factors, grows = scores[page_size * PANEL :], False
    for lane in range(n_lanes):
        factors[lane] = tops[lane]
    for key in range(n_keys):
        for lane in range(n_lanes):
            is_seen = (first + key >= seen[0][lane]) & (first + key < seen[1][lane])
            score = scores[key * PANEL + lane] if is_seen else LOWEST
            scores[key * PANEL + lane] = score
            tops[lane] = max(tops[lane], score)
    for lane in range(n_lanes):
        grows |= tops[lane] > factors[lane]
    if grows:
        for lane in range(n_lanes):
            factors[lane] = exp(factors[lane] - tops[lane])
            sums[lane] *= factors[lane]
        for i in range(head_dim):
            for lane in range(n_lanes):
                out[i * PANEL + lane] *= factors[lane]
    for key in range(n_keys):
        for lane in range(n_lanes):
            weight = exp(scores[key * PANEL + lane] - tops[lane])
            scores[key * PANEL + lane] = weight
            sums[lane] += weight
    for i in range(0, head_dim, tile.ROWS):
        if is_half:
            tile.half_tile(value_page, i, 1, head_dim, scores, 0, n_keys, out, i * PANEL)
        else:
            tile.whole_tile(value_page, i, 1, head_dim, scores, 0, n_keys, out, i * PANEL)


@shared
def _attend_block(
    item: int,
    q: Floats,
    k_cache: Floats,
    v_cache: Floats,
    sinks: Floats,
    window: int,
    table: Pages,
    starts: Pages,
    lengths: Pages,
    out: Floats,
    blocks: Pages,
) -> None:
    """Item: one of `blocks` (n, 2), a row and the first of its new tokens there, and one key and value head."""
    _, kv_heads, page_size, head_dim = k_cache.shape
    groups = q.shape[1] // kv_heads
    row, start, kv_head = blocks[item // kv_heads, 0], blocks[item // kv_heads, 1], item % kv_heads
    n_tokens = min(PANEL // groups, starts[row + 1] - start)
    is_half, scale = n_tokens * groups <= PANEL // 2, np.float32(1.0 / np.sqrt(head_dim))
    position = lengths[row] - (starts[row + 1] - start)  # of the block's first token
    queries, gathered = np.zeros(head_dim * PANEL, np.float32), np.zeros(head_dim * PANEL, np.float32)
    scores = np.empty((page_size + 1) * PANEL, np.float32)
    tops, sums = np.zeros(PANEL, np.float32), np.ones(PANEL, np.float32)
    seen = (np.zeros(PANEL, np.int32), np.zeros(PANEL, np.int32))
    for t in range(n_tokens):
        for head in range(groups):
            lane = t * groups + head
            tops[lane] = sinks[kv_head * groups + head]
            seen[0][lane] = max(0, position + t + 1 - window) if window else 0
            seen[1][lane] = position + t + 1
            for i in range(head_dim):
                queries[i * PANEL + lane] = q[start + t, kv_head * groups + head, i] * scale
    end = position + n_tokens
    for number in range(seen[0][0] // page_size, (end + page_size - 1) // page_size):
        page = table[row, number]
        keys, values = k_cache[page, kv_head].reshape(-1), v_cache[page, kv_head].reshape(-1)
        first, n_keys = number * page_size, min(page_size, end - number * page_size)
        _page(queries, keys, values, first, n_keys, seen, scores, tops, sums, gathered, is_half)
    for t in range(n_tokens):
        for head in range(groups):
            lane = t * groups + head
            for i in range(head_dim):
                out[start + t, kv_head * groups + head, i] = gathered[i * PANEL + lane] / sums[lane]


@compiled
def attend(
    state: State,
    q: Floats,
    k_cache: Floats,
    v_cache: Floats,
    sinks: Floats,
    window: int,
    table: Pages,
    starts: Pages,
    lengths: Pages,
    out: Floats,
) -> None:
    """Fills out (tokens, heads, head_dim), the shape of q; window 0 sees everything. At most 32 heads share a key."""
    kv_heads = k_cache.shape[1]
    most = PANEL // (q.shape[1] // kv_heads)
    blocks, n = np.empty((len(q), 2), np.int32), 0
    for row in range(len(lengths) - 1, -1, -1):  # the end of a prompt sees the most and comes first
        for start in range(starts[row] + (starts[row + 1] - starts[row] - 1) // most * most, starts[row] - 1, -most):
            blocks[n, 0], blocks[n, 1] = row, start
            n += 1
    _attend_block(state, n * kv_heads, (q, k_cache, v_cache, sinks, window, table, starts, lengths, out, blocks))
