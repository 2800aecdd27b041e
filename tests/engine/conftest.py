"""A small random model, and the comparison that forgives nothing but near-ties, and counts those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harmonium.engine import noise
from harmonium.engine.request import SamplingParams
from harmonium.model.config import TINY, ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

NEAR = 1e-4
SMALL = replace(TINY, vocab_size=500)

Same = Callable[[Sequence[int], SamplingParams, Sequence[int], Sequence[int]], None]


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random ids; a shorter one is no beginning of a longer one."""
    ids: list[int] = torch.randint(
        500, (length,), generator=torch.Generator().manual_seed(1000 * seed + length)
    ).tolist()
    return ids


@pytest.fixture(scope="session")
def small() -> ModelConfig:
    return SMALL


@pytest.fixture(scope="session")
def model() -> Transformer:
    return Transformer.load(Dummy(SMALL), dtype=torch.float32)


@pytest.fixture
def same(model: Transformer, record_property: Callable[[str, object], None]) -> Iterator[Same]:
    """same(prompt, params, ids, others): equal, or different at first where two ids score within NEAR."""
    near_ties = 0

    def compare(prompt: Sequence[int], params: SamplingParams, ids: Sequence[int], others: Sequence[int]) -> None:
        nonlocal near_ties
        if list(ids) == list(others):
            return
        place = next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), None)
        assert place is not None, f"{len(ids)} ids against {len(others)}"
        with torch.no_grad():
            scores = model.forward(torch.tensor([[*prompt, *ids[:place]]]))[0, -1]
        if params.temperature:
            assert params.seed is not None
            key = np.array([noise.seed_key(params.seed)], np.uint64)
            keys = torch.from_numpy(noise.position_keys(key, np.array([len(prompt) + place])))
            drawn = noise.gumbel(noise.token_hashes(model.config.vocab_size, scores.device), keys)[0]
            scores = scores / params.temperature + drawn
        margin = abs(float(scores[ids[place]] - scores[others[place]]))
        assert margin < NEAR, f"id {place} differs, {ids[place]} and {others[place]}, at a margin of {margin}"
        near_ties += 1

    yield compare
    record_property("near_ties", near_ties)
