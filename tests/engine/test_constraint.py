"""Tables and matchers: what they forbid is never drawn, and the device steps tables as the host does."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine.batch import BatchBuilder
from harmonium.engine.constraint import UNLIMITED, Cursor, TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.following import BAD
from harmonium.engine.host_masking import HostMasking
from harmonium.engine.kv_cache import KvCache
from harmonium.engine.request import FinishReason, Generation, Request, SamplingParams
from harmonium.engine.sampler import Sampler
from harmonium.engine.scheduler import Row
from harmonium.engine.table_arena import IDLE_TABLES, TableArena
from harmonium.model.transformer import Transformer
from tests.engine.conftest import NEAR
from tests.engine.tables import Broken, Pairs, State, table, unpacked

VOCAB = 70
CPU = torch.device("cpu")
TEXT, END, OPEN, STOP, CUT = range(10, 60), 1, 2, 3, 4


@st.composite
def states(draw: st.DrawFn) -> list[State]:
    """Random automatons without dead ends, some states budgeted."""
    n = draw(st.integers(1, 6))
    ids, to = st.integers(0, VOCAB - 1), st.integers(0, n - 1)
    exits = {s: draw(to) for s in draw(st.sets(to))}
    drawn = []
    for s in range(n):
        text = draw(st.sets(ids, max_size=40))
        edges = draw(st.dictionaries(ids, to, min_size=0 if text else 1, max_size=5))
        leads = s in exits and exits[s] not in exits
        drawn.append(State(text, draw(to), edges, exit=exits[s] if leads else -1))
    return drawn


constraints = st.builds(
    lambda drawn, start, budget: TableConstraint(table(VOCAB, drawn), start % len(drawn), budget),
    states(),
    st.integers(0, 5),
    st.none() | st.integers(0, 6),
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.none() | constraints, min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.sampled_from(
        [SamplingParams(0), SamplingParams(1), SamplingParams(1, top_p=0.7), SamplingParams(2, min_p=0.05)]
    ),
)
def test_the_device_steps_tables_as_the_host_does(
    rows: list[TableConstraint | None], seed: int, params: SamplingParams
) -> None:
    """And where both are one, an id that is looked up behind the draw, or is drawn by a row's own operation, is the one
    that a mask before it gives."""
    arena, n = TableArena(VOCAB, CPU), len(rows)
    sampler, cache = Sampler(VOCAB, n, arena, CPU), KvCache(n, 64, 16, 4 * n, 4 * n)
    builder, on_host = (BatchBuilder(cache, arena, VOCAB, CPU, is_host) for is_host in (False, True))
    by_row = BatchBuilder(cache, arena, VOCAB, CPU, True, draws=sampler.can_draw(True))
    requests = [Request(i, [0], params, seed + i, 64, None if c is None else Cursor(c)) for i, c in enumerate(rows)]
    for lane, request in enumerate(requests):
        request.lane = lane
        cache.extend(lane, 20)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(12):
        scheduled = [Row(r, len(r.tokens) - 1, 1, is_sampled=True) for r in requests]
        step, host_step, row_step = (one.build(scheduled) for one in (builder, on_host, by_row))
        assert bool(row_step.row_draws) == (params in (SamplingParams(0), SamplingParams(1)))
        logits = torch.randn(n, VOCAB, generator=generator)
        odd = torch.rand(n, VOCAB, generator=generator)
        masking, randomness = host_step.masking, host_step.randomness
        assert isinstance(masking, HostMasking | None)
        for value in (0.0, torch.nan, torch.inf):
            free = logits.masked_fill(odd < 0.02, value)
            masked = free if masking is None else free.masked_fill(masking.forbidden(), -torch.inf)
            wanted = sampler.sample(masked.clone(), randomness, None)
            assert torch.equal(sampler.sample(free.clone(), randomness, masking), wanted)
            if row_step.row_draws:
                drawn = torch.tensor(sampler.draw_rows(free, row_step.row_draws))
                assert torch.equal(drawn == BAD, wanted == BAD)
                scores = masked if randomness is None else sampler._scores(masked.clone(), randomness)
                here, there = (scores.gather(1, ids.clamp(min=0).unsqueeze(1)) for ids in (drawn, wanted))
                assert ((here - there).abs() < NEAR)[wanted != BAD].all(), "another id only where two score alike"
        chosen = sampler.sample(logits.clone(), step.randomness, step.masking).tolist()
        for row, (request, token) in enumerate(zip(requests, chosen, strict=True)):
            request.tokens.append(token)
            if request.cursor is None:
                assert token >= 0
                continue
            allowed = unpacked(request.cursor.mask())
            assert token in allowed
            forbidden = np.ones(VOCAB, np.bool_)
            request.cursor.forbid(forbidden)
            assert set(np.flatnonzero(~forbidden).tolist()) == allowed
            if not params.temperature:
                assert token == max(allowed, key=lambda id_: float(logits[row, id_]))
            request.cursor.advance(token)
            state, spent = sampler.places[row].tolist()
            assert state == arena.base(request.cursor.table) + request.cursor.state
            assert request.cursor.budget == UNLIMITED or spent == request.cursor.spent


def test_a_budget_closes_a_body() -> None:
    # 0: body of text until END; its exit 1 allows END alone; 2 opens it again; 3 is over
    automaton = table(
        VOCAB,
        [State(TEXT, None, {END: 2}, exit=1), State(edges={END: 3}), State(edges={OPEN: 0}), State(edges={STOP: 3})],
    )
    for budget, legal in ((3, [TEXT, TEXT, TEXT, {END}]), (0, [{END}]), (None, [TEXT] * 20)):
        cursor = Cursor(TableConstraint(automaton, budget=budget))
        for ids in legal:
            assert unpacked(cursor.mask()) - {END} == set(ids) - {END}
            cursor.advance(min(ids))
    cursor = Cursor(TableConstraint(automaton, budget=2))
    for token in (10, END, OPEN, 11):  # the budget is one for all visits
        cursor.advance(token)
    assert unpacked(cursor.mask()) == {END}
    cursor.advance(END)
    assert unpacked(cursor.mask()) == {STOP}


def test_tables_come_and_go_in_the_arena() -> None:
    arena = TableArena(VOCAB, CPU)
    held = table(VOCAB, [State(TEXT, None, {END: 1}), State(edges={STOP: 0})])
    arena.acquire(held)
    others = [table(VOCAB, [State({number % VOCAB}), State(TEXT)]) for number in range(5 * IDLE_TABLES)]
    for other in others:
        arena.tidy()
        arena.acquire(other)
        rows = arena.look(torch.tensor([arena.base(other)]))
        allowed = arena.mask(torch.zeros(1, VOCAB), rows).isfinite()
        assert set(allowed[0].nonzero().flatten().tolist()) == unpacked(other.masks[0].view(np.int32))
        arena.release(other)
    assert arena.generation > 0 and arena.n_states < 2 * len(others)
    base = arena.base(held)
    after, _ = arena.step(arena.look(torch.tensor([base])), torch.tensor([0]), None, torch.tensor([END]))
    assert after.tolist() == [base + 1]


@pytest.mark.parametrize("fails_at", range(1, 6))
def test_a_table_that_finds_no_memory_is_brought_later(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    constraint = TableConstraint(table(500, [State(range(250), edges={250: 1}), State(range(200, 480), 0)]))
    prompts, params = [[7, n] * 20 for n in range(3)], SamplingParams(seed=3, max_tokens=20)
    expected = [one.ids for one in Engine(model, context=80).generate(prompts, params, [constraint] * 3)]
    engine, calls, whole = Engine(model, context=80, masks_on_host=False), itertools.count(1), TableArena._with

    def failing(arena: TableArena, *rest: object) -> object:
        if next(calls) == fails_at:
            raise torch.OutOfMemoryError("none is left")
        return whole(arena, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(TableArena, "_with", failing)
    for _ in range(2):
        answers = engine.generate(prompts, params, [constraint] * 3)
        assert [one.ids for one in answers] == expected and not any(one.error for one in answers)


@pytest.mark.parametrize("fails_at", [2, 4, 7])
def test_a_rebuild_that_finds_no_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    arena, whole, calls = TableArena(VOCAB, CPU), TableArena._with, itertools.count(1)
    held = [table(VOCAB, [State({n}), State(TEXT)]) for n in range(3)]
    for one in [*(table(VOCAB, [State({n})]) for n in range(2 * IDLE_TABLES)), *held]:
        arena.acquire(one)
        if one not in held:
            arena.release(one)
    bases, before = [arena.base(one) for one in held], [arena.states.clone(), arena.edges.clone(), arena.masks.clone()]

    def failing(arena: TableArena, *rest: object) -> object:
        if next(calls) == fails_at:
            raise torch.OutOfMemoryError("none is left")
        return whole(arena, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(TableArena, "_with", failing)
        arena.tidy()
    assert next(calls) == fails_at + 1 and arena.generation == 0
    assert [arena.base(one) for one in held] == bases
    assert all(map(torch.equal, [arena.states, arena.edges, arena.masks], before))
    while not arena.is_crowded:
        one = table(VOCAB, [State({5})])
        arena.acquire(one)
        arena.release(one)
    arena.tidy()
    assert arena.generation == 1 and not arena.is_crowded
    for one in held:
        allowed = arena.mask(torch.zeros(1, VOCAB), arena.look(torch.tensor([arena.base(one)]))).isfinite()
        assert set(allowed[0].nonzero().flatten().tolist()) == unpacked(one.masks[0].view(np.int32))


@pytest.mark.parametrize("forced", [-1, 10**9, 2.5, True])
def test_what_is_forced_and_no_id_ends_its_request_alone(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, forced: object
) -> None:
    matcher = Pairs(500, range(0, 400, 2), 50)
    monkeypatch.setattr(matcher, "forced", lambda: [forced] if len(matcher.ids) == 2 else [])
    engine, params = Engine(model, context=80), SamplingParams(seed=1, max_tokens=15)
    expected = engine.generate([[7, 8, 9]], params)[0].ids
    good, bad = engine.generate([[7, 8, 9], [1] * 14], params, [None, body(lambda: matcher, 500, [499])])
    assert good.ids == expected and bad.finish_reason is FinishReason.ERROR
    assert list(bad.ids) == matcher.ids and "no id of the vocabulary" in str(bad.error)


def test_an_error_that_cannot_be_told_ends_its_request_alone(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Speechless(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    def accept(token: int) -> None:
        raise Speechless

    matcher = Pairs(500, range(0, 400, 2), 50)
    monkeypatch.setattr(matcher, "accept", accept)
    engine, params = Engine(model, context=80), SamplingParams(seed=1, max_tokens=15)
    expected = engine.generate([[7, 8, 9]], params)[0].ids
    good, bad = engine.generate([[7, 8, 9], [1] * 14], params, [None, body(lambda: matcher, 500, [499])])
    assert good.ids == expected and "Speechless" in str(bad.error)


@pytest.fixture(params=[True, False], ids=["masks on the host", "masks on the device"])
def engine(model: Transformer, request: pytest.FixtureRequest) -> Callable[[], Engine]:
    return lambda: Engine(model, context=256, n_rows=8, token_budget=64, masks_on_host=request.param)


def test_tables_of_ended_requests_leave_the_arena(model: Transformer) -> None:
    serving = Engine(model, context=64, n_rows=2, masks_on_host=False)
    for number in range(3 * IDLE_TABLES):
        one = table(model.config.vocab_size, [State({number}, 1), State({number + 1}, 0)])
        (answer,) = serving.generate([[1]], SamplingParams(max_tokens=3), [TableConstraint(one)])
        assert answer.ids == (number, number + 1, number)
    assert serving.arena.n_states <= 2 * (IDLE_TABLES + 3)


def call(vocab_size: int, matcher: Pairs, budget: int = 20, *, is_body_budgeted: bool = False) -> TableConstraint:
    """Some text, OPEN, the matcher's body, END (CUT where the budget ends it), some text, STOP."""
    states = [
        State(range(10, 20), None, {OPEN: 1}, exit=-1 if is_body_budgeted else 3),
        State(edges={END: 2}, matcher=0, exit=5 if is_body_budgeted else -1),
        State(TEXT, None, {STOP: 2}, exit=4),
        State(edges={OPEN: 1}),
        State(edges={STOP: 4}),
        State(edges={CUT: 2}),
    ]
    return TableConstraint(table(vocab_size, states), budget=budget, matchers=(lambda: matcher,))


