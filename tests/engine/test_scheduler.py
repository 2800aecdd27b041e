"""Who runs next, without a model: the next id of every row is made up."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.scheduler import Scheduler
from harmonium.errors import Busy

CONTEXT = 160


def scheduler(n_lanes: int = 4, token_budget: int = 32, n_full: int = 100, n_sliding: int = 100) -> Scheduler:
    return Scheduler(KvCache(n_lanes, CONTEXT, 32, n_full, n_sliding), n_lanes, token_budget, queue_limit=20)


def request(number: int, n_prompt: int, n_more: int) -> Request:
    return Request(number, [1] * n_prompt, SamplingParams(), seed=0, max_length=n_prompt + n_more)


def step(scheduler: Scheduler) -> tuple[dict[int, int], list[Request]]:
    """Runs one step; returns how many tokens of each request were computed, and the requests that ended."""
    rows, ended = scheduler.schedule(), []
    for row in rows:
        scheduler.complete(row)
        if row.is_sampled:
            row.request.tokens.append(1)
            if len(row.request.tokens) == row.request.max_length:
                scheduler.remove(row.request)
                ended.append(row.request)
    return {row.request.id: row.n_tokens for row in rows}, ended


def test_no_torch() -> None:
    code = "import sys, harmonium.engine.scheduler, harmonium.engine.constraint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=60, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 100), st.integers(1, 60)), max_size=12),
    aborts=st.dictionaries(st.integers(0, 60), st.integers(0, 11), max_size=4),
    n_full=st.integers(pages_for(CONTEXT), 30),
    n_sliding=st.integers(4, 20),
    token_budget=st.integers(4, 60),
)
def test_all_end_and_nothing_is_lost(
    arrivals: list[tuple[int, int, int]], aborts: dict[int, int], n_full: int, n_sliding: int, token_budget: int
) -> None:
    plan = scheduler(4, token_budget, n_full, n_sliding)
    arriving = sorted(arrivals, key=lambda arrival: arrival[0])
    alive: dict[int, Request] = {}
    clock = 0
    while arriving or alive:
        while arriving and arriving[0][0] <= clock:
            new = request(len(arrivals) - len(arriving), *arriving.pop(0)[1:])
            alive[new.id] = new
            plan.add(new)
        if (target := alive.pop(aborts.get(clock, -1), None)) is not None:
            plan.remove(target)
        oldest = min(alive.values(), key=lambda other: other.id, default=None)
        known = 0 if oldest is None else oldest.n_computed
        computed, ended = step(plan)
        assert sum(computed.values()) <= token_budget
        assert oldest is None or oldest.n_computed > known, "the oldest request always advances"
        assert [other.id for other in plan.running] == sorted(other.id for other in plan.running)
        for other in ended:
            del alive[other.id]
        clock += 1
        assert clock < 3000
    assert not plan.running and not plan.waiting
    assert plan.cache.full.n_free == n_full and plan.cache.sliding.n_free == n_sliding


def test_a_long_prompt_holds_up_no_decoding() -> None:
    plan = scheduler()
    for number in range(3):
        plan.add(request(number, 2, 50))
    step(plan)
    plan.add(request(3, 100, 5))
    for _ in range(3):
        computed, _ = step(plan)
        assert computed == {0: 1, 1: 1, 2: 1, 3: 29}
    assert step(plan)[0] == {0: 1, 1: 1, 2: 1, 3: 13}


def test_a_long_prompt_holds_up_no_shorter_one() -> None:
    plan = scheduler()
    plan.add(request(0, 150, 5))
    assert step(plan)[0] == {0: 32}
    for number in range(1, 4):
        plan.add(request(number, 6, 50))
    assert step(plan)[0] == {0: 18, 1: 6, 2: 5, 3: 3}
    assert step(plan)[0] == {0: 27, 1: 1, 2: 1, 3: 3}
    assert step(plan)[0] == {0: 29, 1: 1, 2: 1, 3: 1}


def test_requests_are_admitted_in_order_and_only_with_pages_for_their_prompt() -> None:
    plan = scheduler(n_full=12)
    plan.add(request(0, 150, 5))
    plan.add(request(1, 40, 5))
    plan.add(request(2, 1, 5))
    step(plan)
    assert [other.id for other in plan.running] == [0] and [other.id for other in plan.waiting] == [1, 2]
    while plan.running:
        step(plan)
    step(plan)
    step(plan)
    assert [other.id for other in plan.running] == [1, 2] and plan.n_preemptions == 0


def test_when_pages_run_out_the_youngest_waits() -> None:
    plan = scheduler(n_full=12)
    for number in range(3):
        plan.add(request(number, 60, 60))
    ends: list[int] = []
    while plan.running or plan.waiting:
        ends += [other.id for other in step(plan)[1]]
    assert ends == [0, 1, 2] and plan.n_preemptions > 0


def test_a_full_queue_refuses() -> None:
    plan = scheduler()
    for number in range(20):
        plan.add(request(number, 2, 2))
    with pytest.raises(Busy, match="20 requests are waiting"):
        plan.add(request(20, 2, 2))
    step(plan)
    plan.add(request(20, 2, 2))
