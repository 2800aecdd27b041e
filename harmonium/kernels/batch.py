"""The one description of a ragged step that every operation over the cache takes.

A step holds the new tokens of several rows (requests), concatenated; row r has tokens query_starts[r] to
query_starts[r + 1]. Keys and values live in pages of a layer's cache, `(n_pages, n_kv_heads, page_size, head_dim)`, and
layers belong to one of two page groups: full attention, and sliding, whose pages behind the window are given back and
whose table entries there are stale and never read. Tables are indexed by absolute position: position p of row r is in
page table[r, p // page_size] at offset p % page_size, in both groups.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PageGroup:
    """table: (rows, max_pages) int32 page numbers. slots: (tokens,) int64, page * page_size + offset of new tokens."""

    table: Tensor
    slots: Tensor


@dataclass(frozen=True)
class StepBatch:
    """positions: (tokens,) int64. query_starts: (rows + 1,) int32. lengths: (rows,) int32, context with the new tokens.

    max_query and max_length are host integers: the longest row's new tokens and context (upper bounds under a graph).
    """

    positions: Tensor
    query_starts: Tensor
    lengths: Tensor
    full: PageGroup
    sliding: PageGroup
    max_query: int
    max_length: int
