"""Ctrl-C at any moment: what was in doubt is computed again, and the engine goes on as if nothing had been."""

from __future__ import annotations

import functools
import itertools
import signal

import pytest

from harmonium.engine.engine import Engine
from harmonium.engine.interrupts import Interrupts
from harmonium.engine.request import SamplingParams
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit

PARAMS = SamplingParams(seed=5, max_tokens=20)
PENALIZED = SamplingParams(seed=3, max_tokens=12, presence_penalty=0.5, repetition_penalty=1.1)
PROMPT = [7, 1] * 20


@pytest.mark.parametrize("place", ["_runner.sampler.note", "_runner.model.step", "_builder._wishes.seat"])
@pytest.mark.parametrize("overlap", [False, True])
def test_an_interrupt_behind_what_the_device_has_noted_changes_no_id(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, place: str, overlap: bool
) -> None:
    expected = [Engine(model, context=80).generate([PROMPT], params)[0].ids for params in (PARAMS, PENALIZED)]
    engine = Engine(model, context=80, overlap=overlap)
    *path, name = place.split(".")
    owner = functools.reduce(getattr, path, engine)
    act, calls, n_interrupts = getattr(owner, name), itertools.count(1), 0

    def interrupted(*arguments: object) -> object:
        done = act(*arguments)
        if next(calls) in {2, 5, 9}:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(owner, name, interrupted)
    got: dict[int, list[int]] = {engine.add(PROMPT, params): [] for params in (PARAMS, PENALIZED)}
    while engine.has_work:
        try:
            for output in engine.step():
                got[output.request_id] += output.ids
        except KeyboardInterrupt:
            n_interrupts += 1
            audit(engine.cache)
    assert n_interrupts and [tuple(ids) for ids in got.values()] == expected
    turn = [*PROMPT, *expected[0][:10], 9]
    warm = engine.generate([turn], PARAMS)[0]
    assert warm.n_cached and warm.ids == Engine(model, context=80).generate([turn], PARAMS)[0].ids


def test_who_is_interrupted_before_knowing_a_request_leaves_none(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(model, context=80)
    other = engine.add(PROMPT, PARAMS)
    add = engine.scheduler.add

    def interrupted(*arguments: object) -> None:
        add(*arguments)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(engine.scheduler, "add", interrupted)
        engine.add_several(PROMPT, PARAMS, 3)
    assert list(engine._requests) == [other] and len(engine.scheduler.waiting) == 1
    while engine.has_work:
        assert all(output.request_id == other for output in engine.step())
    assert engine.add(PROMPT, PARAMS) > other


def test_an_interrupt_on_the_way_in_leaves_the_next_ones_held(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts, install = Interrupts(), signal.signal

    def interrupted(number: int, handler: object) -> object:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return install(number, handler)  # type: ignore[arg-type]

    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt), interrupts.held():
        pytest.fail("it was not begun")
    done = False
    with pytest.raises(KeyboardInterrupt), interrupts.held():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler
