"""The books of a cache, checked from outside: where every page is, who holds it, and who may write it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harmonium.engine.kv_cache import KvCache, PagePool


def audit(cache: KvCache) -> None:
    """Every page is free, or idle under a name, or held; only those that a lane has offered are held by several."""
    held: tuple[list[int], list[int]] = ([], [])
    for lane, state in enumerate(cache._lanes):
        n_pages, n_sliding = cache.n_held(lane)
        for pool, pages, table, first in (
            (cache.full, held[0], cache.full_table[lane], 0),
            (cache.sliding, held[1], cache.sliding_table[lane], n_pages - n_sliding),
        ):
            pages += table[first:n_pages].tolist()
            own = table[max(first, state.n_named) : n_pages].tolist()
            assert all(pool._holders[page] == 1 for page in own), "a page is shared before it is full"
    for pool, pages in zip((cache.full, cache.sliding), held, strict=True):
        audit_pool(pool, Counter(pages))


def audit_pool(pool: PagePool, holders: Counter[int]) -> None:
    idle = [*pool._plain, *pool._marked]
    assert sorted([*pool._free, *idle, *holders]) == list(range(pool.n_pages)), "a page is lost, or in two places"
    assert pool._holders == [holders[page] for page in range(pool.n_pages)]
    assert {name: page for page, name in enumerate(pool._names) if name} == pool._page_of
    assert all(pool._names[page] for page in idle), "an idle page can be found"
    assert not any(pool._names[page] or pool._is_marked[page] for page in pool._free)
    assert all(pool._is_marked[page] for page in pool._marked) and not any(
        pool._is_marked[page] for page in pool._plain
    )
    assert len(idle) <= pool.n_kept


def may_write(pool: PagePool, pages: Iterable[int]) -> bool:
    """Each of these pages is one request's own, and not yet full."""
    return all(pool._holders[page] == 1 and not pool._names[page] for page in set(pages))
