"""Guessed ids change how many ids a step brings, and no id: right guesses, wrong ones, and none at all."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonium.chat.llm import LLM
from harmonium.chat.loading import load
from harmonium.engine.constraint import Cursor, Place, TableConstraint
from harmonium.engine.draft_model import ModelDrafter
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, Request, SamplingParams
from harmonium.engine.speculative import MOST, NgramDrafter, Worth
from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation
from harmonium.harmony.messages import Role
from harmonium.harmony.render import render
from harmonium.model.config import PAGE_SIZE
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.conftest import Same, prompt
from tests.engine.tables import Pairs, State, table

LENGTHS = (1, 15, 16, 17, 100, 121, 127, 128, 129, 150)
STOP, OPEN, END, CUT = 3, 4, 5, 6
PARAMS = {
    "greedy": SamplingParams(temperature=0, max_tokens=40),
    "seeded": SamplingParams(seed=4, max_tokens=40),
    "filtered": SamplingParams(seed=5, temperature=0.7, top_p=0.8, top_k=50, min_p=0.01, max_tokens=40),
    "biased": SamplingParams(seed=6, logit_bias=((7, 6.0), (8, -3.0)), max_tokens=40),
    "penalized": SamplingParams(seed=7, frequency_penalty=0.5, max_tokens=40),
    "stopped": SamplingParams(seed=8, max_tokens=40, stop_ids=tuple(range(0, 500, 12))),
}


@dataclass
class Clairvoyant:
    """Guesses the answers that it has been told, but for one id in `wrong_every`."""

    wrong_every: int
    answers: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        return [self._propose(request, n) for request, n in wanted]

    def _propose(self, request: Request, n: int) -> list[int]:
        said = len(request.tokens) - request.n_prompt
        ids = self.answers.get(tuple(request.tokens[: request.n_prompt]), ())[said : said + n]
        return [499 - id_ if self.draw.randrange(self.wrong_every) == 0 else id_ for id_ in ids]

    def forget(self, request_id: int) -> None:
        pass


def eager(engine: Engine) -> Engine:
    """Whatever it costs, it speculates."""
    assert engine.speculation is not None
    engine.speculation.costs.least_chance = lambda n_rows: 0.001  # type: ignore[method-assign]
    engine.speculation._worth_of = lambda n_rows: Worth()  # type: ignore[method-assign]
    return engine


def n_steps(engine: Engine, count: Callable[[], object]) -> int:
    steps, step = [0], engine.step

    def counting() -> object:
        steps[0] += 1
        return step()

    engine.step = counting  # type: ignore[method-assign, assignment]
    count()
    engine.step = step  # type: ignore[method-assign]
    return steps[0]


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("wrong_every", [10**9, 4])
def test_on_is_off(model: Transformer, same: Same, name: str, wrong_every: int) -> None:
    """In batches, in chunks, out of the cache and with preemption; answers cross page and window edges."""
    params = PARAMS[name]
    prompts = [prompt(length) for length in LENGTHS]
    expected = Engine(model, context=256).generate(prompts, params)
    drafter = Clairvoyant(wrong_every)
    drafter.answers = {tuple(ids): one.ids for ids, one in zip(prompts, expected, strict=True)}
    together = eager(Engine(model, context=256, n_rows=16, drafter=drafter))
    chunked = eager(Engine(model, context=256, n_rows=5, token_budget=37, drafter=drafter))
    scarce = eager(Engine(model, context=256, n_rows=8, kept_tokens=100, drafter=drafter))
    scarce.cache.full._free = scarce.cache.full._free[-17:]  # as if there were no more
    for engine in (together, together, chunked, scarce):
        for ids, one, answer in zip(prompts, expected, engine.generate(prompts, params), strict=True):
            assert answer.finish_reason is one.finish_reason
            same(ids, params, one.ids, answer.ids)
        if engine is not scarce:
            audit(engine.cache)
    assert scarce.scheduler.n_preemptions > 0
    speculation = together.speculation
    assert speculation is not None
    if params.is_penalized:
        assert speculation.n_drafted == 0
    elif wrong_every > 4:
        assert speculation.n_stood >= 0.9 * speculation.n_drafted > 100
    else:
        assert 30 < speculation.n_stood < speculation.n_drafted


def test_good_guesses_save_steps(model: Transformer) -> None:
    params = SamplingParams(seed=1, max_tokens=80, logprobs=3)
    plain = Engine(model, context=128)
    [expected] = plain.generate([prompt(20)], params)
    drafter = Clairvoyant(10**9, {tuple(prompt(20)): expected.ids})
    engine = eager(Engine(model, context=128, drafter=drafter))
    n = n_steps(engine, lambda: engine.generate([prompt(20)], params))
    assert n <= 80 // (MOST + 1) + 6
    [answer] = engine.generate([prompt(20)], params)
    assert answer.ids == expected.ids
    for one, other in zip(answer.logprobs, expected.logprobs, strict=True):
        assert one.id == other.id and one.logprob == pytest.approx(other.logprob, abs=1e-4) and len(one.top) == 3


def test_no_page_with_rejected_drafts_is_ever_found(model: Transformer, same: Same) -> None:
    """The next turn takes over what the first one left, and gets what it gets cold, wherever drafts failed."""
    params = SamplingParams(temperature=0, max_tokens=20)
    for length in range(100, 132, 3):
        [expected] = Engine(model, context=256).generate([prompt(length)], params)
        engine = eager(Engine(model, context=256, drafter=Clairvoyant(3, {tuple(prompt(length)): expected.ids})))
        [answer] = engine.generate([prompt(length)], params)
        turn = [*prompt(length), *answer.ids, 9]
        [cold] = Engine(model, context=256).generate([turn], params)
        [warm] = engine.generate([turn], params)
        assert warm.n_cached == (len(turn) - 2) // PAGE_SIZE * PAGE_SIZE
        same(turn, params, cold.ids, warm.ids)


def constraint(vocab_size: int, seed: int, budget: int | None, watched: int | None) -> TableConstraint:
    """Text of some states, a matcher's body, text again; a budget that a watch may use up."""
    draw = random.Random(seed)
    text = [draw.sample(range(10, 500), 8) for _ in range(3)]
    states = [
        State(text[0], 1, {OPEN: 3}, exit=5),
        State(text[1], 2, {text[1][0]: 0}, exit=5),
        State(text[2], 0, {text[2][0]: 2, STOP: 4}, exit=5),
        State(edges={END: 6}, matcher=0),
        State(text[0]),
        State(edges={CUT: 6}),
        State(text[1], None, {STOP: 4}),
    ]
    seen: list[int] = []

    def watch(token: int) -> bool:
        seen.append(token)
        return len(seen) == watched

    return TableConstraint(
        table(vocab_size, states),
        budget=budget,
        matchers=(lambda: Pairs(vocab_size, range(100, 400, 2), 3, is_forcing=seed % 2 == 0),),
        watch=watch if watched else None,
    )


