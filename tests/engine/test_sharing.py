"""Scheduler and cache together, without a model: whatever comes and goes, every token sees what it would see alone.

A page of the simulated cache holds, at each place, the prefix whose last token was computed there, as keys and values
would depend on it.
"""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.scheduler import Row, Scheduler
from harmonium.model.config import PAGE_SIZE
from tests.engine.audit import audit, may_write

CONTEXT, WINDOW, N_LANES = 208, 40, 4
END = 9


def prefixes(tokens: list[int]) -> list[int]:
    """A number for each prefix of tokens."""
    numbers = [0]
    for token in tokens:
        numbers.append(hash((numbers[-1], token)))
    return numbers[1:]


class Simulation(RuleBasedStateMachine):
    """Requests with few prefixes, so that most share something; the next id of a row depends on all before it."""

    alive: Bundle[int] = Bundle("alive")

    @initialize(
        n_full=st.integers(pages_for(CONTEXT), 40),
        n_sliding=st.integers(5, 24),
        token_budget=st.integers(N_LANES, 80),
        n_kept=st.none() | st.integers(0, 20),
    )
    def begin(self, n_full: int, n_sliding: int, token_budget: int, n_kept: int | None) -> None:
        cache = KvCache(N_LANES, CONTEXT, WINDOW, n_full, n_sliding, n_kept)
        self.plan = Scheduler(cache, N_LANES, token_budget, queue_limit=100, end_ids=[END])
        self.full = np.zeros((n_full, PAGE_SIZE), np.int64)
        self.sliding = np.zeros((n_sliding, PAGE_SIZE), np.int64)
        self.requests: dict[int, Request] = {}
        self.ids = itertools.count()

    @rule(
        target=alive,
        shared=st.integers(0, 120),
        own=st.integers(1, 40),
        n_more=st.integers(1, 40),
        stem=st.integers(1, 2),
        priority=st.sampled_from([0, 0, 0, 1]),
    )
    def add(self, shared: int, own: int, n_more: int, stem: int, priority: int) -> int:
        number = next(self.ids)
        tokens = [stem, END, stem, stem] * (shared // 4) + [10 + number % 3] * own
        request = Request(number, tokens, SamplingParams(), 0, len(tokens) + n_more, priority=priority)
        self.requests[number] = request
        self.plan.add(request)
        return number

    @rule(number=consumes(alive), is_faulty=st.booleans())
    def abort(self, number: int, is_faulty: bool) -> None:
        if (request := self.requests.pop(number, None)) is not None:
            self.plan.remove(request, is_faulty=is_faulty)

    @rule(n=st.integers(1, 12))
    def run(self, n: int) -> None:
        for _ in range(n):
            self.step()

    def step(self) -> None:
        rows = self.plan.schedule()
        assert sum(row.n_tokens for row in rows) <= self.plan.token_budget
        assert bool(self.requests) == bool(self.plan.running), "somebody runs"
        first = self.plan.running[:1]
        assert [row.request for row in rows if row.request in first] == first, "the first of them always advances"
        assert self.plan.running == sorted(self.plan.running, key=lambda request: request.rank)
        for row in rows:
            self.compute(row)
        for row in rows:
            self.plan.complete(row)
            if row.is_sampled:
                request = row.request
                request.tokens.append(hash(tuple(request.tokens)) % 3 or END)
                if len(request.tokens) == request.max_length:
                    self.plan.remove(request)
                    del self.requests[request.id]

    def compute(self, row: Row) -> None:
        """Writes the row's tokens and looks at all that they see."""
        cache, lane, stop = self.plan.cache, row.request.lane, row.start + row.n_tokens
        expected = np.array(prefixes(row.request.tokens[:stop]))
        positions = np.arange(stop)
        pages, offsets = positions // PAGE_SIZE, positions % PAGE_SIZE
        new = slice(row.start, stop)
        for pool, table, content, first in (
            (cache.full, cache.full_table[lane], self.full, 0),
            (cache.sliding, cache.sliding_table[lane], self.sliding, max(0, row.start - WINDOW + 1)),
        ):
            at = table[pages]
            assert may_write(pool, at[new].tolist()), "nobody writes what others may read"
            content[at[new], offsets[new]] = expected[new]
            assert (content[at[first:], offsets[first:]] == expected[first:]).all()

    @invariant()
    def books(self) -> None:
        audit(self.plan.cache)

    def teardown(self) -> None:
        if not hasattr(self, "plan"):
            return
        for _ in range(3000):
            if not self.requests:
                break
            self.step()
        cache = self.plan.cache
        assert not self.requests and not self.plan.waiting and not self.plan.running, "all of them end"
        assert cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages
        assert not self.plan._computing
        audit(cache)


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