def test_a_watch_uses_up_the_budget(model: Transformer, engine: Callable[[], Engine]) -> None:
    """It is shown what is charged and nothing else, and the next id after its word is the exit's."""
    states = [State(TEXT, None, {STOP: 2}, exit=1), State(edges={CUT: 2}), State(range(60, 70), None, {})]
    automaton = table(model.config.vocab_size, states)
    for n, budget in ((1, None), (4, None), (4, 9), (4, 2)):
        seen = list[int]()

        def watch(token: int, seen: list[int] = seen, n: int = n) -> bool:
            seen.append(token)
            return len(seen) == n

        constraint = TableConstraint(automaton, budget=budget, watch=watch)
        params = [SamplingParams(seed=seed, max_tokens=12) for seed in (5, 6)]
        watched, other = engine().generate([[1], [2]], params, [constraint, TableConstraint(automaton)])
        n_text = min(n, budget or n)
        assert set(watched.ids[:n_text]) <= set(TEXT) and watched.ids[n_text] == CUT
        assert set(watched.ids[n_text + 1 :]) <= set(range(60, 70)) and len(watched.ids) == 12
        assert seen == list(watched.ids[: min(n_text, (budget or 99) - 1)])
        assert CUT not in other.ids


@pytest.mark.parametrize("is_forcing", [False, True])
def test_from_the_table_to_a_matcher_and_back(
    model: Transformer, engine: Callable[[], Engine], is_forcing: bool
) -> None:
    vocab_size = model.config.vocab_size
    for seed in range(8):
        matcher = Pairs(vocab_size, range(100, 400, 2), 5, is_forcing=is_forcing)
        params = SamplingParams(temperature=0 if seed == 0 else 1, seed=seed, stop_ids=(STOP,))
        (answer,) = engine().generate([[5, 6]], params, [call(vocab_size, matcher)])
        ids = list(answer.ids)
        assert answer.finish_reason is FinishReason.STOP and ids[-1] == STOP
        opened, ended = ids.index(OPEN), ids.index(END)
        inside = ids[opened + 1 : ended]
        assert inside == matcher.ids and 2 <= len(inside) <= 10
        assert all(a % 2 == 0 and b == a + 1 for a, b in zip(inside[::2], inside[1::2], strict=True))
        assert set(ids[:opened]) | set(ids[ended + 1 : -1]) <= set(TEXT)
        assert opened + len(ids) - 2 - ended <= 20