@pytest.mark.parametrize("masks_on_host", [True, False])
@pytest.mark.parametrize("wrong_every", [10**9, 5])
def test_constraints_are_obeyed_over_drafts(model: Transformer, masks_on_host: bool, wrong_every: int) -> None:
    cases = [(seed, budget, watched) for seed in range(6) for budget, watched in ((None, None), (9, None), (30, 7))]
    params = [SamplingParams(seed=seed, max_tokens=40, temperature=seed % 2) for seed, _, _ in cases]
    prompts = [[seed, 7, number] for number, (seed, _, _) in enumerate(cases)]

    def answers(engine: Engine) -> list[tuple[int, ...]]:
        return [
            one.ids for one in engine.generate(prompts, params, [constraint(500, *case) for case in cases])
        ]  # a constraint with a watch is one request's

    expected = answers(Engine(model, context=64, n_rows=6, masks_on_host=masks_on_host))
    drafter = Clairvoyant(wrong_every, {tuple(ids): one for ids, one in zip(prompts, expected, strict=True)})
    engine = eager(Engine(model, context=64, n_rows=6, masks_on_host=masks_on_host, drafter=drafter))
    assert answers(engine) == expected
    assert engine.speculation is not None and engine.speculation.n_stood > 100
    assert any(CUT in ids for ids in expected) and any(OPEN in ids for ids in expected)


