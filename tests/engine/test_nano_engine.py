"""The embedded model on the engine: equality as for random models, many requests in little memory, and their rate."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams
from harmonium.engine.speculative import NgramDrafter
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model import checkpoint
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.conftest import Same

TEXT = (
    "The old lighthouse stood on a cliff above the grey sea, and every evening its keeper climbed the stairs, lit the "
    "lamp and wrote the names of passing ships into a book. In winter there were few of them; in summer he needed a "
    "new book every month. What would he have written on the day on which two ships came, and neither had a name? "
)
LENGTHS = (3, 16, 60, 127, 128, 129, 200, 260)
PARAMS = (
    SamplingParams(temperature=0, max_tokens=24),
    SamplingParams(seed=8, max_tokens=24),
    SamplingParams(seed=9, temperature=0.7, top_p=0.9, frequency_penalty=0.2, max_tokens=24),
)
WISHES = (
    SamplingParams(),
    SamplingParams(presence_penalty=0.5),
    SamplingParams(logit_bias=((5, 1.0),)),
    SamplingParams(logprobs=2),
)


@pytest.fixture(scope="module")
def model(nano: Path) -> Transformer:
    return Transformer.load(checkpoint.open(nano))


@pytest.fixture(scope="module")
def prompts(nano: Path) -> list[list[int]]:
    ids = Vocabulary.from_file(nano / "tokenizer.json").encode(TEXT * 4)
    return [ids[:length] for length in LENGTHS]


@pytest.mark.parametrize("params", PARAMS, ids=["greedy", "seeded", "filtered and penalized"])
def test_every_way_is_alone(model: Transformer, prompts: list[list[int]], same: Same, params: SamplingParams) -> None:
    alone = Engine(model, context=400, n_rows=1)
    expected = []
    for ids in prompts:
        expected.append(alone.generate([ids], params)[0].ids)
        alone.cache.forget_idle()
    together = Engine(model, context=400, n_rows=16)
    chunked = Engine(model, context=400, n_rows=5, token_budget=37)
    scarce = Engine(model, context=400, n_rows=8, kept_tokens=100)
    scarce.cache.full._free = scarce.cache.full._free[-25:]  # as if there were no more
    ahead = Engine(model, context=400, n_rows=8, overlap=True)
    guessing = Engine(model, context=400, n_rows=4, drafter=NgramDrafter())
    for engine in (together, together, chunked, scarce, ahead, guessing):  # the second time out of the cache
        is_cached = engine.cache.full.n_idle > 0
        answers = engine.generate(prompts, params)
        assert not is_cached or sum(answer.n_cached for answer in answers) == sum((n - 1) // 16 * 16 for n in LENGTHS)
        for ids, one, answer in zip(prompts, expected, answers, strict=True):
            same(ids, params, one, answer.ids)
    assert scarce.scheduler.n_preemptions > 0
    assert guessing.speculation is not None and (guessing.speculation.n_drafted > 0) == (not params.is_penalized)
    for ids, one, found in zip(prompts, expected, among_aborts(ahead, prompts, params), strict=True):
        same(ids, params, one, found)


def among_aborts(engine: Engine, prompts: list[list[int]], params: SamplingParams) -> list[list[int]]:
    """Answers while as many others come and are aborted, one after each step."""
    doomed, said = list[int](), dict[int, list[int]]()
    for ids in prompts:
        doomed.append(engine.add(ids[1:], params))
        said[engine.add(ids, params)] = []
    while engine.has_work:
        for output in engine.step():
            said.get(output.request_id, []).extend(output.ids)
        if doomed:
            assert engine.abort(doomed.pop(0))
    return list(said.values())


@pytest.mark.deep
def test_ten_thousand_requests_leave_nothing_behind(model: Transformer) -> None:
    """Of all lengths, with wishes of all kinds, some aborted: memory stays within 20 MB, and no page is held."""
    engine, draw, process = Engine(model, n_rows=32), random.Random(0), psutil.Process()
    stem = [draw.randrange(4000) for _ in range(200)]
    n_added, n_ended, memory = 0, 0, {}
    started = time.perf_counter()
    while n_ended < 10_000:
        while n_added < 10_000 and len(engine.scheduler.waiting) < 32:
            ids = stem[: draw.randrange(200)] + [draw.randrange(4000) for _ in range(draw.randrange(1, 40))]
            params = replace(draw.choice(WISHES), max_tokens=draw.randrange(1, 24), seed=n_added)
            request_id = engine.add(ids, params, priority=draw.randrange(2), timeout_s=600)
            n_added += 1
            if n_added % 10 == 0:
                engine.abort(request_id - draw.randrange(8))
        ends = [output.finish_reason for output in engine.step() if output.finish_reason is not None]
        assert set(ends) <= {FinishReason.LENGTH, FinishReason.ABORT}
        for _ in ends:
            n_ended += 1
            if n_ended in (1000, 10_000):
                gc.collect()
                memory[n_ended] = process.memory_info().rss / 1e6
    assert not engine.has_work and engine.step() == []
    audit(engine.cache)
    cache = engine.cache
    assert cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages
    assert not engine._requests and not engine._deadlines and not engine.scheduler._computing
    print({"seconds": round(time.perf_counter() - started), "memory_mb": {n: round(mb) for n, mb in memory.items()}})
    assert memory[10_000] - memory[1000] < 20
