"""What goes wrong ends the request that it belongs to; the others get what they would have got without it."""

from __future__ import annotations

import functools
import itertools
import signal
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams, StepOutput
from harmonium.errors import BadRequest, Busy
from harmonium.model.config import ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.tables import State, table

PARAMS = SamplingParams(seed=5, max_tokens=20)
DOOMED = 499
PROMPTS = [[7, n] * 20 + [n] for n in range(1, 6)]


def serve(engine: Engine) -> dict[int, list[StepOutput]]:
    """All outputs until nothing is left to do, with a look at the books after every step."""
    outputs: dict[int, list[StepOutput]] = {}
    while engine.has_work:
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
        audit(engine.cache)
    cache = engine.cache
    assert cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages
    return outputs


def ids_of(outputs: list[StepOutput]) -> tuple[int, ...]:
    return tuple(token for output in outputs for token in output.ids)


def with_fault(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, is_hit: Callable[[Tensor], bool], error: Exception
) -> None:
    """The forward step raises where is_hit says so of its ids."""
    step: Callable[..., Tensor] = engine._runner.model.step

    def failing(ids: Tensor, *rest: object) -> Tensor:
        if is_hit(ids):
            raise error
        return step(ids, *rest)

    monkeypatch.setattr(engine._runner.model, "step", failing)