def test_a_cursor_looks_ahead_as_it_goes() -> None:
    for seed in range(20):
        draw, cursor = random.Random(seed), Cursor(constraint(500, seed, 12 if seed % 2 else None, None))
        path = Cursor(constraint(500, seed, 12 if seed % 2 else None, None))
        ids: list[int] = []
        places: list[Place] = []
        while not path.needs_host and len(ids) < 25:
            allowed = [id_ for id_ in range(500) if path.mask()[id_ // 32] >> (id_ % 32) & 1]
            ids.append(draw.choice(allowed))
            path.advance(ids[-1])
            places += [] if path.needs_host else [path.place]
        before = cursor.place
        assert cursor.ahead(ids) == places and cursor.place == before
        assert cursor.ahead([*ids[:2], 499 if 499 not in allowed else 0, *ids[2:]])[:2] == places[:2]
        assert cursor.ahead([1]) == []


class Dead:
    """Raises for every second request, and lies about its ids for every third."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        self.asked += [request.id for request, _ in wanted]
        if any(request.id % 2 == 1 for request, _ in wanted):
            raise ValueError("nothing comes to mind")
        return [[10**6 if request.id % 3 == 0 else 1] for request, _ in wanted]

    def forget(self, request_id: int) -> None:
        pass


def test_a_drafter_that_fails_is_asked_no_more(model: Transformer) -> None:
    prompts, params = [prompt(n) for n in range(10, 16)], SamplingParams(seed=2, max_tokens=20)
    expected = [one.ids for one in Engine(model, context=64).generate(prompts, params)]
    drafter = Dead()
    engine = eager(Engine(model, context=64, drafter=drafter))
    assert [one.ids for one in engine.generate(prompts, params)] == expected
    assert all(drafter.asked.count(i) <= 2 for i in (0, 1, 3, 5)), "in the batch, and alone"
    assert all(drafter.asked.count(i) > 10 for i in (2, 4))
    assert engine.speculation is not None and not engine.speculation._records


@pytest.mark.parametrize("junk", [[3.0], [True], [np.float32(3)], [10**30], [None], "ab", None, {1: 2}, iter([1])])
def test_guesses_that_are_no_ids_end_nothing(model: Transformer, junk: object) -> None:
    constraint = TableConstraint(table(500, [State(text=range(400))]))
    prompts, params = [prompt(n) for n in (10, 11)], SamplingParams(seed=2, max_tokens=12)
    expected = [one.ids for one in Engine(model, context=64).generate(prompts, params, [None, constraint])]
    drafter = Dead()
    drafter.propose = lambda wanted: [junk] * len(wanted)  # type: ignore[assignment,method-assign,return-value]
    engine = eager(Engine(model, context=64, drafter=drafter))
    assert [one.ids for one in engine.generate(prompts, params, [None, constraint])] == expected
    assert engine.speculation is not None and not engine.speculation.n_drafted


def test_a_drafter_that_cannot_forget_is_done_with(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, params = [prompt(n) for n in range(10, 13)], SamplingParams(seed=2, max_tokens=20)
    expected = [one.ids for one in Engine(model, context=64, n_rows=1).generate(prompts, params)]
    drafter = NgramDrafter()

    def failing(request_id: int) -> None:
        raise RuntimeError("it is gone")

    monkeypatch.setattr(drafter, "forget", failing)
    engine = eager(Engine(model, context=64, n_rows=1, drafter=drafter))
    assert [one.ids for one in engine.generate(prompts, params)] == expected
    assert set(drafter._seen) <= {0}, "it is asked no more"


def test_a_drafter_that_hangs_can_be_interrupted(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    drafter, guess, n_calls = NgramDrafter(), NgramDrafter.propose, itertools.count()
    request, params = prompt(12), SamplingParams(seed=2, max_tokens=20)
    expected = Engine(model, context=64).generate([request], params)[0].ids

    def hanging(wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        if next(n_calls) == 1:
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it went on")
        return guess(drafter, wanted)

    monkeypatch.setattr(drafter, "propose", hanging)
    engine, n_interrupts, got = eager(Engine(model, context=64, drafter=drafter)), 0, list[int]()
    engine.add(request, params)
    while engine.has_work:
        try:
            for output in engine.step():
                got += output.ids
        except KeyboardInterrupt:
            n_interrupts += 1
            audit(engine.cache)
    assert n_interrupts == 1 and tuple(got) == expected


def test_a_step_that_fails_with_drafts_is_run_without(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, params = [prompt(n) for n in range(10, 14)], SamplingParams(seed=2, max_tokens=20)
    expected = [one.ids for one in Engine(model, context=64).generate(prompts, params)]
    drafter = Clairvoyant(3, {tuple(ids): one for ids, one in zip(prompts, expected, strict=True)})
    engine = eager(Engine(model, context=64, drafter=drafter))
    step: Callable[..., Tensor] = engine._runner.model.step

    def failing(ids: Tensor, batch: object, cache: object, logits_at: Tensor) -> Tensor:
        if len(logits_at) > len(prompts):
            raise RuntimeError("too many places")
        return step(ids, batch, cache, logits_at)

    monkeypatch.setattr(engine._runner.model, "step", failing)
    answers = engine.generate(prompts, params)
    assert [one.ids for one in answers] == expected
    assert all(one.finish_reason is FinishReason.LENGTH for one in answers)


@pytest.mark.parametrize("question", ["Spell 'mississippi'.", "Repeat exactly: the grey sea, the grey ship"])
def test_nano_copies_in_fewer_steps(nano: Path, question: str) -> None:
    loaded = load(nano)
    ids = render(conversation(question, effort="high"), loaded.vocabulary, Role.ASSISTANT)
    params = SamplingParams(temperature=0, max_tokens=120, stop_ids=tuple(loaded.vocabulary.stop_ids))
    [expected] = Engine(loaded.transformer, context=512).generate([ids], params)
    engine = eager(Engine(loaded.transformer, context=512, drafter=NgramDrafter()))
    found: list[tuple[int, ...]] = []
    n = n_steps(engine, lambda: found.append(engine.generate([ids], params)[0].ids))
    assert found[0] == expected.ids
    assert n < 0.8 * len(expected.ids), (n, len(expected.ids))


def other(model: Transformer, seed: int) -> Transformer:
    return Transformer.load(Dummy(model.config, seed=seed), dtype=torch.float32)


@pytest.mark.parametrize("name", ["greedy", "filtered"])
def test_a_draft_model_that_thinks_alike_is_right_and_another_does_no_harm(
    model: Transformer, same: Same, name: str
) -> None:
    params = PARAMS[name]
    prompts = [prompt(length) for length in (1, 17, 120, 129)]
    expected = Engine(model, context=256).generate(prompts, params)
    shares = []
    for guessing in (model, other(model, 5)):
        engine = eager(Engine(model, context=256, n_rows=3, drafter=ModelDrafter(guessing, model)))
        for ids, one, answer in zip(prompts, expected, engine.generate(prompts, params), strict=True):
            same(ids, params, one.ids, answer.ids)
        audit(engine.cache)
        assert engine.speculation is not None
        shares.append(engine.speculation.n_stood / engine.speculation.n_drafted)
    assert shares[0] > 0.95 and shares[1] < 0.7


def test_a_draft_model_has_the_same_vocabulary_and_perhaps_a_smaller_context(model: Transformer) -> None:
    with pytest.raises(BadRequest, match="same vocabulary"):
        ModelDrafter(Transformer.load(Dummy(replace(model.config, vocab_size=499)), dtype=torch.float32), model)
    short = ModelDrafter(model, model)
    short.engine.context = 30
    params = SamplingParams(temperature=0, max_tokens=20)
    [expected] = Engine(model, context=64).generate([prompt(20)], params)
    engine = eager(Engine(model, context=64, drafter=short))
    [answer] = engine.generate([prompt(20)], params)
    assert answer.ids == expected.ids
    assert engine.speculation is not None and 4 <= engine.speculation.n_stood <= 9


@pytest.mark.parametrize("speculate", ["ngram", "nano"])
def test_an_llm_that_speculates_says_the_same(nano: Path, speculate: str) -> None:
    questions = ["Spell 'mississippi'.", "Repeat exactly: the grey sea, the grey ship"]
    llm = LLM(nano, context=512, speculate=nano if speculate == "nano" else speculate)
    eager(llm.engine)
    assert [reply.text for reply in llm.chat([questions[0], questions[1]], effort="high")] == [
        reply.text for reply in LLM(nano, context=512).chat([questions[0], questions[1]], effort="high")
    ]
    assert llm.engine.speculation is not None and llm.engine.speculation.n_stood > 20
