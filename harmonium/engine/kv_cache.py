"""Which page of the key/value cache holds which positions of which request: bookkeeping in plain Python, no torch.

There are two groups of pages, because half of the layers see only a window: full pages are kept while their request
runs, sliding pages go back as soon as no later token can see them. A running request has a lane, its row in both page
tables; tables are indexed by absolute position, and entries for released or unreached positions are stale.

Invariant: every page of a group is either free or held by exactly one lane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonium.model.config import PAGE_SIZE


class PagePool:
    """The free pages of one group. Pages given back last are taken first: they are warm, and untouched ones stay so."""

    def __init__(self, n_pages: int) -> None:
        self.n_pages = n_pages
        self._free = list(range(n_pages - 1, -1, -1))

    @property
    def n_free(self) -> int:
        return len(self._free)

    def take(self) -> int:
        return self._free.pop()

    def give(self, page: int) -> None:
        self._free.append(page)


@dataclass(slots=True)
class Lane:
    """Pages [0, n_pages) of the lane's positions were reserved; of the sliding ones those before `first` went back."""

    n_pages: int = 0
    first: int = 0


class KvCache:
    """Both groups' pages and tables, for n_lanes requests of at most max_length tokens each.

    full_table, sliding_table: (n_lanes, pages of max_length) int32, as `PageGroup.table` wants them.
    """

    def __init__(self, n_lanes: int, max_length: int, window: int, n_full_pages: int, n_sliding_pages: int) -> None:
        width = pages_for(max_length)
        assert n_full_pages >= width, "one request of full length fits alone"
        assert n_sliding_pages > pages_for(window), "one window fits, wherever its pages begin"
        self.window = window
        self.full, self.sliding = PagePool(n_full_pages), PagePool(n_sliding_pages)
        self.full_table: NDArray[np.int32] = np.zeros((n_lanes, width), np.int32)
        self.sliding_table: NDArray[np.int32] = np.zeros((n_lanes, width), np.int32)
        self._lanes = [Lane() for _ in range(n_lanes)]

    def n_held(self, lane: int) -> tuple[int, int]:
        """Full and sliding pages that the lane holds."""
        held = self._lanes[lane]
        return held.n_pages, held.n_pages - held.first

    def room(self, lane: int) -> int:
        """The longest length that the lane could be extended to with the pages that are free now."""
        return (self._lanes[lane].n_pages + min(self.full.n_free, self.sliding.n_free)) * PAGE_SIZE

    def extend(self, lane: int, length: int) -> None:
        """Reserves pages so that positions [0, length) have places; length is within `room`."""
        held = self._lanes[lane]
        for index in range(held.n_pages, pages_for(length)):
            self.full_table[lane, index] = self.full.take()
            self.sliding_table[lane, index] = self.sliding.take()
            held.n_pages = index + 1

    def release_behind(self, lane: int, length: int) -> None:
        """Gives back sliding pages that no token at position `length` or later sees: those before its window."""
        held = self._lanes[lane]
        first = min(max(0, length - self.window + 1) // PAGE_SIZE, held.n_pages)
        for index in range(held.first, first):
            self.sliding.give(int(self.sliding_table[lane, index]))
        held.first = max(held.first, first)

    def free(self, lane: int) -> None:
        """Gives back all that the lane holds."""
        held = self._lanes[lane]
        for index in range(held.n_pages - 1, -1, -1):
            self.full.give(int(self.full_table[lane, index]))
        for index in range(held.n_pages - 1, held.first - 1, -1):
            self.sliding.give(int(self.sliding_table[lane, index]))
        self._lanes[lane] = Lane()


def pages_for(length: int) -> int:
    """Pages that hold positions [0, length)."""
    return -(-length // PAGE_SIZE)
