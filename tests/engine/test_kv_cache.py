"""No page is lost or held by two who may write it, and every position that a token may see has its place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine.kv_cache import KvCache, extend_names, pages_for
from harmonium.model.config import PAGE_SIZE
from tests.engine.audit import audit

WINDOW = 40
N_LANES = 3


def held(cache: KvCache, lane: int, length: int) -> tuple[list[int], list[int]]:
    """The lane's pages of both groups as its tables say, for `length` positions reserved."""
    n_pages, n_sliding = cache.n_held(lane)
    assert n_pages == pages_for(length)
    return cache.full_table[lane, :n_pages].tolist(), cache.sliding_table[lane, n_pages - n_sliding : n_pages].tolist()


def names(n_pages: int, *, of: int = 1) -> list[bytes]:
    """Names of pages that are full of one token."""
    found: list[bytes] = []
    extend_names(found, [of] * n_pages * PAGE_SIZE, n_pages)
    return found


def fill(cache: KvCache, lane: int, length: int, of: int = 1) -> None:
    """Computes so many tokens in a lane that is empty, one by one."""
    for now in range(1, length + 1):
        cache.extend(lane, now)
        cache.name(lane, names(now // PAGE_SIZE, of=of), now // PAGE_SIZE)
        cache.release_behind(lane, now)


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
        audit(cache)
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


def test_32k_tokens_hold_one_window_of_sliding_pages() -> None:
    cache = KvCache(1, 32_768, 128, n_full_pages=2048, n_sliding_pages=41, n_kept=0)
    for length in range(512, 32_769, 512):  # prefill in chunks, each with its own pages for a step
        cache.extend(0, length)
        cache.release_behind(0, length)
        assert cache.n_held(0) == (length // 16, 8)
    assert cache.sliding.n_free == 41 - 8


def test_pages_given_back_are_taken_first() -> None:
    cache = KvCache(2, 64, 16, n_full_pages=8, n_sliding_pages=8)
    cache.extend(0, 40)
    assert cache.full_table[0, :3].tolist() == [0, 1, 2]
    cache.free(0)
    cache.extend(1, 20)
    assert cache.full_table[1, :2].tolist() == [0, 1]


def test_names_tell_apart_all_that_came_before() -> None:
    a, b, c = ([token] * 16 for token in (1, 2, 3))
    found: list[list[bytes]] = [[] for _ in range(3)]
    for one, tokens in zip(found, ([*a, *b, *c], [*b, *b, *c], [*a, *b, *b, 9]), strict=True):
        extend_names(one, tokens[:20], 1)
        extend_names(one, tokens, 3)
    assert found[0][:2] == found[2][:2] and len({*found[0], *found[1], *found[2]}) == 7


def test_what_was_computed_is_taken_over_without_a_copy() -> None:
    cache = KvCache(3, 640, 128, n_full_pages=60, n_sliding_pages=40)
    fill(cache, 0, 300)
    shared = names(18)
    assert cache.match(names(30)) == 18 and cache.match(names(30, of=2)) == 0
    cache.share(1, shared)
    assert cache.full_table[1, :18].tolist() == cache.full_table[0, :18].tolist()
    assert cache.sliding_table[1, 10:18].tolist() == cache.sliding_table[0, 10:18].tolist()
    assert cache.n_held(1) == (18, 8)
    audit(cache)
    cache.free(0)
    cache.extend(1, 320)
    assert cache.n_idle(shared) == (0, 0), "lane 1 holds them"
    audit(cache)
    cache.free(1)
    assert cache.full.n_free == 60 and cache.sliding.n_free == 40
    assert cache.match(shared) == 18 and cache.n_idle(shared) == (18, 8), "after all have gone"
    cache.forget_idle()
    assert cache.match(shared) == 0
    audit(cache)


def test_a_hit_needs_its_window() -> None:
    cache = KvCache(2, 1600, 128, n_full_pages=100, n_sliding_pages=30)
    fill(cache, 0, 800)  # 50 pages, of which 22 released sliding ones are still there: 21 to 42
    cache.free(0)
    assert cache.match(names(50)) == 50
    fill(cache, 1, 352, of=2)  # takes the 22 least recently used ones: the window at the end stays whole
    assert cache.match(names(50)) == 50
    assert cache.match(names(43)) == 0, "its window is lost, and every earlier one"
    cache.free(1)
    audit(cache)


@pytest.mark.parametrize("end", [400, 401, 415, 416])
def test_the_windows_at_ends_are_evicted_last(end: int) -> None:
    """Afterwards another request goes on with one token more than `end`, and differs from there."""
    cache = KvCache(2, 1600, 128, n_full_pages=300, n_sliding_pages=40)
    for length in range(1, 801):
        cache.extend(0, length)
        cache.name(0, names(length // PAGE_SIZE), length // PAGE_SIZE)
        if length == end:
            cache.mark(0, length)
        cache.release_behind(0, length)
    cache.free(0)
    fill(cache, 1, 1600, of=2)
    cache.free(1)
    assert cache.match(names((end + 1) // PAGE_SIZE)) == (end + 1) // PAGE_SIZE
    assert cache.match(names(50)) <= end // PAGE_SIZE + 1, "the rest made room"
    audit(cache)


def test_the_least_recently_used_go_first_and_ends_before_beginnings() -> None:
    cache = KvCache(1, 320, 128, n_full_pages=24, n_sliding_pages=40)
    for token in (1, 2):
        fill(cache, 0, 160, of=token)
        cache.free(0)
    cache.share(0, names(10, of=1))
    cache.free(0)  # used again
    fill(cache, 0, 96, of=3)
    assert cache.match(names(10, of=1)) == 10 and cache.match(names(10, of=2)) == 8


def test_no_more_than_n_kept_stay() -> None:
    cache = KvCache(1, 320, 128, n_full_pages=60, n_sliding_pages=40, n_kept=12)
    for token in range(50):
        fill(cache, 0, 160, of=token)
        cache.free(0)
        audit(cache)
        assert cache.match(names(10, of=token)) == 10 and cache.full.n_idle <= 12
    assert max(cache.full._free) == 59 and cache.full_table.max() < 30, "pages that were never touched stay so"
