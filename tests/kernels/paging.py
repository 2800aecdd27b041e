"""Rows that grow over shuffled pages: the step batches an engine would make, with the pages out of reach poisoned."""

from __future__ import annotations

import torch

from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.model.config import PAGE_SIZE

POISON = 0
"""The page whose content is NaN: table entries that nothing may read point there."""


class GrowingRows:
    """Some rows of up to `context` tokens; each call of `grow` is one step of theirs."""

    def __init__(self, n_rows: int, context: int, window: int, seed: int = 0) -> None:
        pages = -(-context // PAGE_SIZE)
        self.n_pages = n_rows * pages + 1
        self.window = window
        generator = torch.Generator().manual_seed(seed)
        tables = [torch.randperm(n_rows * pages, generator=generator) + 1 for _ in range(2)]
        self.full, self.sliding = (table.int().view(n_rows, pages) for table in tables)
        self.lengths = [0] * n_rows

    def grow(self, news: list[int]) -> StepBatch:
        """The batch in which row r has news[r] new tokens; rows with none are left out of it."""
        rows = [r for r, new in enumerate(news) if new]
        positions, full, sliding, starts = [], [], [], [0]
        full_table, sliding_table = torch.full_like(self.full, POISON), torch.full_like(self.sliding, POISON)
        for r in rows:
            start, stop = self.lengths[r], self.lengths[r] + news[r]
            places = torch.arange(start, stop)
            positions.append(places)
            full.append(_slots(self.full[r], places))
            sliding.append(_slots(self.sliding[r], places))
            reach, end = max(0, start - self.window + 1) // PAGE_SIZE, -(-stop // PAGE_SIZE)
            full_table[r, :end] = self.full[r, :end]
            sliding_table[r, reach:end] = self.sliding[r, reach:end]
            starts.append(starts[-1] + news[r])
            self.lengths[r] = stop
        lengths = [self.lengths[r] for r in rows]
        return StepBatch(
            positions=torch.cat(positions),
            query_starts=torch.tensor(starts, dtype=torch.int32),
            lengths=torch.tensor(lengths, dtype=torch.int32),
            full=PageGroup(full_table[rows], torch.cat(full)),
            sliding=PageGroup(sliding_table[rows], torch.cat(sliding)),
            max_query=max(news),
            max_length=max(lengths),
        )


def poison(caches: list[torch.Tensor]) -> None:
    for cache in caches:
        cache[POISON] = float("nan")


def _slots(table: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return table[places // PAGE_SIZE].long() * PAGE_SIZE + places % PAGE_SIZE
