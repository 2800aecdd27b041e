"""A step is prepared while the one before it runs, and decoding steps are replayed: what comes out stays the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harmonium.engine import runner
from harmonium.engine.batch import Inputs
from harmonium.engine.constraint import TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams, StepOutput, TokenLogprob
from harmonium.engine.transfer import Transfer
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.conftest import prompt
from tests.engine.tables import Pairs, State, table

VOCAB = 500
DRAWN = SamplingParams(seed=7, max_tokens=24)
CYCLE = table(VOCAB, [State(range(250), 1), State(range(250, 400), 2, {450: 0}), State(range(400, 500), 0)])
BUDGETED = table(VOCAB, [State(range(10, 300), None, {1: 2}, exit=1), State(edges={1: 2}), State(range(300, 500))])
TO_MATCHER = table(VOCAB, [State(range(20), 1), State(after=1, edges={5: 0}, matcher=0)])
WISHES: dict[str, tuple[SamplingParams, TableConstraint | None]] = {
    "drawn": (DRAWN, None),
    "greedy": (SamplingParams(temperature=0, max_tokens=17), None),
    "stops": (replace(DRAWN, stop_ids=tuple(range(40, 80))), None),
    "one": (replace(DRAWN, max_tokens=1), None),
    "filtered": (replace(DRAWN, top_k=20, top_p=0.8, min_p=0.01), None),
    "penalized": (replace(DRAWN, presence_penalty=2.0, repetition_penalty=1.3), None),
    "biased": (replace(DRAWN, logit_bias=((3, 4.0), (9, -50.0))), None),
    "reported": (replace(DRAWN, logprobs=3), None),
    "cycle": (DRAWN, TableConstraint(CYCLE)),
    "budget": (DRAWN, TableConstraint(BUDGETED, budget=9)),
    "watched": (DRAWN, TableConstraint(BUDGETED, budget=20, watch=lambda id_: id_ % 7 == 0)),
    "matched": (DRAWN, body(lambda: Pairs(VOCAB, range(100), 8, is_forcing=True), VOCAB, [499])),
    "matched later": (DRAWN, TableConstraint(TO_MATCHER, matchers=(lambda: Pairs(VOCAB, range(100), 2),))),
}


def served(engine: Engine, arrivals: list[tuple[str, int, int]]) -> list[list[StepOutput]]:
    """Outputs of requests: what it wishes, its prompt's length, and how many steps come before the next."""
    outputs: dict[int, list[StepOutput]] = {}
    for wish, length, n_steps in arrivals:
        params, constraint = WISHES[wish]
        outputs[engine.add(prompt(length), params, constraint)] = []
        for _ in range(n_steps):
            for output in engine.step():
                outputs[output.request_id].append(output)
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    audit(engine.cache)
    return list(outputs.values())


def joined(outputs: list[StepOutput]) -> tuple[object, ...]:
    ids = [id_ for output in outputs for id_ in output.ids]
    return ids, [one.id for one in told(outputs)], outputs[-1].finish_reason, str(outputs[-1].error)


def told(outputs: list[StepOutput]) -> list[TokenLogprob]:
    return [one for output in outputs for one in output.logprobs]


class Replays:
    """What a graph does, without one: the first computation of a key again, at the addresses that it has seen."""

    def __init__(self) -> None:
        self.keys: dict[Hashable, Callable[[], Tensor]] = {}
        self.n_replayed = self.n_forgotten = 0

    def __call__(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        if key not in self.keys:
            result = compute()
            self.keys[key] = compute
            return result
        self.n_replayed += 1
        return self.keys[key]()

    def forget(self) -> None:
        self.n_forgotten += len(self.keys)
        self.keys.clear()


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Replays]:
    return with_replays(monkeypatch)


def with_replays(monkeypatch: pytest.MonkeyPatch) -> list[Replays]:
    """Those of each engine that is made."""
    made: list[Replays] = []
    monkeypatch.setattr(runner, "Graphs", lambda: made.append(Replays()) or made[-1])
    monkeypatch.setattr(Transfer, "__call__", Transfer.packed)
    return made


