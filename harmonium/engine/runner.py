"""One forward step and its sampling, inputs to ids; the keys and values it needs for that, and how many fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harmonium.engine.batch import Inputs
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.sampler import Sampler
from harmonium.errors import NotEnoughMemory
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import Cache, Transformer


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
        config = model.config
        n_sliding_layers = sum(config.is_sliding(layer) for layer in range(config.n_layers))
        layer_bytes = 2 * config.n_kv_heads * PAGE_SIZE * config.head_dim * model.dtype.itemsize
        full_bytes = layer_bytes * max(1, config.n_layers - n_sliding_layers)
        # A row holds its window, wherever its pages begin, and the page of its next token.
        sliding = n_rows * (pages_for(config.window) + 2) + pages_for(token_budget)
        sliding_bytes = sliding * layer_bytes * n_sliding_layers
        full = min((cache_bytes - sliding_bytes) // full_bytes, n_rows * pages_for(context or config.context))
        needed = pages_for(context or PAGE_SIZE)
        if full < needed:
            raise NotEnoughMemory(
                f"{n_rows} requests at once with a context of {context or PAGE_SIZE} tokens need "
                f"{sliding_bytes + needed * full_bytes} bytes for keys and values, and {cache_bytes} are allowed; "
                "raise cache_bytes, or lower the context or n_rows."
            )
        return cls(full, sliding)


class Runner:
    """Owns the keys and values. Nothing here knows which requests the rows belong to."""

    def __init__(self, model: Transformer, sampler: Sampler, pages: PageCounts) -> None:
        self.model, self.sampler = model, sampler
        self.cache = new_cache(model, pages)

    @torch.no_grad()
    def run(self, inputs: Inputs) -> list[int]:
        """Computes every row, samples those at logits_at, and waits for their ids (n,)."""
        logits = self.model.step(inputs.ids, inputs.batch, self.cache, inputs.logits_at)
        if not len(inputs.logits_at):
            return []
        ids: list[int] = self.sampler.sample(logits, inputs.randomness, inputs.masking).tolist()
        return ids


def new_cache(model: Transformer, pages: PageCounts) -> Cache:
    """The model's cache, zero; on a CPU a page takes memory only once it is written."""
    if model.device.type != "cpu":
        return model.new_cache(pages.full, pages.sliding)
    counts = [pages.sliding if model.config.is_sliding(i) else pages.full for i in range(model.config.n_layers)]
    one = model.new_cache(1, 1)
    return Cache(
        k=[_untouched((n, *page.shape[1:]), page.dtype) for n, page in zip(counts, one.k, strict=True)],
        v=[_untouched((n, *page.shape[1:]), page.dtype) for n, page in zip(counts, one.v, strict=True)],
    )


def _untouched(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros that the system provides when they are first read or written, aligned to 64 bytes."""
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.zeros(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return torch.from_numpy(memory[start : start + n_bytes]).view(dtype).view(shape)
