"""Logits -> one id per row, on the device, each row by its own settings.

In order: penalties and biases, the constraint's mask, the temperature, the filters, the noise, the argmax. Every
operation is row by row and noise depends on seed and position alone, so what else is in the batch changes nothing. Work
that no row wants is left out: a greedy batch is one maximum, temperature alone never sorts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harmonium import kernels
from harmonium.engine import noise
from harmonium.engine.adjust import Adjuster, Biases, Penalties
from harmonium.engine.following import BAD
from harmonium.engine.host_masking import HostMasking, RowDraw
from harmonium.engine.table_arena import TableArena


@dataclass(frozen=True)
class Filters:
    """The rows (m,) int64 whose logits are sorted, with their top_k (m, 1) int64 and top_p (m, 1) float32.

    largest: the largest top_k. A row without top_k has the vocabulary's size there, one without top_p has 2.
    """

    rows: Tensor
    top_k: Tensor
    top_p: Tensor
    largest: int


@dataclass(frozen=True)
class Randomness:
    """Per row: inverse temperature and scale of the noise (n, 1) float32, 1 and 0 where greedy; keys (n, 2) int32.

    log_min_p (n, 1) float32 is -inf for rows without. It and filters are None where no row wants them.
    """

    inverse_temperature: Tensor
    scale: Tensor
    keys: Tensor
    log_min_p: Tensor | None
    filters: Filters | None

    @property
    def is_filtered(self) -> bool:
        return self.log_min_p is not None or self.filters is not None


@dataclass(frozen=True)
class Masking:
    """The rows' lanes (n,) int64, and places (n, 2) int64: arena state and what was spent, -1 for what the device has.

    budgets (n,) int64 is None where no row has one. host_masks (m, words) int32, packed, replace the tables' masks in
    host_rows (m,) int64; None where there are none.
    """

    lanes: Tensor
    places: Tensor
    budgets: Tensor | None
    host_rows: Tensor | None
    host_masks: Tensor | None


@dataclass(frozen=True)
class Draw:
    """What temperature and tables alone want, of every row (n,): inverse temperature and scale of the noise, float32, 1
    and 0 where greedy; keys (n, 2) int32; places (n, 2) int64 as in `Masking`; budgets int64, UNLIMITED for none.
    """

    inverse_temperature: Tensor
    scale: Tensor
    keys: Tensor
    places: Tensor
    budgets: Tensor


class Sampler:
    """Draws ids. Kept on the device, for each lane and one that is nobody's: places (n_lanes + 1, 2) int64, its state
    in the arena and what it spent; last_ids (n_lanes + 1,) int64, what was chosen for it last.
    """

    def __init__(self, vocab_size: int, n_lanes: int, arena: TableArena, device: torch.device) -> None:
        self.arena, self.vocab_size = arena, vocab_size
        self._adjuster = Adjuster(vocab_size, device)
        self._hashes = noise.token_hashes(vocab_size, device)
        self.places = torch.zeros((n_lanes + 1, 2), dtype=torch.int64, device=device)
        self.last_ids = torch.zeros(n_lanes + 1, dtype=torch.int64, device=device)
        self._fused, self._draw_row = kernels.draw(device), kernels.draw_row(device)
        self._row_hashes = self._hashes[0].cpu().numpy().view(np.uint32)
        self._shifts = torch.arange(32, dtype=torch.int32, device=device)

    def can_draw(self, masks_on_host: bool) -> bool:
        """Whether the device has an operation for `draw_rows`, where the host has the masks, or else for `draw`."""
        return (self._draw_row if masks_on_host else self._fused) is not None

    def draw_rows(self, logits: Tensor, wanted: Sequence[RowDraw]) -> list[int]:
        """What `sample` would give, row by row, of logits (n, vocabulary) float32."""
        assert self._draw_row is not None, "asked for only where can_draw"
        hashes = self._row_hashes
        return [self._draw_row(row, hashes, *one) for row, one in zip(logits.numpy(), wanted, strict=True)]

    def draw(self, logits: Tensor, wanted: Draw, lanes: Tensor) -> Tensor:
        """What `sample` would give, ids (n,) int64 of logits (n, vocabulary) float32, in one operation."""
        assert self._fused is not None, "asked for only where can_draw"
        return self._fused(
            *(logits, wanted.inverse_temperature, wanted.scale, wanted.keys, lanes, wanted.places, wanted.budgets),
            *(self.arena.states, self.arena.edges, self.arena.masks, self.places, self.last_ids),
        )

    def note(self, lanes: Tensor, ids: Tensor) -> None:
        """What was chosen for lanes (n,), so that the next step can begin with it."""
        self.last_ids.index_copy_(0, lanes, ids.clamp(min=0))

    def sample(
        self,
        logits: Tensor,
        randomness: Randomness | None,
        masking: Masking | HostMasking | None,
        penalties: Penalties | None = None,
        biases: Biases | None = None,
    ) -> Tensor:
        """Ids (n,) int64 of logits (n, vocabulary) float32, which may be overwritten; BAD where a row cannot be drawn.

        Without randomness every row is greedy; without masking every id is allowed.
        """
        if penalties is not None:
            self._adjuster.penalize(logits, penalties)
        if biases is not None:
            self._adjuster.bias(logits, biases)
        if masking is None:
            return self._choose(logits, randomness)
        if isinstance(masking, HostMasking):
            return self._choose_allowed(logits, randomness, masking)
        places = torch.where(masking.places >= 0, masking.places, self.places.index_select(0, masking.lanes))
        rows = self.arena.look(places[:, 0])
        masked = self.arena.mask(logits, rows)
        if masking.host_rows is not None and masking.host_masks is not None:
            allowed = self._unpack(masking.host_masks)
            masked[masking.host_rows] = logits[masking.host_rows].masked_fill_(~allowed, -torch.inf)
        ids = self._choose(masked, randomness)
        after = self.arena.step(rows, places[:, 1], masking.budgets, ids)
        self.places.index_copy_(0, masking.lanes, torch.stack(after, dim=1))
        return ids

    def _choose(self, logits: Tensor, randomness: Randomness | None) -> Tensor:
        return _best(logits if randomness is None else self._scores(logits, randomness))

    def _choose_allowed(self, logits: Tensor, randomness: Randomness | None, masking: HostMasking) -> Tensor:
        """The mask's rows are looked at first where filters go by what is allowed, else where a draw is not allowed."""
        if randomness is not None and randomness.is_filtered:
            return self._choose(logits.masked_fill_(masking.forbidden(), -torch.inf), randomness)
        scores = logits if randomness is None else self._scores(logits, randomness)
        ids = _best(scores)
        return ids if masking.allows(ids.tolist()) else _best(scores.masked_fill_(masking.forbidden(), -torch.inf))

    def _scores(self, logits: Tensor, randomness: Randomness) -> Tensor:
        """Scaled, filtered and noisy logits, whose argmax is the draw."""
        scores = logits.mul_(randomness.inverse_temperature)
        bounds = []
        if randomness.log_min_p is not None:
            bounds.append(scores.amax(dim=-1, keepdim=True) + randomness.log_min_p)
        if randomness.filters is not None:
            lowest = torch.full_like(randomness.scale, -torch.inf)
            lowest[randomness.filters.rows] = smallest_kept(scores[randomness.filters.rows], randomness.filters)
            bounds.append(lowest)
        for bound in bounds:
            scores = scores.masked_fill_(scores < bound, -torch.inf)
        return scores.add_(noise.gumbel(self._hashes, randomness.keys).mul_(randomness.scale))

    def _unpack(self, words: Tensor) -> Tensor:
        """words (n, words) int32 to booleans (n, vocabulary)."""
        bits = (words.unsqueeze(-1) >> self._shifts) & 1  # (n, words, 32)
        return bits.flatten(1)[:, : self.vocab_size].bool()


def _best(scores: Tensor) -> Tensor:
    """Each row's likeliest id (n,), BAD where the best is not finite."""
    best, ids = scores.max(dim=-1)
    return torch.where(best.abs() < torch.inf, ids, BAD)  # false for NaN too


def smallest_kept(scores: Tensor, filters: Filters) -> Tensor:
    """The lowest score (m, 1) that top_k, then top_p of what is left, keep in each row of scores (m, vocabulary)."""
    ordered = scores.topk(min(filters.largest, scores.shape[-1]), dim=-1).values  # (m, largest)
    places = torch.arange(ordered.shape[-1], device=scores.device)
    chances = ordered.masked_fill(places >= filters.top_k, -torch.inf).softmax(dim=-1)
    is_kept = (chances.cumsum(dim=-1) - chances < filters.top_p) & (places < filters.top_k)
    return ordered.gather(-1, is_kept.sum(dim=-1, keepdim=True).sub_(1).clamp_(min=0))
