"""One forward step and its sampling, inputs to ids; the keys and values it needs for that."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harmonium.engine import logprobs
from harmonium.engine.batch import Inputs
from harmonium.engine.request import TokenLogprob
from harmonium.engine.sampler import Sampler
from harmonium.engine.sizes import PageCounts
from harmonium.model.transformer import Transformer


@dataclass(frozen=True)
class Sampled:
    """An id for each sampled row, and the logprobs of those that asked for them, by row."""

    ids: list[int]
    logprobs: dict[int, TokenLogprob]


class Runner:
    """Owns the keys and values. Nothing here knows which requests the rows belong to."""

    def __init__(self, model: Transformer, sampler: Sampler, pages: PageCounts) -> None:
        self.model, self.sampler = model, sampler
        self.cache = model.new_cache(pages.full, pages.sliding)

    @torch.no_grad()
    def run(self, inputs: Inputs) -> Sampled:
        """Computes every row, samples those at logits_at, and waits for their ids."""
        logits = self.model.step(inputs.ids, inputs.batch, self.cache, inputs.logits_at)
        if not len(inputs.logits_at):
            return Sampled([], {})
        reports = inputs.reports
        chances = None if reports is None else logprobs.chances(logits, reports)
        ids = self.sampler.sample(logits, inputs.randomness, inputs.masking, inputs.penalties, inputs.biases)
        found = {} if reports is None or chances is None else logprobs.collect(chances, ids, reports)
        return Sampled(ids.tolist(), found)