@pytest.mark.parametrize("place", [0, 20, 40])
def test_a_failing_kernel_ends_the_request_that_it_fails_for(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    expected = Engine(model, context=80).generate(PROMPTS, PARAMS)
    engine = Engine(model, context=80, token_budget=40)
    with_fault(monkeypatch, engine, lambda ids: bool((ids == DOOMED).any()), RuntimeError("no such kernel"))
    ids = [engine.add(prompt, PARAMS) for prompt in PROMPTS[:3]]
    doomed = engine.add([*PROMPTS[2][:place], DOOMED, *PROMPTS[2][place + 1 :]], PARAMS)
    ids += [engine.add(prompt, PARAMS) for prompt in PROMPTS[3:]]
    outputs = serve(engine)
    assert [ids_of(outputs[request_id]) for request_id in ids] == [answer.ids for answer in expected]
    [end] = outputs[doomed]
    assert end.finish_reason is FinishReason.ERROR and "no such kernel" in str(end.error) and not end.ids
    assert [answer.ids for answer in engine.generate(PROMPTS, PARAMS)] == [answer.ids for answer in expected]


def test_memory_that_is_too_small_for_all_is_used_one_by_one(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Engine(model, context=80).generate(PROMPTS, PARAMS)
    engine = Engine(model, context=80)
    with_fault(monkeypatch, engine, lambda ids: len(ids) > 41, torch.OutOfMemoryError("out of memory"))
    ids = [engine.add(prompt, PARAMS) for prompt in PROMPTS]
    doomed = engine.add([3] * 60, PARAMS)
    outputs = serve(engine)
    assert [ids_of(outputs[request_id]) for request_id in ids] == [answer.ids for answer in expected]
    assert [o.finish_reason for o in outputs[doomed]] == [FinishReason.ERROR]


@pytest.fixture
def poisoned(small: ModelConfig) -> Transformer:
    """A model that one id breaks, with everything that comes after it."""
    model = Transformer.load(Dummy(small), dtype=torch.float32)
    model.weights.embedding[DOOMED] = torch.nan
    return model


def test_logits_that_are_no_numbers_end_their_request_and_leave_no_trace(
    model: Transformer, poisoned: Transformer
) -> None:
    expected = Engine(model, context=80).generate(PROMPTS, PARAMS)
    engine = Engine(poisoned, context=80, n_rows=4, cache_bytes=bytes_for(poisoned, n_rows=4, token_budget=40))
    ids = [engine.add(prompt, PARAMS) for prompt in PROMPTS[:2]]
    doomed = [engine.add([DOOMED] * 50, PARAMS), engine.add([*PROMPTS[4][:20], DOOMED, *[1] * 20], PARAMS)]
    ids += [engine.add(prompt, PARAMS) for prompt in PROMPTS[2:]]
    outputs = serve(engine)
    assert [ids_of(outputs[request_id]) for request_id in ids] == [answer.ids for answer in expected]
    assert all([o.finish_reason for o in outputs[i]] == [FinishReason.ERROR] for i in doomed)
    again = engine.generate([[DOOMED] * 50, *PROMPTS], PARAMS)
    assert again[0].n_cached == 0, "nobody uses what it computed"
    assert [answer.ids for answer in again[1:]] == [answer.ids for answer in expected]
    audit(engine.cache)


@pytest.mark.parametrize("overlap", [False, True])
def test_who_took_over_pages_that_are_no_numbers_is_computed_anew(model: Transformer, overlap: bool) -> None:
    """An id that breaks the model can break keys before it, in pages that others take over before that is seen."""
    prompts = [PROMPTS[0], [*PROMPTS[0][:36], 9], PROMPTS[1]]
    expected = [Engine(model, context=80).generate([prompt], PARAMS)[0].ids for prompt in prompts]
    engine = Engine(model, context=80, overlap=overlap)
    assert engine.generate(prompts[:1], PARAMS)[0].ids == expected[0]
    pages = [engine.cache.full.find(name) for name in list(engine.cache.full._page_of)[:2]]
    for layer, keys in enumerate(engine._runner.cache.k):
        if not model.config.is_sliding(layer):
            keys[pages] = torch.nan
    answers = engine.generate(prompts, PARAMS)
    assert [answer.ids for answer in answers] == expected and answers[1].error is None
    assert [answer.n_cached for answer in answers] == [0, 0, 0]
    assert [answer.n_cached for answer in engine.generate(prompts, PARAMS)] == [32, 32, 32], "it is right now"
    audit(engine.cache)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_constraint_that_allows_nothing_takes_nobodys_pages(model: Transformer, overlap: bool) -> None:
    prompts = [PROMPTS[0], [*PROMPTS[0][:36], 9]]
    dead_end = TableConstraint(table(500, [State(edges={3: 1}), State()]))
    engine = Engine(model, context=80, overlap=overlap, masks_on_host=False)
    expected = engine.generate(prompts, PARAMS)
    again = engine.generate([prompts[0], *prompts], PARAMS, [dead_end, None, None])
    assert again[0].finish_reason is FinishReason.ERROR and again[0].ids == (3,)
    assert "constraint allows no id" in str(again[0].error)
    assert [answer.ids for answer in again[1:]] == [answer.ids for answer in expected]
    assert [answer.n_cached for answer in (*again, *engine.generate(prompts, PARAMS))] == [32] * 5
    audit(engine.cache)


NUMBERS = {
    "temperature": (np.float16(0.5), Fraction(1, 2), 1, True),
    "min_p": (Fraction(1, 8), np.float16(0.125)),
    "top_p": (Fraction(7, 8), np.float64(0.5)),
    "top_k": (np.uint8(5), np.int64(5)),
    "seed": (np.int64(2**63 - 1), np.uint64(2**64 - 1), 2**70),
    "max_tokens": (np.uint8(9),),
    "logprobs": (np.int8(3),),
    "stop_ids": (np.arange(3), [np.uint16(7)]),
    "frequency_penalty": (Fraction(1, 2),),
    "logit_bias": (((np.uint16(5), Fraction(3, 2)),),),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, each in NUMBERS.items() for value in each])
def test_any_kind_of_number_is_what_it_says(model: Transformer, name: str, value: Any) -> None:
    plain: Any = {"logit_bias": ((5, 1.5),), "stop_ids": tuple(map(int, value)) if name == "stop_ids" else ()}.get(name)
    if plain is None:
        plain = int(value) if name in ("top_k", "seed", "max_tokens", "logprobs") else float(value)
    given, asked = (SamplingParams(**{"seed": 2, "max_tokens": 4, name: one}) for one in (value, plain))
    assert given == asked and repr(given) == repr(asked)
    engine = Engine(model, context=80)
    found = [engine.add_several(PROMPTS[0], params, np.uint8(2), priority=np.uint8(1)) for params in (given, asked)]  # type: ignore[arg-type]
    outputs = serve(engine)
    first, second = ([ids_of(outputs[i]) for i in ids] for ids in found)
    assert first == second and all(outputs[i][-1].error is None for ids in found for i in ids)


def test_times_of_any_kind(model: Transformer) -> None:
    engine = Engine(model, context=80)
    endless = [engine.add(PROMPTS[0], PARAMS, timeout_s=at) for at in (10**400, Fraction(10**9), float("inf"))]
    over = [engine.add(PROMPTS[0], PARAMS, timeout_s=at) for at in (-(10**400), np.float16(-1))]  # type: ignore[arg-type]
    outputs = serve(engine)
    assert all(outputs[i][-1].finish_reason is FinishReason.LENGTH for i in endless)
    assert all("time" in str(outputs[i][-1].error) for i in over)


PLACES = ("cache.extend", "cache.share", "scheduler.complete", "scheduler.remove", "_runner.run", "_builder.build")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("overlap", [False, True])
def test_an_interrupt_finds_the_books_right(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, place: str, overlap: bool
) -> None:
    expected = Engine(model, context=80).generate(PROMPTS, PARAMS)
    engine = Engine(model, context=80, n_rows=3, token_budget=30, overlap=overlap)
    *path, name = place.split(".")
    owner = functools.reduce(getattr, path, engine)
    act, calls = getattr(owner, name), itertools.count(1)
    due = {3, 8, 13}

    def interrupted(*arguments: object, **named: object) -> object:
        if next(calls) in due:
            signal.raise_signal(signal.SIGINT)
        return act(*arguments, **named)

    monkeypatch.setattr(owner, name, interrupted)
    got: dict[int, list[int]] = {engine.add(prompt, PARAMS): [] for prompt in PROMPTS}
    n_interrupts = 0
    while engine.has_work:
        try:
            for output in engine.step():
                assert output.error is None
                got[output.request_id] += output.ids
        except KeyboardInterrupt:
            n_interrupts += 1
            audit(engine.cache)
    assert [tuple(ids) for ids in got.values()] == [answer.ids for answer in expected]
    assert n_interrupts and engine.cache.full.n_free == engine.cache.full.n_pages
    due.clear()
    due.add(next(calls) + 1)
    with pytest.raises(KeyboardInterrupt):
        engine.generate(PROMPTS, PARAMS)
    assert not engine.has_work and engine.cache.full.n_free == engine.cache.full.n_pages
    assert [answer.ids for answer in engine.generate(PROMPTS, PARAMS)] == [answer.ids for answer in expected]


def bytes_for(model: Transformer, n_rows: int, token_budget: int) -> int:
    """Few pages, so that those of ended requests are written again."""
    one = model.new_cache(1, 1)
    page = sum(k.nbytes + v.nbytes for k, v in zip(one.k, one.v, strict=True)) // 2
    return page * (16 + n_rows * 10 + token_budget)


def test_time_that_is_over_ends_a_request_wherever_it_is(model: Transformer) -> None:
    engine = Engine(model, context=80, n_rows=2)
    expected = engine.generate(PROMPTS[:1], PARAMS)
    long = SamplingParams(seed=1, max_tokens=39)
    kept = engine.add(PROMPTS[0], PARAMS, timeout_s=60)
    running, waiting = engine.add(PROMPTS[1], long, timeout_s=0.02), engine.add(PROMPTS[2], long, timeout_s=0.0)
    outputs = {output.request_id: [output] for output in engine.step()}
    assert outputs[waiting][0].finish_reason is FinishReason.ERROR and outputs[running][0].ids
    time.sleep(0.03)
    for request_id, more in serve(engine).items():
        outputs[request_id] += more
    assert ids_of(outputs[kept]) == expected[0].ids and outputs[kept][-1].finish_reason is FinishReason.LENGTH
    assert outputs[running][-1].finish_reason is FinishReason.ERROR and "time" in str(outputs[running][-1].error)
    assert not engine.step() and not engine._deadlines


def test_several_are_taken_together_or_not_at_all(model: Transformer) -> None:
    engine = Engine(model, context=80, n_rows=1, queue_limit=4)
    engine.add(PROMPTS[0], PARAMS)
    with pytest.raises(Busy):
        engine.add_several(PROMPTS[1], PARAMS, 4)
    assert len(engine.scheduler.waiting) == 1
    with pytest.raises(BadRequest, match="n is 5, and 4 requests may wait"):
        engine.add_several(PROMPTS[1], PARAMS, 5)
    engine.add_several(PROMPTS[1], PARAMS, 3)
    for n in (0, 1.5, float("nan")):
        with pytest.raises(BadRequest, match=f"n is {n}"):
            engine.add_several(PROMPTS[1], PARAMS, n)  # type: ignore[arg-type]
    for wish in ({"priority": float("nan")}, {"priority": 0.5}, {"timeout_s": float("nan")}, {"timeout_s": "1"}):
        with pytest.raises(BadRequest, match=r"give (a whole number|seconds)"):
            engine.add(PROMPTS[0], PARAMS, **wish)  # type: ignore[arg-type]
    for prompt in ([1.5] * 20, ["a"], [None]):
        with pytest.raises(BadRequest, match="whole numbers"):
            engine.add(prompt, PARAMS)  # type: ignore[arg-type]
    for bias in ({5: 2.0}, (("5", 2.0),), ((5, "x"),), ((5.7, 2.0),)):
        with pytest.raises(BadRequest, match="pairs of a token id and a number"):
            SamplingParams(logit_bias=bias)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="queue_limit is 0"):
        Engine(model, context=80, queue_limit=0)
    with pytest.raises(BadRequest, match="logprobs is True; give a whole number"):
        SamplingParams(logprobs=True)
    assert len(serve(engine)) == 4
