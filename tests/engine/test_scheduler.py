"""Who runs next, without a model: the next id of every row is made up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harmonium.engine.kv_cache import KvCache
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.scheduler import Scheduler
from harmonium.errors import BadRequest, Busy

CONTEXT = 160


def scheduler(n_lanes: int = 4, token_budget: int = 32, n_full: int = 100, n_sliding: int = 100) -> Scheduler:
    return Scheduler(KvCache(n_lanes, CONTEXT, 32, n_full, n_sliding), n_lanes, token_budget, queue_limit=20)


def request(number: int, n_prompt: int, n_more: int, *, priority: int = 0, of: int | None = None) -> Request:
    """A prompt of one token, by default one that no other request has."""
    prompt = [number if of is None else of] * n_prompt
    return Request(number, prompt, SamplingParams(), seed=0, max_length=n_prompt + n_more, priority=priority)


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


def test_who_lacked_sliding_pages_is_looked_at_when_some_come_back() -> None:
    plan = scheduler(n_sliding=3)
    plan.add(request(0, 32, 100))
    step(plan), step(plan)
    plan.add(request(1, 16, 5))
    computed = [step(plan)[0] for _ in range(15)]
    assert computed[0] == {0: 1} and computed[-1] == {0: 1, 1: 16}, "once the window has left a page"
    assert not plan.cache.full.n_given


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
    assert ends(plan) == [0, 1, 2] and plan.n_preemptions > 0


def ends(plan: Scheduler) -> list[int]:
    """The requests in the order in which they end."""
    numbers: list[int] = []
    while plan.running or plan.waiting:
        numbers += [other.id for other in step(plan)[1]]
    return numbers


def test_a_preempted_request_computes_only_what_is_lost() -> None:
    plan = scheduler(n_full=12)
    for number in range(2):
        plan.add(request(number, 60, 40))
    while not plan.n_preemptions:
        step(plan)
    assert plan.waiting[0].id == 1 and plan.waiting[0].n_computed == 0
    while not any(other.id == 1 for other in plan.running):
        step(plan)
    assert plan.running[-1].n_computed > 60, "its pages were still there"


def test_higher_priority_goes_first() -> None:
    plan = scheduler(n_lanes=1)
    for number, priority in enumerate((0, -1, 2, 0, 2)):
        plan.add(request(number, 5, 3, priority=priority))
    assert [other.id for other in plan.waiting] == [2, 4, 0, 3, 1] and ends(plan) == [2, 4, 0, 3, 1]


@pytest.mark.parametrize(("n_lanes", "n_full"), [(2, 100), (4, 12)])
def test_higher_priority_takes_the_place_of_lower(n_lanes: int, n_full: int) -> None:
    plan = scheduler(n_lanes=n_lanes, n_full=n_full)
    for number in range(2):
        plan.add(request(number, 64, 20))
    for _ in range(5):
        step(plan)
    plan.add(request(2, 100, 3, priority=0))
    step(plan)
    assert [other.id for other in plan.running] == [0, 1], "among equals nobody yields"
    plan.add(request(3, 100, 3, priority=1))
    step(plan)
    assert plan.running[0].id == 3 and next(other.id for other in plan.waiting) in (0, 1)
    assert sorted(ends(plan)) == [0, 1, 2, 3]


@pytest.mark.parametrize("of", [1, 0])
def test_nobody_gives_way_where_that_would_not_do(of: int) -> None:
    """Also where the pages of who could give way are another's, too."""
    plan = scheduler(n_full=12)
    plan.add(request(0, 60, 60, priority=1))
    step(plan), step(plan)
    plan.add(request(1, 60, 20, of=of))
    while len(plan.running) < 2 or plan.running[-1].n_pending > 1:
        step(plan)
    plan.add(request(2, 135, 5, priority=1))
    for _ in range(3):
        step(plan)
    assert plan.n_preemptions == 0 and [other.id for other in plan.running] == [0, 1] and plan.waiting[0].id == 2
    assert sorted(ends(plan)) == [0, 1, 2]


def test_who_needs_what_another_computes_waits_and_lets_others_pass() -> None:
    plan = scheduler(n_lanes=8, token_budget=32)
    for number in range(4):
        plan.add(request(number, 100, 5, of=7))
    plan.add(request(4, 3, 50))
    n_computed = dict.fromkeys(range(5), 0)
    while any(other.lane < 0 for other in plan.waiting):
        for number, n in step(plan)[0].items():
            n_computed[number] += n
        assert 4 not in {other.id for other in plan.waiting}
    assert [other.n_cached for other in plan.running] == [0, 96, 96, 96, 0] and not plan.waiting
    assert n_computed[0] >= 100 and max(n_computed[number] for number in (1, 2, 3)) <= 4
    full = plan.cache.full.n_pages - plan.cache.full.n_free
    assert full == 6 + 4 + 1, "six pages that all share, and one that is each one's own"
    assert ends(plan) == [0, 1, 2, 3, 4]


def test_nobody_waits_for_one_who_is_gone() -> None:
    plan = scheduler(n_lanes=8, token_budget=32)
    first = request(0, 150, 5, of=7)
    plan.add(first)
    plan.add(request(1, 150, 5, of=7))
    step(plan)
    step(plan)
    assert [other.id for other in plan.waiting] == [1]
    plan.remove(first)
    step(plan)
    assert plan.running[0].n_cached == 64, "what was computed is there"


def test_more_than_ever_may_wait_is_a_mistake() -> None:
    plan = scheduler()
    plan.check_room(20)
    with pytest.raises(BadRequest, match="n is 21, and 20 requests may wait at once; ask for fewer"):
        plan.check_room(21)


def test_a_full_queue_refuses() -> None:
    plan = scheduler()
    for number in range(20):
        plan.add(request(number, 2, 2))
    with pytest.raises(Busy, match="20 requests are waiting, and 20 may"):
        plan.add(request(20, 2, 2))
    step(plan)
    plan.add(request(20, 2, 2))
