"""One forward step and its sampling, inputs to ids; the keys and values it needs for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonium.engine import logprobs
from harmonium.engine.batch import Inputs
from harmonium.engine.graphs import Graphs
from harmonium.engine.interrupts import Interrupts
from harmonium.engine.logprobs import Found
from harmonium.engine.request import TokenLogprob
from harmonium.engine.sampler import Sampler
from harmonium.engine.sizes import PageCounts
from harmonium.model.transformer import Transformer


@dataclass(frozen=True)
class Sampled:
    """An id for each sampled row, and the logprobs of those that asked for them, by row."""

    ids: list[int]
    logprobs: dict[int, TokenLogprob]


class Flight:
    """A step on its way through the device."""

    def __init__(self, ids: Tensor | list[int], found: Found | None = None) -> None:
        self._ids = ids if isinstance(ids, list) else _fetched(ids)
        self._found = None if found is None else found.map(_fetched)
        self._landed = torch.cuda.Event() if not isinstance(ids, list) and ids.is_cuda else None
        if self._landed is not None:
            self._landed.record()

    def wait(self) -> Sampled:
        """What the step gave, once it is done; later ones may go on."""
        if self._landed is not None:
            self._landed.synchronize()
        ids = self._ids if isinstance(self._ids, list) else self._ids.tolist()
        return Sampled(ids, {} if self._found is None else self._found.by_row())


class Runner:
    """Owns the keys and values. Nothing here knows which requests the rows belong to.

    interrupts: allowed while a CPU computes the model. A GPU is only told to, and has it done while the step is waited
    for. graphs: steps that have a key are replayed as CUDA graphs; their filling writes to one page more in each group.
    """

    def __init__(
        self,
        model: Transformer,
        sampler: Sampler,
        pages: PageCounts,
        interrupts: Interrupts,
        *,
        graphs: bool = False,
    ) -> None:
        self.model, self.sampler = model, sampler
        self._computing = interrupts.allowed if model.device.type == "cpu" else nullcontext
        self.cache = model.new_cache(pages.full + graphs, pages.sliding + graphs)
        self._graphs = Graphs() if graphs else None
        self._version = 0

    @torch.no_grad()
    def run(self, inputs: Inputs) -> Flight:
        """Begins to compute every row, and to sample those at logits_at; on a CPU it is done then."""
        found: Found | None = None
        chosen = self._replayed(inputs, lambda: self._computed(inputs))
        if not inputs.n_real:
            return Flight([])
        if inputs.row_draws:
            return Flight(self.sampler.draw_rows(chosen, inputs.row_draws))
        if inputs.draw is None:
            logits = chosen[: inputs.n_real]
            reports = inputs.reports
            chances = None if reports is None else logprobs.chances(logits, reports)
            chosen = self.sampler.sample(logits, inputs.randomness, inputs.masking, inputs.penalties, inputs.biases)
            self.sampler.note(inputs.sampled_lanes[: inputs.n_real], chosen)
            if reports is not None and chances is not None:
                found = logprobs.collect(chances, chosen, reports)
        return Flight(chosen[: inputs.n_real], found)

    def _computed(self, inputs: Inputs) -> Tensor:
        """Ids (n,) where they are drawn, else logits (n, vocabulary)."""
        ids = inputs.ids
        if inputs.lanes is not None:
            ids = torch.where(ids >= 0, ids, self.sampler.last_ids.index_select(0, inputs.lanes))
        with self._computing():
            logits = self.model.step(ids, inputs.batch, self.cache, inputs.logits_at)
        if inputs.draw is None:
            return logits
        return self.sampler.draw(logits, inputs.draw, inputs.sampled_lanes)

    def _replayed(self, inputs: Inputs, compute: Callable[[], Tensor]) -> Tensor:
        if self._graphs is None or inputs.key is None:
            return compute()
        if self._version != self.sampler.arena.version:  # its tables have moved, and no graph knows where
            self._version = self.sampler.arena.version
            self._graphs.forget()
        return self._graphs(inputs.key, compute)


def _fetched(tensor: Tensor) -> Tensor:
    """The tensor on the host, once the device has come to it."""
    if not tensor.is_cuda:
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
