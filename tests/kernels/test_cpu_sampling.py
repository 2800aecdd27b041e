"""A row's draw against the noise and the maximum it stands for, in float64, over vocabularies of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonium.engine import noise
from harmonium.kernels.cpu.sampling import draw_row

NEAR = 1e-4
CPU = torch.device("cpu")


@pytest.mark.parametrize("vocabulary", [1, 63, 64, 65, 4096, 20_000])
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 1.0, 20.0])
def test_a_draw_is_the_best_of_all_scores(vocabulary: int, temperature: float, spread: float) -> None:
    hashes = noise.token_hashes(vocabulary, CPU)
    inverse, scale = (1 / temperature, 1.0) if temperature else (1.0, 0.0)
    n_different = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        logits = (random.standard_normal(vocabulary) * spread).astype(np.float32)
        forbidden = random.random(vocabulary) < (0.0, 0.5, 0.999, 1.0)[seed % 4]
        edges = random.integers(0, vocabulary, seed % 3 + int(forbidden.all())).astype(np.int32)
        key, position = noise.seed_key(seed), 10**9 * seed
        words = noise.position_key(key, position)
        (known,) = noise.position_keys(np.array([key], np.uint64), np.array([position])).view("<u4").tolist()
        assert list(words) == known
        drawn = draw_row(logits, hashes[0].numpy().view(np.uint32), forbidden, edges, inverse, scale, *words)
        keys = torch.tensor([words], dtype=torch.int64).to(torch.int32)
        scores = (logits * inverse + noise.gumbel(hashes, keys)[0].numpy() * scale).astype(np.float64)
        forbidden[edges] = False
        scores[forbidden] = -np.inf
        assert not forbidden[drawn] and scores.max() - scores[drawn] < NEAR * max(1.0, spread)
        n_different += drawn != scores.argmax()
    assert n_different <= 1, "two scores are as good as one but rarely"


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_what_is_not_finite_is_never_drawn(scale: float) -> None:
    logits, hashes = np.zeros(200, np.float32), np.arange(200, dtype=np.uint32)
    free, nothing = np.zeros(200, np.bool_), np.ones(200, np.bool_)
    none, one = np.zeros(0, np.int32), np.array([7], np.int32)
    for odd in (np.float32(np.nan), -np.float32(np.nan), np.float32(np.inf)):
        for place in (3, 199):
            logits[place] = odd
            assert draw_row(logits, hashes, free, none, 1.0, scale, 1, 2) == -1
            assert draw_row(logits, hashes, nothing, one, 1.0, scale, 1, 2) == 7, "what is forbidden does not count"
            logits[place] = 0
    logits[7] = np.nan
    assert draw_row(logits, hashes, nothing, one, 1.0, scale, 1, 2) == -1
    assert draw_row(logits, hashes, nothing, none, 1.0, scale, 1, 2) == -1
    logits[:] = -np.inf
    assert draw_row(logits, hashes, free, one, 1.0, scale, 1, 2) == -1
