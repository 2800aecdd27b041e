"""What an n-gram guesses, and how long drafts have to be to earn what they cost."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from harmonium.engine.interrupts import Interrupts
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.speculative import MOST, Costs, NgramDrafter, Speculation, Worth


def asked(tokens: Sequence[int], n: int) -> list[int]:
    return NgramDrafter().propose([(Request(0, list(tokens), SamplingParams(), 0, 99), n)])[0]


def test_what_an_ngram_guesses() -> None:
    assert asked([1, 2, 3, 4, 5, 9, 2, 3], 3) == [4, 5, 9]
    assert asked([7, 1, 2, 5, 8, 1, 2, 6, 7, 1, 2], 2) == [5, 8], "three ids count before two, and then the latest"
    assert asked([1, 2, 5, 8, 1, 2, 6, 9, 1, 2], 1) == [6]
    assert asked([4, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1], "a round goes on"
    assert asked([1, 2, 3, 4], 3) == asked([1], 3) == asked([1, 2], 3) == []
    draw, drafter = random.Random(0), NgramDrafter()
    growing = Request(1, [draw.randrange(3) for _ in range(5)], SamplingParams(), 0, 999)
    for _ in range(300):
        assert drafter.propose([(growing, 4)])[0] == asked(growing.tokens, 4), "bit by bit as at once"
        growing.tokens += [draw.randrange(3) for _ in range(draw.randrange(1, 4))]


def line(costs: Costs, base: float, per_token: float) -> None:
    for n_tokens in [1, 2, 3, 8] * 50:
        costs.observe(n_tokens, base + per_token * n_tokens)


def test_what_a_draft_must_promise() -> None:
    costs = Costs()
    line(costs, base=3.0, per_token=1.0)
    for n_rows in (1, 4, 16):
        assert costs.least_chance(n_rows) == pytest.approx(n_rows / (3 + n_rows), rel=0.02)
    costs.observe_drafter(1, 8.0)  # a drafter that takes a second a draft, after its first time
    assert costs.least_chance(1) == pytest.approx(0.5, rel=0.02)
    line(costs, base=1.0, per_token=1e-9)
    costs.drafter_s = 0
    assert costs.least_chance(1) < 0.1
    for _ in range(20):
        costs.observe(1, 100.0)
    assert costs.least_chance(1) < 0.5, "what held a step up is no cost of drafts"


def with_drafts(worth: Worth, n: int, seconds: float) -> int:
    """Of n steps, how many have drafts: those take `seconds` and bring two ids, the others one second and one."""
    n_drafted = 0
    for _ in range(n):
        has_drafts = worth.allows()
        worth.observe(seconds if has_drafts else 1.0, 1 + has_drafts, has_drafts=has_drafts)
        n_drafted += has_drafts
    return n_drafted


def test_drafts_that_bring_less_than_they_took_are_left_out() -> None:
    assert with_drafts(Worth(), 320, 1.9) == 310, "one step in 32 is for comparison"
    worth = Worth()
    assert with_drafts(worth, 1000, 2.2) < 100
    assert with_drafts(worth, 4000, 2.2) < 60, "tried again more and more seldom"
    assert with_drafts(worth, 4000, 1.5) > 2500, "and again and again, once they are worth it"


def served(stands: Callable[[int], bool], n: int = 600) -> list[int]:
    """Lengths of the drafts of steps, where draft number i of a request stands if `stands` says so."""
    speculation = Speculation(NgramDrafter(), 500, Interrupts())
    speculation._worth_of = lambda n_rows: Worth()  # type: ignore[method-assign]
    line(speculation.costs, base=3.0, per_token=1.0)
    request = Request(0, [1, 2] * 10, SamplingParams(), 0, 10**6)
    request.n_computed = len(request.tokens) - 1
    lengths, number = [], 0
    for _ in range(n):
        speculation.draft([request])
        lengths.append(len(request.drafts))
        n_stood = 0
        while n_stood < len(request.drafts) and stands(number + n_stood):
            n_stood += 1
        number += n_stood + 1
        if request.drafts:
            speculation.learn(request, len(request.drafts), n_stood)
    return lengths


def test_drafts_are_as_long_as_they_earn() -> None:
    draw = random.Random(0)
    assert served(lambda i: True)[50:] == [MOST] * 550
    never = served(lambda i: False)
    assert 0 < sum(never[:20]) < 12 and 0 < sum(never[100:]) < 10, "tried again now and then"
    sometimes = served(lambda i: draw.random() < 0.6)
    assert 1 < sum(sometimes) / 600 < 4
    late = served(lambda i: i > 300)
    assert sum(late[:200]) < 20 and late[-1] == MOST
