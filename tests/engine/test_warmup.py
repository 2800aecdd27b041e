"""Warming up runs a step of every size, and leaves no trace in the engine."""

from __future__ import annotations

import pytest
import torch

from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.engine.warmup import warm_up
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer


def test_every_size_runs_and_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer.load(Dummy(TINY.with_layers(1)))
    engine, other = (Engine(model, context=200, n_rows=12, token_budget=100) for _ in range(2))
    seen: list[int] = []
    step = model.step

    def counted(ids: torch.Tensor, *others: object) -> torch.Tensor:
        seen.append(len(ids))
        return step(ids, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "step", counted)
    warm_up(engine)
    assert {1, 2, 4, 8, 12, 16, 32, 64, 100} <= set(seen)
    assert not engine.has_work
    prompts, params = [[7] * 60, [7] * 61], SamplingParams(max_tokens=5, seed=3)
    found, expected = engine.generate(prompts, params), other.generate(prompts, params)
    assert [one.ids for one in found] == [one.ids for one in expected]
    assert found[0].n_cached == expected[0].n_cached