@pytest.mark.parametrize("is_body_budgeted", [False, True])
def test_forced_ids_change_no_id(model: Transformer, engine: Callable[[], Engine], is_body_budgeted: bool) -> None:
    """Pairs forces only what it would allow alone, so that jumping ahead is the same as sampling."""
    vocab_size, first = model.config.vocab_size, range(100, 400, 2)

    def answers(is_forcing: bool) -> list[Generation]:
        matchers = [Pairs(vocab_size, first, 40, is_forcing=is_forcing) for _ in range(8)]
        return engine().generate(
            [[seed, 7] for seed in range(8)],
            [SamplingParams(seed=seed, stop_ids=(STOP,)) for seed in range(8)],
            [call(vocab_size, matcher, 9, is_body_budgeted=is_body_budgeted) for matcher in matchers],
        )

    plain = answers(is_forcing=False)
    assert plain == answers(is_forcing=True)
    assert all(answer.finish_reason is FinishReason.STOP for answer in plain)
    assert sum(CUT in answer.ids for answer in plain) == (8 if is_body_budgeted else 0)


def test_ids_without_a_choice_take_no_step_of_their_own(model: Transformer) -> None:
    """Where masks are the host's; budgets and watches see them as they see others, and no id changes."""
    chain = [State(range(10, 20), None, {OPEN: 1}, exit=3), State(edges={30: 2}, exit=3), State(edges={31: 0}, exit=3)]
    automaton = table(model.config.vocab_size, [*chain, State(edges={CUT: 4}), State(edges={END: 5}), State(TEXT)])
    found, steps = [], []
    for masks_on_host in (True, False):
        for budget, wants_logprobs in ((None, False), (6, False), (6, True)):
            seen = list[int]()
            watched = TableConstraint(automaton, budget=budget, watch=lambda id_, seen=seen: bool(seen.append(id_)))
            serving = Engine(model, context=64, n_rows=4, masks_on_host=masks_on_host)
            params = SamplingParams(seed=3, max_tokens=30, logprobs=0 if wants_logprobs else None)
            numbers = [serving.add([n], params, watched if n == 1 else TableConstraint(automaton)) for n in (1, 2)]
            ids: dict[int, list[int]] = {number: [] for number in numbers}
            n_steps = 0
            while serving.has_work:
                n_steps += 1
                for output in serving.step():
                    ids[output.request_id] += output.ids
            found.append((budget, [*ids.values()], seen))
            steps.append(n_steps)
    assert found[:3] == found[3:]
    assert found[1] == found[2] and CUT in found[1][1][0] and OPEN in found[0][1][0]
    assert max(steps[:2]) < min(steps[2:]) == max(steps[2:]) == 30


