"""With a prefix out of the cache or computed anew: the ids are the same, at every edge of pages and windows."""

from __future__ import annotations

import pytest

from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.conftest import Same, prompt

PARAMS = (SamplingParams(temperature=0, max_tokens=12), SamplingParams(seed=21, max_tokens=12))
EDGES = (1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 143, 144, 145, 160, 161, 255, 256, 257)


@pytest.mark.parametrize("params", PARAMS, ids=["greedy", "seeded"])
def test_a_cached_prefix_is_a_cold_one(model: Transformer, same: Same, params: SamplingParams) -> None:
    cold, warm = (Engine(model, context=400, n_rows=40, token_budget=8000) for _ in range(2))
    warm.generate([prompt(300)], SamplingParams(temperature=0, max_tokens=1))
    for n_common in EDGES:
        for n_own in (0, 1, 40):
            ids = prompt(300)[:n_common] + prompt(n_own, 7)
            cold.cache.forget_idle()
            [expected] = cold.generate([ids], params)
            [answer] = warm.generate([ids], params)
            assert expected.n_cached == 0 and answer.n_cached >= min(n_common, len(ids) - 1) // 16 * 16
            same(ids, params, expected.ids, answer.ids)
            audit(warm.cache)


@pytest.mark.parametrize("n_answer", [1, 14, 15, 16, 17, 127, 128, 129, 200])
def test_a_turn_goes_on_where_the_last_one_ended(model: Transformer, same: Same, n_answer: int) -> None:
    cold, warm = (Engine(model, context=600, n_rows=2, token_budget=64) for _ in range(2))
    ids = prompt(100)
    first = SamplingParams(seed=3, max_tokens=n_answer)
    [answer] = warm.generate([ids], first)
    more = [*ids, *answer.ids, *prompt(30, 5)]
    dropped = [*ids, *prompt(50, 6)]
    for tokens, n_known in ((more, len(ids) + n_answer - 1), (dropped, len(ids))):
        [expected], [found] = (engine.generate([tokens], PARAMS[1]) for engine in (cold, warm))
        cold.cache.forget_idle()
        assert (expected.n_cached, found.n_cached) == (0, n_known // 16 * 16)
        same(tokens, PARAMS[1], expected.ids, found.ids)


def test_several_answers_share_their_prompt(model: Transformer) -> None:
    params = SamplingParams(seed=30, max_tokens=20)
    alone = Engine(model, context=400)
    expected = [alone.generate([prompt(150)], SamplingParams(seed=30 + i, max_tokens=20))[0].ids for i in range(6)]
    engine = Engine(model, context=400, n_rows=8)
    ids = engine.add_several(prompt(150), params, 6)
    most = 0
    got: dict[int, list[int]] = {request_id: [] for request_id in ids}
    while engine.has_work:
        for output in engine.step():
            got[output.request_id] += output.ids
            assert output.n_cached == (0 if output.request_id == ids[0] else 144)
        most = max(most, engine.cache.full.n_pages - engine.cache.full.n_free)
        audit(engine.cache)
    assert [tuple(got[request_id]) for request_id in ids] == expected and len(set(expected)) == 6
    assert most == 9 + 6 * 2, "nine pages for all, and two more for each"


def test_reuse_can_be_switched_off(model: Transformer) -> None:
    engine = Engine(model, context=400, kept_tokens=0)
    for _ in range(2):
        [answer] = engine.generate([prompt(100)], PARAMS[0])
        assert answer.n_cached == 0
