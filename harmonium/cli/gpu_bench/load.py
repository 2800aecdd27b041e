"""Requests on an engine as a server makes them: distinct random prompts, temperature 1, harmony's automaton on each id.

Rates are those of a time in which all requests decode: from the last one's first id to the first one's end. Nothing is
in the cache when a run begins. An answer that ends early, as one in some hundred does by chance, counts as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.request import FinishReason, SamplingParams, StepOutput
from harmonium.errors import RequestFailed


@dataclass(frozen=True)
class Decoded:
    """Tokens a second of all requests together, and how long the last of them waited for its first. is_whole: none
    had all its tokens before that, so that all of them decoded at once."""

    rate: float
    first_token_s: float
    is_whole: bool


class Load:
    """constraint: makes one request's; stop_ids: those that end an answer."""

    def __init__(
        self, engine: Engine, constraint: Callable[[], TableConstraint], stop_ids: tuple[int, ...], seed: int = 0
    ) -> None:
        self.engine, self.constraint, self.stop_ids = engine, constraint, stop_ids
        self._random = Random(seed)
        self._ids: list[int] = []

    def prompt(self, length: int) -> list[int]:
        return self._random.choices(range(self.engine.arena.vocab_size), k=length)

    def holds(self, n: int, length: int) -> bool:
        """There are lanes and pages for n requests of that length at once."""
        cache = self.engine.cache
        has_pages = n * pages_for(length) <= cache.full.n_pages
        return n <= len(cache.full_table) and has_pages and length <= self.engine.context

    def decode(self, n: int, n_prompt: int, n_answer: int) -> Decoded:
        """n answers at once of n_answer ids each."""
        started = self._begin(n, n_prompt, n_answer)
        waiting, is_whole = set(self._ids), True
        while waiting:
            outputs = self._step()
            waiting -= {output.request_id for output in outputs if output.ids}
            is_over = any(output.finish_reason is FinishReason.LENGTH for output in outputs)
            is_whole = is_whole and not (waiting and is_over)
        began = time.perf_counter()
        n_ids, outputs = 0, self._step()
        while True:
            n_ids += sum(len(output.ids) for output in outputs)
            if any(output.finish_reason is FinishReason.LENGTH for output in outputs) or not self.engine.has_work:
                break
            outputs = self._step()
        rate = n_ids / (time.perf_counter() - began)
        self._drain()
        return Decoded(rate, began - started, is_whole)

    def prefill(self, n: int, n_prompt: int) -> float:
        """Seconds until n prompts at once have their first ids."""
        started = self._begin(n, n_prompt, 1)
        self._drain()
        return time.perf_counter() - started

    def _begin(self, n: int, n_prompt: int, n_answer: int) -> float:
        """Adds the requests to an engine that knows nothing of them, and says when."""
        for request_id in self._ids:  # of a run that failed
            self.engine.abort(request_id)
        while self.engine.has_work:
            self.engine.step()
        self.engine.cache.forget_idle()
        prompts = [self.prompt(n_prompt) for _ in range(n)]
        params = SamplingParams(temperature=1.0, max_tokens=n_answer, stop_ids=self.stop_ids)
        constraints = [self.constraint() for _ in prompts]
        started = time.perf_counter()
        each = zip(prompts, constraints, strict=True)
        self._ids = [self.engine.add(prompt, params, constraint) for prompt, constraint in each]
        return started

    def _step(self) -> list[StepOutput]:
        outputs = self.engine.step()
        for output in outputs:
            if output.error is not None:
                raise RequestFailed(f"A request of the measurement failed: {output.error}")
        return outputs

    def _drain(self) -> None:
        while self.engine.has_work:
            self._step()
