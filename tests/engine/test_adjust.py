"""Penalties, biases and reported chances, against their definitions; with them too a batch changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from harmonium.engine.batch import BatchBuilder
from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.kv_cache import KvCache
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.sampler import Sampler
from harmonium.engine.scheduler import Row
from harmonium.engine.table_arena import TableArena
from harmonium.errors import BadRequest
from harmonium.model.transformer import Transformer
from tests.engine.conftest import Same, prompt
from tests.engine.tables import State, table

VOCAB = 40
CPU = torch.device("cpu")
GREEDY = SamplingParams(temperature=0, max_tokens=30)

wishes = st.builds(
    SamplingParams,
    temperature=st.just(0.0),
    repetition_penalty=st.sampled_from([1.0, 1.0, 0.5, 1.3]),
    presence_penalty=st.sampled_from([0.0, 0.0, 0.7, -2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.3]),
    logit_bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-5, 5, width=32), max_size=3).map(
        lambda biases: tuple(biases.items())
    ),
)


def adjusted(logits: Tensor, tokens: Sequence[int], n_prompt: int, params: SamplingParams) -> Tensor:
    """The definitions, for logits (vocabulary,)."""
    repetition = RepetitionPenaltyLogitsProcessor(params.repetition_penalty)
    scores: Tensor = repetition(torch.tensor([list(tokens)]), logits.clone()[None])[0]
    counts = torch.bincount(torch.tensor(tokens[n_prompt:], dtype=torch.int64), minlength=VOCAB)
    scores -= params.frequency_penalty * counts + params.presence_penalty * (counts > 0)
    for id_, value in params.logit_bias:
        scores[id_] += value
    return scores


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(wishes, st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=8)), min_size=1, max_size=5),
    st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_logits_are_changed_as_defined(
    rows: list[tuple[SamplingParams, list[int]]], steps: list[set[int]], seed: int
) -> None:
    """In every step some rows are left out, some forget what the device knows, and some give their lane away."""
    random = torch.Generator().manual_seed(seed)
    cache, arena = KvCache(len(rows), 64, 16, 4 * len(rows), 4 * len(rows)), TableArena(VOCAB, CPU)
    builder, sampler = BatchBuilder(cache, arena, VOCAB, CPU), Sampler(VOCAB, len(rows), arena, CPU)
    requests = [Request(n, list(ids), params, 0, 64) for n, (params, ids) in enumerate(rows)]
    numbers = itertools.count(len(rows))
    for lane, request in enumerate(requests):
        request.lane = lane
        cache.extend(lane, 60)
    for absent in steps:
        present = [request for request in requests if request.lane not in absent] or requests
        step = builder.build([Row(r, len(r.tokens) - 1, 1, is_sampled=True) for r in present])
        logits = torch.randn(len(present), VOCAB, generator=random) * 3
        expected = [adjusted(x, r.tokens, r.n_prompt, r.params) for x, r in zip(logits, present, strict=True)]
        changed = logits.clone()
        ids = sampler.sample(changed, step.randomness, step.masking, step.penalties, step.biases).tolist()
        assert torch.allclose(changed, torch.stack(expected), atol=1e-5)
        for request, id_ in zip(present, ids, strict=True):
            request.tokens.append(id_)
            if id_ % 5 == 0:
                request.forget_device()
            if id_ % 7 == 0:
                params, ids_ = rows[id_ % len(rows)]
                requests[request.lane] = new = Request(next(numbers), list(ids_), params, 0, 64, priority=0)
                new.lane = request.lane


@pytest.fixture(scope="module")
def engine(model: Transformer) -> Engine:
    return Engine(model, context=400, n_rows=6, token_budget=64)


PENALIZED = (
    SamplingParams(temperature=0, max_tokens=30, repetition_penalty=1.2),
    SamplingParams(seed=4, max_tokens=30, presence_penalty=1.0, frequency_penalty=0.5),
    SamplingParams(seed=5, max_tokens=30, logit_bias=((7, 3.0), (9, -100.0))),
    GREEDY,
    SamplingParams(seed=6, max_tokens=30, top_k=20, min_p=0.01, repetition_penalty=0.9, logprobs=2),
    SamplingParams(seed=7, max_tokens=30, top_p=0.8, frequency_penalty=1.0, logprobs=0),
)


def test_a_batch_of_wishes_is_each_alone_even_when_preempted(model: Transformer, engine: Engine) -> None:
    prompts = [prompt(50, seed) for seed in range(8)]
    params = [PENALIZED[i % len(PENALIZED)] for i in range(8)]
    alone = [engine.generate([ids], one)[0] for ids, one in zip(prompts, params, strict=True)]
    assert [answer.ids for answer in engine.generate(prompts, params)] == [answer.ids for answer in alone]
    scarce = Engine(model, context=96, n_rows=6, token_budget=64)
    scarce.cache.full._free = scarce.cache.full._free[-14:]  # as if there were no more
    answers = scarce.generate(prompts, params)
    assert scarce.scheduler.n_preemptions > 0
    assert [answer.ids for answer in answers] == [answer.ids for answer in alone]
    assert [len(answer.logprobs) for answer in answers] == [30 * (one.logprobs is not None) for one in params]


def test_penalties_do_what_they_are_for(engine: Engine) -> None:
    ids = prompt(40)
    [plain, presence, ban] = engine.generate(
        [ids] * 3,
        [
            SamplingParams(seed=1, max_tokens=60, top_k=5),
            SamplingParams(seed=1, max_tokens=60, presence_penalty=100.0),
            SamplingParams(temperature=0, max_tokens=10, logit_bias=((3, 1000.0),)),
        ],
    )
    assert len(set(plain.ids)) < 60 == len(set(presence.ids)) and ban.ids == (3,) * 10


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(seed=9, temperature=0.7, presence_penalty=0.5)])
def test_logprobs_are_the_models_own(model: Transformer, engine: Engine, same: Same, params: SamplingParams) -> None:
    ids, asked = prompt(70), replace(params, max_tokens=20, logprobs=3)
    [plain] = engine.generate([ids], replace(asked, logprobs=None))
    [answer, fewer] = engine.generate([ids] * 2, [asked, replace(asked, logprobs=0)])
    assert plain.ids == answer.ids == fewer.ids and not plain.logprobs
    assert [one.top for one in fewer.logprobs] == [()] * 20
    with torch.no_grad():
        logits = model.forward(torch.tensor([[*ids, *answer.ids]]))[0, len(ids) - 1 : -1]
    chances = logits.log_softmax(-1)
    for place, one in enumerate(answer.logprobs):
        assert one.id == answer.ids[place]
        assert one.logprob == pytest.approx(float(chances[place, one.id]), abs=1e-3)
        top = chances[place].topk(3)
        assert [value for _, value in one.top] == pytest.approx(top.values.tolist(), abs=1e-3)
        assert all(value == pytest.approx(float(chances[place, id_]), abs=1e-3) for id_, value in one.top)


@pytest.mark.parametrize("masks_on_host", [True, False])
def test_wishes_come_before_masks(model: Transformer, masks_on_host: bool) -> None:
    engine = Engine(model, context=200, masks_on_host=masks_on_host)
    few = TableConstraint(table(500, [State(range(10, 15), 0)]))
    params = SamplingParams(temperature=0, max_tokens=5, presence_penalty=100.0, logit_bias=((7, 1e4),), logprobs=1)
    [answer] = engine.generate([prompt(30)], params, [few])
    assert sorted(answer.ids) == [10, 11, 12, 13, 14], "none twice, and none that the mask forbids"
    assert all(one.top[0][1] >= one.logprob for one in answer.logprobs)


def test_wishes_that_cannot_be(engine: Engine) -> None:
    for wrong in (
        {"repetition_penalty": 0.0},
        {"presence_penalty": 101.0},
        {"frequency_penalty": float("nan")},
        {"logit_bias": ((3, float("inf")),)},
        {"logprobs": -1},
    ):
        with pytest.raises(BadRequest, match=next(iter(wrong))):
            SamplingParams(**wrong)
    with pytest.raises(BadRequest, match="logit_bias has ids"):
        engine.add([1], SamplingParams(logit_bias=((500, 1.0),)))
    assert not engine.has_work


def test_what_nobody_wants_costs_nothing(model: Transformer) -> None:
    engine = Engine(model, context=200)
    engine.generate([prompt(5)], SamplingParams(seed=1, max_tokens=3))
    assert len(engine._runner.sampler._adjuster.counts) == 0 and not engine._builder._wishes.lanes
