"""One forward step and its sampling, inputs to ids; the keys and values it needs for that, and how many fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harmonium.engine import logprobs
from harmonium.engine.batch import Inputs
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.request import TokenLogprob
from harmonium.engine.sampler import Sampler
from harmonium.errors import NotEnoughMemory
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import Transformer


@dataclass(frozen=True)
class PageCounts:
    """Pages of each group."""

    full: int
    sliding: int

    @classmethod
    def fitting(
        cls, model: Transformer, context: int | None, n_rows: int, token_budget: int, cache_bytes: int
    ) -> PageCounts:
        """Sliding pages for n_rows windows and a step's new tokens, full pages for what cache_bytes leave.

        Full pages are no more than n_rows contexts need, and no fewer than one context of that length, or of one page
        where None leaves it open; raises NotEnoughMemory where these do not fit.
        """
        config, one = model.config, model.new_cache(1, 1)
        page_bytes = {True: 0, False: 0}  # of a sliding and of a full page, in all its layers
        for layer, (k, v) in enumerate(zip(one.k, one.v, strict=True)):
            page_bytes[config.is_sliding(layer)] += k.nbytes + v.nbytes
        # A row holds its window, wherever its pages begin, and the page of its next token.
        sliding = n_rows * (pages_for(config.window) + 2) + pages_for(token_budget)
        sliding_bytes, full_bytes = sliding * page_bytes[True], max(1, page_bytes[False])
        full = min((cache_bytes - sliding_bytes) // full_bytes, n_rows * pages_for(context or config.context))
        needed = pages_for(context or PAGE_SIZE)
        if full < needed:
            raise NotEnoughMemory(
                f"{n_rows} requests at once with a context of {context or PAGE_SIZE} tokens need "
                f"{sliding_bytes + needed * full_bytes} bytes for keys and values, and {cache_bytes} are allowed; "
                "raise cache_bytes, or lower the context or n_rows."
            )
        return cls(full, sliding)


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