def test_a_matcher_without_a_table(model: Transformer, engine: Callable[[], Engine]) -> None:
    vocab_size = model.config.vocab_size
    params = SamplingParams(seed=1, stop_ids=(STOP, END))
    matcher = Pairs(vocab_size, (100, 102), 3)
    (answer,) = engine().generate([[5]], params, [body(lambda: matcher, vocab_size, params.stop_ids)])
    assert answer.ids[:-1] == tuple(matcher.ids) and answer.ids[-1] in params.stop_ids
    (cut,) = engine().generate(
        [[5]],
        SamplingParams(seed=1, max_tokens=3, stop_ids=(STOP,)),
        [body(lambda: Pairs(vocab_size, (100,), 3, is_forcing=True), vocab_size, (STOP,))],
    )
    assert cut.ids == (100, 101, 100) and cut.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(("method", "after"), [("mask", 0), ("mask", 1), ("can_end", 2), ("accept", 3), ("forced", 2)])
def test_a_matcher_that_raises_ends_its_request_alone(
    model: Transformer, engine: Callable[[], Engine], method: str, after: int
) -> None:
    vocab_size = model.config.vocab_size
    params = SamplingParams(seed=1, max_tokens=12)
    prompts = [[number, 9] for number in range(3)]
    serving = engine()
    alone = serving.generate(prompts, params)
    broken = Broken(vocab_size, range(100, 200, 2), method=method, after=after)
    mixed = serving.generate(prompts, params, [None, body(lambda: broken, vocab_size, (STOP,)), None])
    assert mixed[::2] == alone[::2]
    assert mixed[1].finish_reason is FinishReason.ERROR and "out of order" in (mixed[1].error or "")
    assert serving.cache.full.n_free == serving.cache.full.n_pages


def test_a_dead_end_is_an_error(model: Transformer, engine: Callable[[], Engine]) -> None:
    dead = TableConstraint(table(model.config.vocab_size, [State(edges={20: 1}), State()]))
    first, other = engine().generate([[1], [2]], SamplingParams(seed=1, max_tokens=4), [dead, None])
    assert first.ids == (20,) and first.finish_reason is FinishReason.ERROR
    assert len(other.ids) == 4 and BAD not in other.ids
