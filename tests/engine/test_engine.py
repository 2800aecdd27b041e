"""What a request gets depends on its prompt and its parameters alone: not on its neighbours, chunks, pages or luck."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import psutil
import pytest
import torch

from harmonium.engine.batch import Inputs
from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams
from harmonium.engine.runner import Flight
from harmonium.errors import BadRequest, Busy, NotEnoughMemory, PromptTooLong
from harmonium.model.config import ModelConfig
from harmonium.model.transformer import Transformer
from tests.engine.conftest import Same, prompt
from tests.engine.tables import State, table

LENGTHS = (1, 15, 16, 17, 127, 128, 129, 300)
GREEDY = SamplingParams(temperature=0, max_tokens=24)
SETTINGS = (
    GREEDY,
    SamplingParams(seed=11, max_tokens=24),
    SamplingParams(temperature=0.7, top_p=0.9, seed=12, max_tokens=20),
    SamplingParams(temperature=1.5, top_k=20, min_p=0.02, seed=13, max_tokens=9),
)

Case = tuple[list[int], SamplingParams, tuple[int, ...]]
"""A prompt, its parameters, and what it gets alone."""


def whole(engine: Engine) -> bool:
    """All pages are back and nothing is left to do."""
    cache = engine.cache
    is_free = cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages
    return is_free and not engine.has_work


@pytest.fixture(scope="module")
def alone(model: Transformer) -> list[Case]:
    """Prompts of every length with every setting, and what each gets on an engine of its own."""
    engine = Engine(model, context=400, n_rows=1)
    cases = [(prompt(length), params) for length, params in zip(LENGTHS, itertools.cycle(SETTINGS), strict=False)]
    cases += [
        (prompt(length, 1), params) for length, params in zip(LENGTHS[::-1], itertools.cycle(SETTINGS), strict=False)
    ]
    return [(ids, params, engine.generate([ids], params)[0].ids) for ids, params in cases]


def compare(engine: Engine, alone: Sequence[Case], same: Same) -> None:
    answers = engine.generate([ids for ids, _, _ in alone], [params for _, params, _ in alone])
    for (ids, params, expected), answer in zip(alone, answers, strict=True):
        assert answer.finish_reason is FinishReason.LENGTH
        same(ids, params, expected, answer.ids)
    assert whole(engine)


def test_greedy_is_what_forward_says(model: Transformer, same: Same) -> None:
    engine = Engine(model, context=400, n_rows=4, token_budget=100)
    answers = engine.generate([prompt(length) for length in LENGTHS], GREEDY)
    for length, answer in zip(LENGTHS, answers, strict=True):
        ids = prompt(length)
        with torch.no_grad():
            logits = model.forward(torch.tensor([[*ids, *answer.ids]]))[0, length - 1 : -1]
        same(ids, GREEDY, answer.ids, logits.argmax(-1).tolist())


@pytest.mark.parametrize(("n_rows", "token_budget"), [(16, 512), (3, 512), (16, 16), (5, 37), (16, 10_000)])
def test_batched_and_chunked_are_alone_and_whole(
    model: Transformer,
    alone: list[Case],
    same: Same,
    n_rows: int,
    token_budget: int,
) -> None:
    compare(Engine(model, context=400, n_rows=n_rows, token_budget=token_budget), alone, same)


def test_preempted_is_not_preempted(model: Transformer, alone: list[Case], same: Same) -> None:
    engine = Engine(model, context=400, n_rows=8, token_budget=64)
    scarce = Engine(model, context=400, n_rows=8, token_budget=64, cache_bytes=bytes_for(model, engine, n_full=26))
    assert scarce.cache.full.n_pages == 26
    compare(scarce, alone, same)
    assert scarce.scheduler.n_preemptions > 0


def test_preemption_keeps_the_place_in_a_table(model: Transformer) -> None:
    cycle = table(500, [State(range(250), 1), State(range(250, 400), 2), State(range(400, 500), 0)])
    prompts, params = [prompt(60, seed) for seed in range(6)], SamplingParams(seed=3, max_tokens=90)
    ample = Engine(model, context=160, n_rows=6)
    scarce = Engine(model, context=160, n_rows=6, cache_bytes=bytes_for(model, ample, n_full=28))
    answers = scarce.generate(prompts, params, [TableConstraint(cycle) for _ in prompts])
    assert scarce.scheduler.n_preemptions > 0
    assert answers == ample.generate(prompts, params, [TableConstraint(cycle) for _ in prompts])
    ranges = (range(250), range(250, 400), range(400, 500))
    assert all(id_ in ranges[place % 3] for answer in answers for place, id_ in enumerate(answer.ids))


def bytes_for(model: Transformer, engine: Engine, n_full: int) -> int:
    """cache_bytes that leave n_full full pages; half of the layers are in either group."""
    config = model.config
    page = 2 * config.n_kv_heads * 16 * config.head_dim * 4 * config.n_layers // 2
    return page * (n_full + engine.cache.sliding.n_pages)


def test_sliding_layers_hold_their_window_and_no_more(model: Transformer) -> None:
    engine = Engine(model, context=1000, n_rows=1, token_budget=64)
    engine.add(prompt(600), SamplingParams(temperature=0, max_tokens=100))
    most, held = 0, []
    while engine.has_work:
        engine.step()
        held.append(engine.cache.n_held(0))
        most = max(most, engine.cache.sliding.n_pages - engine.cache.sliding.n_free)
    assert most <= 128 // 16 + 2 and max(full for full, _ in held) == -(-699 // 16)
    assert whole(engine)


def test_aborts_change_nothing_for_others(model: Transformer, alone: list[Case], same: Same) -> None:
    engine = Engine(model, context=400, n_rows=6, token_budget=48)
    ids = [engine.add(case[0], case[1]) for case in alone]
    doomed = {ids[i]: when for i, when in ((0, 0), (3, 2), (7, 9), (10, 15), (15, 20))}
    got: dict[int, list[int]] = {request_id: [] for request_id in ids}
    ends: dict[int, FinishReason] = {}
    for clock in itertools.count():
        for request_id in [request_id for request_id, when in doomed.items() if when == clock]:
            assert engine.abort(request_id) and not engine.abort(request_id)
        if not engine.has_work:
            break
        for output in engine.step():
            assert output.request_id not in ends, "nothing follows the end"
            got[output.request_id] += output.ids
            if output.finish_reason is not None:
                ends[output.request_id] = output.finish_reason
    assert whole(engine) and {i for i, reason in ends.items() if reason is FinishReason.ABORT} == set(doomed)
    for request_id, (ids_, params, expected) in zip(ids, alone, strict=True):
        if request_id not in doomed:
            same(ids_, params, expected, got[request_id])


def test_ends(model: Transformer) -> None:
    engine = Engine(model, context=64, n_rows=2)
    (free,) = engine.generate([prompt(40)], SamplingParams(temperature=0))
    assert free.finish_reason is FinishReason.LENGTH and len(free.ids) == 24, "up to the context's end"
    stop = free.ids[5]
    (stopped,) = engine.generate([prompt(40)], SamplingParams(temperature=0, stop_ids=(stop, 499)))
    assert stopped.finish_reason is FinishReason.STOP and stopped.ids == free.ids[: free.ids.index(stop) + 1]
    drawn = {engine.generate([[1]], SamplingParams(max_tokens=8))[0].ids for _ in range(4)}
    assert len(drawn) > 1, "without a seed every request draws anew"


def test_refusals_cost_nothing(model: Transformer) -> None:
    engine = Engine(model, context=64, n_rows=1, queue_limit=2)
    for ids, params, error, words in (
        ([], GREEDY, BadRequest, "prompt is empty"),
        ([500], GREEDY, BadRequest, "0 to 499"),
        ([-1], GREEDY, BadRequest, "0 to 499"),
        (None, GREEDY, BadRequest, "give a list of token ids"),
        (prompt(64), SamplingParams(), PromptTooLong, "64 tokens.*shorten the prompt[.]$"),
        (prompt(41), GREEDY, PromptTooLong, "may take 24.*max_tokens"),
    ):
        with pytest.raises(error, match=words):
            engine.add(ids, params)
        with pytest.raises(error, match=words):
            engine.generate([prompt(3), ids], params)
        assert whole(engine)
    engine.add(prompt(4), GREEDY)
    engine.add(prompt(4), GREEDY)
    with pytest.raises(Busy):
        engine.add(prompt(4), GREEDY)
    for request_id in range(2):
        engine.abort(request_id)
    assert [output.finish_reason for output in engine.step()] == [FinishReason.ABORT] * 2 and whole(engine)
    assert len(engine.generate([prompt(4)] * 5, GREEDY)) == 5, "more prompts than may wait"


def test_sizes(model: Transformer, small: ModelConfig) -> None:
    assert Engine(model).context == small.context == 131_072
    assert Engine(model, cache_bytes=2**24, n_rows=4).context < small.context
    with pytest.raises(NotEnoughMemory, match="raise cache_bytes"):
        Engine(model, context=131_072, cache_bytes=2**24, n_rows=4)
    with pytest.raises(BadRequest, match="2 to 131072"):
        Engine(model, context=200_000)
    for name, size in (("context", 1), ("context", 2.5), ("n_rows", "8"), ("token_budget", 0), ("cache_bytes", 1e9),
                       ("kept_tokens", -1), ("queue_limit", None)):  # fmt: skip
        with pytest.raises(BadRequest, match=f"{name} is {size!r}; give"):
            Engine(model, **{name: size})  # type: ignore[arg-type]


def test_a_cache_takes_memory_as_it_fills(model: Transformer) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    engine = Engine(model, cache_bytes=2**30)
    engine.generate([prompt(10)], GREEDY)
    assert process.memory_info().rss - before < 2**27


def test_a_fault_of_the_step_leaves_the_engine_usable(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model, context=64, n_rows=2)
    cycle = table(500, [State(range(250), 1), State(range(250, 400), 2), State(range(400, 500), 0)])
    constraint = TableConstraint(cycle)
    expected = engine.generate([prompt(5)], GREEDY, [constraint])
    run = engine._runner.run
    faults = iter([False, True, False, True])

    def faulty(inputs: Inputs) -> Flight:
        flight = run(inputs)
        if next(faults, False):
            raise KeyboardInterrupt
        return flight

    monkeypatch.setattr(engine._runner, "run", faulty)
    engine.add(prompt(5), GREEDY, constraint)
    ids: list[int] = []
    n_faults = 0
    while engine.has_work:
        try:
            ids += [token for output in engine.step() for token in output.ids]
        except KeyboardInterrupt:
            n_faults += 1
    assert n_faults == 2 and tuple(ids) == expected[0].ids and whole(engine)