arrivals = st.lists(
    st.tuples(st.sampled_from(sorted(WISHES)), st.sampled_from([1, 15, 16, 40, 128, 200]), st.integers(0, 6)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=15, deadline=None)
@given(arrivals, st.integers(2, 5), st.integers(5, 60))
def test_overlapped_steps_give_what_others_do(
    model: Transformer, arriving: list[tuple[str, int, int]], n_rows: int, token_budget: int
) -> None:
    sizes = {"context": 256, "n_rows": n_rows, "token_budget": token_budget}
    expected, found = (served(Engine(model, overlap=overlap, **sizes), arriving) for overlap in (False, True))
    with pytest.MonkeyPatch.context() as monkeypatch:
        with_replays(monkeypatch)
        replayed = served(Engine(model, overlap=True, graphs=True, **sizes), arriving)
    for one, *others in zip(expected, found, replayed, strict=True):
        for other in others:
            assert joined(one) == joined(other)
            chances = ([said.logprob for said in told(outputs)] for outputs in (one, other))
            assert next(chances) == pytest.approx(next(chances), abs=1e-4)


def test_masks_on_the_host_see_every_id(model: Transformer) -> None:
    arriving = [("cycle", 9, 0), ("budget", 20, 1)]
    expected = [joined(one) for one in served(Engine(model, context=256), arriving)]
    engine = Engine(model, context=256, overlap=True, masks_on_host=True)
    assert [joined(one) for one in served(engine, arriving)] == expected


def test_a_watch_that_has_fired_holds_nobody_up(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model, context=256, overlap=True)
    monkeypatch.setattr(engine.scheduler, "withdraw", pytest.fail)  # as a step that cannot be begun would be
    served(engine, [("watched", 9, 0), ("drawn", 12, 0), ("cycle", 15, 0)])


def test_graphs_give_what_steps_do(model: Transformer, replays: list[Replays]) -> None:
    arriving = [(wish, 20 + 30 * (number % 5), number % 3) for number, wish in enumerate([*WISHES, *WISHES])]
    expected = [joined(one) for one in served(Engine(model, context=256, n_rows=11), arriving)]
    for overlap in (False, True):
        engine = Engine(model, context=256, n_rows=11, overlap=overlap, masks_on_host=False, graphs=True)
        assert [joined(one) for one in served(engine, arriving)] == expected
        sizes = {key[0] for key in replays[-1].keys}  # type: ignore[index]
        assert replays[-1].n_replayed > len(sizes) and max(sizes) >= 10 and 9 not in sizes


def test_a_graph_lasts_while_an_answer_grows(model: Transformer, replays: list[Replays]) -> None:
    """Pages come every 16 ids, graphs only where a table's width has doubled."""
    engine = Engine(model, context=256, overlap=True, graphs=True)
    engine.generate([prompt(30)], replace(DRAWN, max_tokens=200))
    assert len(replays[-1].keys) <= 2


def test_graphs_of_tables_that_have_moved_are_let_go(model: Transformer, replays: list[Replays]) -> None:
    large = table(VOCAB, [State(range(i % 9, 500), (i + 1) % 2000) for i in range(2000)])
    asked = [(DRAWN, TableConstraint(CYCLE)), (DRAWN, TableConstraint(large)), (DRAWN, None)]
    expected, found = list[object](), list[object]()
    for graphs, ids in ((False, expected), (True, found)):
        engine = Engine(model, context=256, overlap=True, graphs=graphs)
        for params, constraint in asked:
            ids += [one.ids for one in engine.generate([prompt(9)] * 2, params, [constraint] * 2)]
    assert found == expected
    assert replays[-1].n_forgotten and len(replays[-1].keys) <= 2, "of the newest tables alone"


def test_an_idle_engine_holds_no_request(model: Transformer) -> None:
    engine = Engine(model, context=256, overlap=True)
    [alone] = engine.generate([prompt(30)], DRAWN)
    engine.generate([prompt(30)], replace(DRAWN, stop_ids=(alone.ids[5],)))  # with a step behind its end
    assert engine._launched is not None and not engine._launched[0]
    assert engine.generate([prompt(30)], DRAWN)[0].ids == alone.ids


def test_the_next_step_is_on_its_way_before_this_one_is_waited_for(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(model, context=256, overlap=True)
    events: list[str] = []
    run, wait = engine._runner.run, runner.Flight.wait

    def running(inputs: Inputs) -> runner.Flight:
        events.append("begin")
        return run(inputs)

    def waiting(flight: runner.Flight) -> runner.Sampled:
        events.append("end")
        return wait(flight)

    monkeypatch.setattr(engine._runner, "run", running)
    monkeypatch.setattr(runner.Flight, "wait", waiting)
    for wish in ("drawn", "cycle", "budget"):
        events.clear()
        engine.add(prompt(9), *WISHES[wish])
        n_ids = 0
        while engine.has_work:
            n_ids += sum(len(output.ids) for output in engine.step())
        assert n_ids == 24 and events == ["begin", *["begin", "end"] * 23, "end"]
    events.clear()
    engine.add(prompt(9), *WISHES["penalized"])
    while engine.has_work:
        engine.step()
    assert events == ["begin", "end"] * 24, "its ids have to be counted first"


def test_when_pages_run_out_the_step_that_runs_is_waited_for(model: Transformer) -> None:
    one = model.new_cache(1, 1)
    page = sum(k.nbytes + v.nbytes for k, v in zip(one.k, one.v, strict=True)) // 2
    arriving = [("drawn", length, 0) for length in (200, 180, 160, 140)]
    expected = [joined(outputs) for outputs in served(Engine(model, context=256), arriving)]
    engine = Engine(model, context=256, n_rows=4, token_budget=64, cache_bytes=page * 68, overlap=True)
    assert [joined(outputs) for outputs in served(engine, arriving)] == expected
    assert engine.scheduler.n_preemptions > 0


def test_a_request_that_ends_has_a_row_for_nothing_and_leaves_nothing(model: Transformer) -> None:
    engine = Engine(model, context=256, n_rows=2, overlap=True)
    [alone] = engine.generate([prompt(30)], DRAWN)
    stops = replace(DRAWN, stop_ids=(alone.ids[5],))
    engine.add(prompt(30), stops)
    aborted = engine.add(prompt(50), DRAWN)
    outputs: list[StepOutput] = []
    while not any(output.finish_reason is FinishReason.STOP for output in outputs):
        outputs += engine.step()
    engine.abort(aborted)
    again = engine.add(prompt(30), DRAWN)  # in a lane for which the device still computes a row of another
    while engine.has_work:
        outputs += engine.step()
    found = [id_ for output in outputs if output.request_id == again for id_ in output.ids]
    assert tuple(found) == alone.ids
    audit(engine.cache)
