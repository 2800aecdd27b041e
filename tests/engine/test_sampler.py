"""One id per row: by its own settings, its own noise, and nothing of its neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harmonium.engine import noise
from harmonium.engine.adjust import Arrays
from harmonium.engine.batch import BatchBuilder, Inputs
from harmonium.engine.kv_cache import KvCache
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.sampler import BAD, Filters, Randomness, Sampler, smallest_kept
from harmonium.engine.scheduler import Row
from harmonium.engine.table_arena import TableArena
from harmonium.engine.transfer import Transfer

VOCAB = 96
CPU = torch.device("cpu")


def inputs(requests: list[Request], vocab_size: int = VOCAB) -> Inputs:
    """What the engine would hand to the sampler for requests that have each sampled their last known token."""
    cache = KvCache(len(requests), 64, 16, 4 * len(requests), 4 * len(requests))
    for lane, request in enumerate(requests):
        request.lane = lane
        cache.extend(lane, len(request.tokens))
    builder = BatchBuilder(cache, TableArena(vocab_size, CPU), vocab_size, CPU)
    return builder.build([Row(r, len(r.tokens) - 1, 1, is_sampled=True) for r in requests])


def sample(logits: torch.Tensor, requests: list[Request]) -> list[int]:
    vocab_size = logits.shape[-1]
    sampler = Sampler(vocab_size, len(requests), TableArena(vocab_size, CPU), CPU)
    ids: list[int] = sampler.sample(logits.clone(), inputs(requests, vocab_size).randomness, None).tolist()
    return ids


def request(number: int, params: SamplingParams, length: int = 5) -> Request:
    return Request(number, [0] * length, params, seed=params.seed or 0, max_length=64)


params_strategy = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 1e-7, 0.5, 1.0, 2.0, 100.0]),
    top_k=st.sampled_from([0, 0, 1, 3, 50, VOCAB, 1000]),
    top_p=st.sampled_from([1.0, 1.0, 1e-6, 0.5, 0.9]),
    min_p=st.sampled_from([0.0, 0.0, 0.1, 1.0]),
    seed=st.integers(-(2**70), 2**70),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(params_strategy, st.integers(1, 60)), min_size=1, max_size=6), st.integers(0, 2**32))
def test_a_row_is_drawn_as_it_would_be_alone(rows: list[tuple[SamplingParams, int]], seed: int) -> None:
    logits = torch.randn(len(rows), VOCAB, generator=torch.Generator().manual_seed(seed)) * 3
    requests = [request(number, params, length) for number, (params, length) in enumerate(rows)]
    together = sample(logits, requests)
    for row, (params, length) in enumerate(rows):
        assert sample(logits[row : row + 1], [request(0, params, length)]) == [together[row]]
        assert together[row] in kept(logits[row].numpy(), params)
        if params.temperature < 1e-5:
            assert together[row] == int(logits[row].argmax())


def kept(logits: NDArray[np.float32], params: SamplingParams) -> set[int]:
    """The ids that the filters leave, in plain numpy; those within rounding of the border are kept as well."""
    scaled = logits.astype(np.float64) / max(params.temperature, 1e-3)
    order = np.argsort(-scaled, kind="stable")[: params.top_k or None]
    chances = np.exp(scaled[order] - scaled.max())
    chances /= chances.sum()
    ids = {
        int(id_) for id_, before in zip(order, chances.cumsum() - chances, strict=True) if before <= params.top_p + 1e-6
    }
    if params.min_p:
        ids = {id_ for id_ in ids if scaled[id_] >= scaled.max() + math.log(params.min_p) - 1e-5}
    return ids


@pytest.mark.parametrize(
    "params",
    [SamplingParams(), SamplingParams(temperature=2.0), SamplingParams(top_k=4), SamplingParams(top_p=0.7, min_p=0.05)],
)
def test_frequencies_are_the_softmax_of_what_is_kept(params: SamplingParams) -> None:
    n = 20_000
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(3)) * 2
    one = inputs([request(0, params)], 12).randomness
    assert one is not None
    filters = one.filters
    keys = torch.from_numpy(noise.position_keys(np.full(n, noise.seed_key(7), np.uint64), np.arange(n)))
    many = Randomness(
        one.inverse_temperature.expand(n, 1),
        one.scale.expand(n, 1),
        keys,
        one.log_min_p,
        filters and Filters(torch.arange(n), filters.top_k, filters.top_p, filters.largest),
    )
    drawn = Sampler(12, 1, TableArena(12, CPU), CPU).sample(logits.repeat(n, 1), many, None)
    expected = np.zeros(12)
    ids = sorted(kept(logits[0].numpy(), params))
    expected[ids] = torch.softmax(logits[0, ids].double() / params.temperature, 0).numpy()
    counts = np.bincount(drawn.numpy(), minlength=12)
    assert (counts[expected == 0] == 0).all()
    spread = np.sqrt(n * expected * (1 - expected)) + 1e-9
    assert (np.abs(counts - n * expected) / spread).max() < 4.5


def test_noise_is_the_hash_that_its_sources_define() -> None:
    def mix(x: int, key: int) -> int:
        x ^= x >> 16
        x = (x * 0x7FEB352D + key) & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    assert noise.seed_key(0) == 0xE220A8397B1DCDAF  # splitmix64's first number from state 0
    keys = noise.position_keys(np.array([noise.seed_key(1), 2**64 - 1], np.uint64), np.array([0, 131_071]))
    assert keys.dtype == np.int32 and len(np.unique(keys)) == 4
    got = noise.gumbel(noise.token_hashes(5000, CPU), torch.from_numpy(keys))
    for row, (low, high) in enumerate(keys.view(np.uint32).tolist()):
        for token in (0, 1, 4999):
            uniform = ((mix(mix(token, 0) ^ low, high) & 0x7FFFFFFF) + 0.5) / 2**31
            assert float(got[row, token]) == pytest.approx(-math.log(-math.log1p(-uniform)), abs=1e-5)


def test_noise_is_gumbel_and_independent() -> None:
    keys = noise.position_keys(np.full(64, noise.seed_key(5), np.uint64), np.arange(64))
    drawn = noise.gumbel(noise.token_hashes(4096, CPU), torch.from_numpy(keys)).double()
    assert drawn.isfinite().all()
    assert float(drawn.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)
    between_positions = torch.corrcoef(drawn)[~torch.eye(64, dtype=torch.bool)]
    between_tokens = torch.corrcoef(torch.stack((drawn[:, :-1].flatten(), drawn[:, 1:].flatten())))[0, 1]
    assert float(between_positions.abs().max()) < 0.09 and abs(float(between_tokens)) < 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=12), st.integers(1, 14), st.sampled_from([0.01, 0.5, 0.99, 2.0])
)
def test_ties_with_the_last_kept_are_kept(scores: list[int], top_k: int, top_p: float) -> None:
    filters = Filters(torch.tensor([0]), torch.tensor([[top_k]]), torch.tensor([[top_p]]), top_k)
    lowest = float(smallest_kept(torch.tensor([scores], dtype=torch.float32), filters))
    ordered = sorted(scores, reverse=True)[:top_k]
    chances = np.exp(ordered) / np.exp(ordered).sum()
    assert lowest == [s for s, before in zip(ordered, chances.cumsum() - chances, strict=True) if before < top_p][-1]


def test_rows_that_cannot_be_drawn_are_marked_and_spoil_no_others() -> None:
    logits = torch.randn(5, VOCAB)
    logits[1, 7] = torch.nan
    logits[2] = -torch.inf
    logits[3, 2] = torch.inf
    for params in (SamplingParams(temperature=0), SamplingParams(seed=1), SamplingParams(seed=1, top_k=5, min_p=0.1)):
        ids = sample(logits, [request(number, params) for number in range(5)])
        assert ids[1:4] == [BAD] * 3 and min(ids[0], ids[4]) >= 0


def test_the_packed_copy_is_the_same() -> None:
    arrays: Arrays = {
        "a": np.arange(7, dtype=np.int32),
        "empty": np.zeros((0, 3), np.int64),
        "b": np.arange(6, dtype=np.float32).reshape(3, 2).T,
        "c": np.arange(4, dtype=np.int64)[:, None],
    }
    transfer = Transfer(CPU)
    for _ in range(2):  # the second time in memory that is there
        for name, tensor in transfer.packed(arrays).items():
            assert tensor.shape == arrays[name].shape and tensor.dtype == torch.from_numpy(arrays[name]).dtype
            assert (tensor.numpy() == arrays[name]).all()
