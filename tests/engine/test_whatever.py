"""Whatever comes, goes, fails and is put off, a request gets what it gets alone, and the books are right throughout."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from harmonium.engine.batch import Inputs
from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.request import FinishReason, Request, SamplingParams
from harmonium.engine.runner import Flight, Sampled
from harmonium.engine.scheduler import Row
from harmonium.engine.sizes import PageCounts
from harmonium.engine.speculative import Worth
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit, may_write
from tests.engine.conftest import Same, prompt
from tests.engine.tables import State, table

CONTEXT = 320
PARAMS = (
    SamplingParams(temperature=0, max_tokens=20),
    SamplingParams(seed=1, max_tokens=20),
    SamplingParams(seed=2, max_tokens=12, temperature=0.8, top_p=0.9),
    SamplingParams(seed=3, max_tokens=25, presence_penalty=0.5, repetition_penalty=1.1),
    SamplingParams(seed=4, max_tokens=20),
)
CYCLE = table(500, [State(range(250), 1), State(range(250, 400), 2, {450: 0}), State(range(400, 500), 0)])
CONSTRAINTS = (None, None, None, None, TableConstraint(CYCLE))  # of those with these params
INSIDE = (
    *("_builder._seat", "_builder._wishes.seat", "_builder._transfer", "arena.acquire", "_runner.sampler.sample"),
    *("_runner.sampler.note", "_runner.model.step"),
)
LENGTHS = (1, 15, 16, 17, 40, 111, 112, 113, 127, 128, 129, 144, 200, 256)
Key = tuple[int, int, int]


@dataclass
class Alone:
    """What each request gets on an engine of its own, with nothing in the cache: computed once."""

    model: Transformer
    same: Same
    known: dict[Key, tuple[int, ...]] = field(default_factory=dict)

    def prompt(self, key: Key) -> list[int]:
        """Many prompts begin alike: two stems, cut at edges, and an end of their own."""
        length, own, params = key
        stem = prompt(256, params % 2)
        return [*stem[:length], *prompt(own % 30, own)]

    def ids(self, key: Key) -> tuple[int, ...]:
        if key not in self.known:
            engine = Engine(self.model, context=CONTEXT, n_rows=1)
            self.known[key] = engine.generate([self.prompt(key)], PARAMS[key[2]], [CONSTRAINTS[key[2]]])[0].ids
        return self.known[key]


def checked(engine: Engine) -> None:
    """From now on every step's new keys and values go where nobody else reads."""
    run = engine._runner.run

    def checking(inputs: Inputs) -> Flight:
        for pool, group in ((engine.cache.full, inputs.batch.full), (engine.cache.sliding, inputs.batch.sliding)):
            assert len(set(group.slots.tolist())) == len(group.slots), "each token has a place of its own"
            assert may_write(pool, (group.slots // PAGE_SIZE).tolist())
        return run(inputs)

    engine._runner.run = checking  # type: ignore[method-assign]


class Lost(Flight):
    """A step whose ids never come."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def wait(self) -> Sampled:
        raise RuntimeError("far too late")


class Guesses:
    """Some right, some wrong, and now and then a failure."""

    def __init__(self, alone: Alone, keys: dict[int, Key]) -> None:
        self.alone, self.keys, self.draw = alone, keys, random.Random(0)

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        if self.draw.random() < 0.005:
            raise ValueError("nothing comes to mind")
        return [self._propose(request, n) for request, n in wanted]

    def _propose(self, request: Request, n: int) -> list[int]:
        said = len(request.tokens) - request.n_prompt
        ids = self.alone.ids(self.keys[request.id])[said:][: self.draw.randrange(n + 1)]
        return [self.draw.randrange(500) if self.draw.random() < 0.15 else id_ for id_ in ids]

    def forget(self, request_id: int) -> None:
        pass


class Whatever(RuleBasedStateMachine):
    """alone is set by the test."""

    alone: Alone
    alive: Bundle[int] = Bundle("alive")

    @initialize(
        n_rows=st.integers(1, 6),
        token_budget=st.integers(6, 200),
        n_full=st.integers(CONTEXT // PAGE_SIZE, 60),
        kept_tokens=st.none() | st.integers(0, 400),
        way=st.sampled_from(["plain", "speculates", "overlaps"]),
    )
    def begin(self, n_rows: int, token_budget: int, n_full: int, kept_tokens: int | None, way: str) -> None:
        model = self.alone.model
        self.keys: dict[int, Key] = {}
        one = model.new_cache(1, 1)
        page = sum(k.nbytes + v.nbytes for k, v in zip(one.k, one.v, strict=True)) // 2
        n_sliding = PageCounts.needed(model.config, CONTEXT, n_rows, max(n_rows, token_budget)).sliding
        self.engine = Engine(
            model,
            context=CONTEXT,
            n_rows=n_rows,
            token_budget=token_budget,
            kept_tokens=kept_tokens,
            cache_bytes=page * (n_full + n_sliding),
            drafter=Guesses(self.alone, self.keys) if way == "speculates" else None,
            overlap=way == "overlaps",
        )
        if self.engine.speculation is not None:  # whatever it costs
            self.engine.speculation.costs.least_chance = lambda n_rows: 0.01  # type: ignore[method-assign]
            self.engine.speculation._worth_of = lambda n_rows: Worth()  # type: ignore[method-assign]
        checked(self.engine)
        self.got: dict[int, list[int]] = {}

    @rule(
        target=alive,
        length=st.sampled_from(LENGTHS),
        own=st.integers(0, 31),
        params=st.integers(0, len(PARAMS) - 1),
        priority=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def add(self, length: int, own: int, params: int, priority: int) -> int:
        key = (length, own, params)
        request_id = self.engine.add(self.alone.prompt(key), PARAMS[params], CONSTRAINTS[params], priority=priority)
        self.keys[request_id], self.got[request_id] = key, []
        return request_id

    @rule(request_id=consumes(alive))
    def abort(self, request_id: int) -> None:
        self.engine.abort(request_id)

    @rule(n=st.integers(1, 6))
    def run(self, n: int) -> None:
        for _ in range(n):
            self.step()

    @rule(place=st.sampled_from(["begin", "end", "device"]))
    def fail(self, place: str) -> None:
        """The next step fails at its begin, at its end or on the device, and not when it is tried again row by row."""
        runner, step = self.engine._runner, self.engine._runner.run
        n_calls = itertools.count()

        def failing(inputs: Inputs) -> Flight:
            is_first = next(n_calls) == 0 and len(inputs.batch.lengths) > 1
            if is_first and place == "begin":
                raise RuntimeError("too early")
            flight = step(inputs)
            if is_first and place == "end":
                raise torch.OutOfMemoryError("too late")
            return Lost() if is_first else flight

        runner.run = failing  # type: ignore[method-assign]
        self.step()
        runner.run = step  # type: ignore[method-assign]

    @rule(place=st.sampled_from(INSIDE), is_late=st.booleans())
    def fail_inside(self, place: str, is_late: bool) -> None:
        """The next step fails before or behind something that it does, which has been done then."""
        builder, build, has_failed = self.engine._builder, self.engine._builder.build, False
        *path, name = place.split(".")
        owner = functools.reduce(getattr, path, self.engine)
        act, is_due = getattr(owner, name), False

        def building(rows: list[Row]) -> Inputs:
            nonlocal is_due
            is_due = len(rows) > 1 and not has_failed
            return build(rows)

        def failing(*arguments: object) -> object:
            nonlocal is_due, has_failed
            fails, is_due = is_due, False
            has_failed = has_failed or fails
            if fails and not is_late:
                raise RuntimeError("not begun")
            done = act(*arguments)
            if fails:
                raise torch.OutOfMemoryError("not noted")
            return done

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(builder, "build", building)
            patched.setattr(owner, name, failing)
            self.step()

    def step(self) -> None:
        for output in self.engine.step():
            self.got[output.request_id] += output.ids
            if output.finish_reason is None:
                continue
            key, ids = self.keys.pop(output.request_id), self.got.pop(output.request_id)
            is_whole = output.finish_reason is FinishReason.LENGTH
            assert is_whole or output.finish_reason is FinishReason.ABORT, output.error
            expected = self.alone.ids(key) if is_whole else self.alone.ids(key)[: len(ids)]
            self.alone.same(self.alone.prompt(key), PARAMS[key[2]], expected, ids)

    @invariant()
    def books(self) -> None:
        if hasattr(self, "engine"):
            audit(self.engine.cache)
            for request in self.engine.scheduler.running:
                n_full, _ = self.engine.cache.n_held(request.lane)
                assert n_full == pages_for(request.n_computed), "nothing is held for drafts that fell"

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        while self.engine.has_work:
            self.step()
        cache = self.engine.cache
        assert not self.keys, "each of them ended"
        assert cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages


@pytest.fixture
def machine(model: Transformer, same: Same) -> Iterator[type[Whatever]]:
    yield type("Machine", (Whatever,), {"alone": Alone(model, same)})


def test_whatever_comes_and_goes(machine: type[Whatever]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))


@pytest.mark.deep
def test_whatever_comes_and_goes_for_long(machine: type[Whatever]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=300, stateful_step_count=40, deadline=None))
