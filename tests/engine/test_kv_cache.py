"""No page is lost or held twice, and every position that a token may see has its place."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.model.config import PAGE_SIZE

WINDOW = 40
N_LANES = 3


def held(cache: KvCache, lane: int, length: int) -> tuple[list[int], list[int]]:
    """The lane's pages of both groups as its tables say, for `length` positions reserved."""
    n_pages, n_sliding = cache.n_held(lane)
    assert n_pages == pages_for(length)
    return cache.full_table[lane, :n_pages].tolist(), cache.sliding_table[lane, n_pages - n_sliding : n_pages].tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, N_LANES - 1), st.integers(0, 60), st.booleans()), max_size=40))
def test_pages_are_free_or_held_once(actions: list[tuple[int, int, bool]]) -> None:
    cache = KvCache(N_LANES, 320, WINDOW, n_full_pages=25, n_sliding_pages=12)
    lengths = [0] * N_LANES
    for lane, n_tokens, is_freed in actions:
        if is_freed:
            cache.free(lane)
            lengths[lane] = 0
        else:
            lengths[lane] = length = max(lengths[lane], min(lengths[lane] + n_tokens, cache.room(lane), 320))
            cache.extend(lane, length)
            cache.release_behind(lane, length)
        pages = [held(cache, lane, length) for lane, length in enumerate(lengths)]
        for group, pool in enumerate((cache.full, cache.sliding)):
            taken = list(itertools.chain.from_iterable(pair[group] for pair in pages))
            assert len(set(taken)) == len(taken) == pool.n_pages - pool.n_free
        for length, (full, sliding) in zip(lengths, pages, strict=True):
            visible = range(max(0, length - WINDOW + 1) // PAGE_SIZE, pages_for(length))
            assert len(full) == pages_for(length) and len(sliding) == len(visible)


def test_the_window_goes_back_at_its_edges() -> None:
    cache = KvCache(1, 1024, 128, n_full_pages=64, n_sliding_pages=64)
    kept = {}
    for length in range(1, 1024):
        cache.extend(0, length)
        cache.release_behind(0, length)
        kept[length] = cache.n_held(0)[1]
    # The token at position 143 sees 16 to 143, so page 0 is needed until 143 tokens are there and no longer.
    assert kept[127] == kept[128] == 8 and kept[129] == kept[142] == 9 and kept[143] == kept[144] == 8
    assert max(kept.values()) == 9
    cache.free(0)
    assert cache.full.n_free == cache.sliding.n_free == 64


def test_pages_given_back_are_taken_first() -> None:
    cache = KvCache(2, 64, 16, n_full_pages=8, n_sliding_pages=8)
    cache.extend(0, 40)
    assert cache.full_table[0, :3].tolist() == [0, 1, 2]
    cache.free(0)
    cache.extend(1, 20)
    assert cache.full_table[1, :2].tolist() == [0, 1]
