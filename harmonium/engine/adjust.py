"""What requests ask to have changed in their logits before the choice: penalties for what was said, and biases.

Repetition divides positive and multiplies negative logits of ids that the prompt or the answer has; presence is
subtracted once, and frequency once for every time, from those of ids that the answer has; biases are added last. The
counts live on the device, a slot for each request that has penalties, and are told of new ids only.

Sources: repetition, Keskar et al. 2019, arXiv:1909.05858, as transformers computes it; the others, OpenAI's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine.request import Request, SamplingParams

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Penalties:
    """rows, slots (m,) int64 and factors (m, 3) float32: repetition, presence, frequency.

    fresh: (f,) int64, slots to empty first. new_slots, new_ids (t,) int64 and new_counts (t,) float32: what is new in
    the slots, 1 for ids of the answer and 0 for the prompt's. n_slots: how many there are to be.
    """

    rows: Tensor
    slots: Tensor
    factors: Tensor
    fresh: Tensor
    new_slots: Tensor
    new_ids: Tensor
    new_counts: Tensor
    n_slots: int


@dataclass(frozen=True)
class Biases:
    """values (t,) float32 for ids (t,) int64 in rows (t,) int64."""

    rows: Tensor
    ids: Tensor
    values: Tensor


class Wishes:
    """The host's side: which lanes want something, and the arrays of what is new in a step."""

    def __init__(self, n_lanes: int) -> None:
        self.lanes: set[int] = set()  # that have wishes, or had them before their request left
        self._slots = [-1] * n_lanes
        self._free_slots: list[int] = []
        self.n_slots = 0

    def seat(self, request: Request) -> None:
        """Notes what a request wants that got a lane, in place of the one before it."""
        lane, params = request.lane, request.params
        if self._slots[lane] >= 0:
            self._free_slots.append(self._slots[lane])
            self._slots[lane] = -1
        if params.is_penalized:
            if not self._free_slots:
                self._free_slots.append(self.n_slots)
                self.n_slots += 1
            self._slots[lane] = self._free_slots.pop()
        if params.is_penalized or params.logit_bias:
            self.lanes.add(lane)
        else:
            self.lanes.discard(lane)

    def arrays(self, sampled: list[Request]) -> Arrays:
        """What the rows of these requests want; nothing of what none of them wants."""
        return self._penalties(sampled) | _biases(sampled)

    def _penalties(self, sampled: list[Request]) -> Arrays:
        rows = [row for row, request in enumerate(sampled) if request.params.is_penalized]
        if not rows:
            return {}
        requests = [sampled[row] for row in rows]
        slots = np.array([self._slots[request.lane] for request in requests], np.int64)
        known = np.array([max(0, request.n_counted) for request in requests])
        new = [request.tokens[n:] for request, n in zip(requests, known, strict=True)]
        n_new = np.array([len(ids) for ids in new])
        positions = np.arange(n_new.sum()) - np.repeat(n_new.cumsum() - n_new - known, n_new)
        n_prompt = np.array([request.n_prompt for request in requests])
        fresh = slots[[request.n_counted < 0 for request in requests]]
        for request in requests:
            request.n_counted = len(request.tokens)
        return {
            "penalty_rows": np.array(rows, np.int64),
            "penalty_slots": slots,
            "penalty_factors": np.array([_factors(request.params) for request in requests], np.float32),
            "fresh_slots": fresh,
            "new_slots": np.repeat(slots, n_new),
            "new_ids": np.array(list(chain.from_iterable(new)), np.int64),
            "new_counts": (positions >= np.repeat(n_prompt, n_new)).astype(np.float32),
        }


def _factors(params: SamplingParams) -> tuple[float, float, float]:
    return params.repetition_penalty, params.presence_penalty, params.frequency_penalty


def _biases(sampled: list[Request]) -> Arrays:
    wanted = [(row, id_, value) for row, r in enumerate(sampled) for id_, value in r.params.logit_bias]
    if not wanted:
        return {}
    rows, ids, values = zip(*wanted, strict=True)
    return {
        "bias_rows": np.array(rows, np.int64),
        "bias_ids": np.array(ids, np.int64),
        "bias_values": np.array(values, np.float32),
    }


def wanted(at: Mapping[str, Tensor], n_slots: int) -> tuple[Penalties | None, Biases | None]:
    """The device's tensors of `Wishes.arrays`."""
    penalties = biases = None
    if "penalty_rows" in at:
        penalties = Penalties(
            rows=at["penalty_rows"],
            slots=at["penalty_slots"],
            factors=at["penalty_factors"],
            fresh=at["fresh_slots"],
            new_slots=at["new_slots"],
            new_ids=at["new_ids"],
            new_counts=at["new_counts"],
            n_slots=n_slots,
        )
    if "bias_rows" in at:
        biases = Biases(at["bias_rows"], at["bias_ids"], at["bias_values"])
    return penalties, biases


class Adjuster:
    """The device's side. counts: (slots, vocabulary) float32, how often the answer has an id; is_said: prompt or answer
    has it."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self.counts = torch.zeros((0, vocab_size), device=device)
        self.is_said = torch.zeros((0, vocab_size), dtype=torch.bool, device=device)

    def penalize(self, logits: Tensor, penalties: Penalties) -> None:
        """Changes logits (n, vocabulary) in place, after taking in what is new."""
        if penalties.n_slots > len(self.counts):
            self._grow(max(penalties.n_slots, 2 * len(self.counts)))
        self.counts[penalties.fresh] = 0.0
        self.is_said[penalties.fresh] = False
        self.is_said[penalties.new_slots, penalties.new_ids] = True
        self.counts.index_put_((penalties.new_slots, penalties.new_ids), penalties.new_counts, accumulate=True)
        repetition, presence, frequency = penalties.factors.unsqueeze(-1).unbind(1)  # each (m, 1)
        counts, scores = self.counts[penalties.slots], logits[penalties.rows]  # (m, vocabulary)
        repeated = torch.where(scores > 0, scores / repetition, scores * repetition)
        scores = torch.where(self.is_said[penalties.slots], repeated, scores)
        logits[penalties.rows] = scores - frequency * counts - presence * (counts > 0)

    def bias(self, logits: Tensor, biases: Biases) -> None:
        """Changes logits (n, vocabulary) in place."""
        logits.index_put_((biases.rows, biases.ids), biases.values, accumulate=True)

    def _grow(self, n_slots: int) -> None:
        n_more = n_slots - len(self.counts)
        counts = torch.cat((self.counts, self.counts.new_zeros((n_more, self.counts.shape[1]))))
        is_said = torch.cat((self.is_said, self.is_said.new_zeros((n_more, self.is_said.shape[1]))))
        self.counts, self.is_said = counts, is_said  # both, or none where memory runs out
