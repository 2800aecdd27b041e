"""The fused choice against the engine's own: the same ids and the same states, under Triton's interpreter."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine import noise
from harmonium.engine.constraint import UNLIMITED
from harmonium.engine.following import BAD
from harmonium.engine.sampler import Draw, Masking, Randomness, Sampler
from harmonium.engine.table_arena import FREE, TableArena
from tests.engine.tables import State, table

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("runs Triton's interpreter: unset CUDA devices", allow_module_level=True)
pytest.importorskip("triton", reason="needs triton: pip install triton", exc_type=ImportError)

import triton
import triton.language as tl

from harmonium.kernels import triton as backend
from harmonium.kernels.triton import sampling
from harmonium.kernels.triton.tiles import Tiles

CPU = torch.device("cpu")
VOCAB = 300
N_LANES = 5
TABLE = table(
    VOCAB,
    [
        State(range(40, 200), None, {3: 1, 50: 2, 299: 3}, exit=3),
        State(edges={n: n % 4 for n in range(0, 300, 3)}),
        State(range(VOCAB), 0, exit=1),
        State({7}, 0),
    ],
)


@triton.jit
def noise_of(ids_ptr, out_ptr, first, second, N: tl.constexpr):
    ids = tl.load(ids_ptr + tl.arange(0, N))
    words = first + tl.zeros([N], tl.int32), second + tl.zeros([N], tl.int32)
    first_word, second_word = words[0].to(tl.uint32, bitcast=True), words[1].to(tl.uint32, bitcast=True)
    tl.store(out_ptr + tl.arange(0, N), sampling.gumbel(ids, first_word, second_word))


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
@settings(max_examples=3, deadline=None)
def test_the_noise_is_the_engine_s(first: int, second: int) -> None:
    ids, found = torch.arange(8192, dtype=torch.int32), torch.empty(8192)
    noise_of[(1,)](ids, found, first, second, 8192)
    keys = torch.tensor([[first, second]], dtype=torch.int32)
    expected = noise.gumbel(noise.token_hashes(8192, CPU), keys)[0]
    assert torch.allclose(found, expected, rtol=2e-6, atol=2e-6)


rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        st.integers(-1, TABLE.n_states - 1),  # -1 is a row without a table
        st.booleans(),  # whether its lane has its place already
        st.sampled_from([UNLIMITED, 0, 2]),
    ),
    min_size=1,
    max_size=N_LANES,
)


@given(rows, st.integers(0, 2**32), st.sampled_from(["", "nan", "inf"]))
@settings(max_examples=6, deadline=None)
def test_draw(wanted: list[tuple[float, int, bool, int]], seed: int, fault: str) -> None:
    random, n = torch.Generator().manual_seed(seed), len(wanted)
    arena = TableArena(VOCAB, CPU)
    arena.acquire(TABLE)
    states = [FREE if state < 0 else arena.base(TABLE) + state for _, state, _, _ in wanted]
    is_known = torch.tensor([known for _, _, known, _ in wanted])
    lanes = torch.randperm(N_LANES, generator=random)[:n]
    given_places = torch.tensor([[state, 1] for state in states])
    samplers = [Sampler(VOCAB, N_LANES, arena, CPU) for _ in range(2)]
    for sampler in samplers:
        sampler.places[lanes[is_known]] = given_places[is_known]
    temperatures = torch.tensor([temperature for temperature, *_ in wanted])
    inverse = torch.where(temperatures > 0, 1 / temperatures, 1.0)
    scale = (temperatures > 0).float()
    position_keys = noise.position_keys(np.arange(n, dtype=np.uint64) + np.uint64(seed), np.arange(n))
    keys, budgets = torch.from_numpy(position_keys.copy()), torch.tensor([budget for *_, budget in wanted])
    places = torch.where(is_known[:, None], -1, given_places)
    for _ in range(3):  # from the places that the last left
        logits = torch.randn(n, VOCAB, generator=random) * 3
        if fault:
            logits[torch.randint(n, (1,), generator=random)] = float(fault)
        expected = samplers[0].sample(
            logits.clone(),
            Randomness(inverse[:, None], scale[:, None], keys, None, None),
            Masking(lanes, places, budgets, None, None),
        )
        draw = Draw(inverse, scale, keys, places, budgets)
        samplers[1]._fused = backend.draw
        found = samplers[1].draw(logits, draw, lanes)
        assert torch.equal(found, expected)
        chosen = expected != BAD
        assert torch.equal(samplers[1].last_ids[lanes[chosen]], expected[chosen])
        assert torch.equal(samplers[1].places[lanes[chosen]], samplers[0].places[lanes[chosen]])
        for sampler in samplers:  # where nothing could be chosen the state means nothing
            sampler.places[lanes[~chosen]] = 0
        places, keys = torch.full_like(places, -1), keys + 1


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tiles, "draw_columns", 64)
    monkeypatch.setattr(Tiles, "draw_edges", 16)
