"""Which page of the key/value cache holds which positions of which request: bookkeeping in plain Python, no torch.

There are two groups of pages, because half of the layers see only a window: full pages are kept while their request
runs, sliding pages go back as soon as no later token can see them. A running request has a lane, its row in both page
tables; tables are indexed by absolute position, and entries for released or unreached positions are stale.

A page that is full has a name, the digest of all tokens up to its end, and stays findable when its last holder gives it
back. A request that begins with n pages of known tokens takes them over, without a copy: full pages [0, n) and the
sliding pages of the window that ends there, or as many pages as both are there for. Nobody writes into a named page.

Invariant: every page of a group is free, or idle (named and held by nobody), or held by one lane or, if named, several.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from harmonium.model.config import PAGE_SIZE


class PagePool:
    """The pages of one group, of which at most n_kept stay idle: those used last, and marked ones the longest.

    Pages without a name are taken first, those given back last before all: they are warm, and untouched ones stay so.
    """

    def __init__(self, n_pages: int, n_kept: int | None = None) -> None:
        self.n_pages = n_pages
        self.n_kept = n_pages if n_kept is None else n_kept
        self.n_given = 0  # how often a page was given back, so that one can see whether any was
        self._free = list(range(n_pages - 1, -1, -1))
        self._holders = [0] * n_pages
        self._names: list[bytes] = [b""] * n_pages
        self._page_of: dict[bytes, int] = {}
        self._is_marked = bytearray(n_pages)
        self._plain: OrderedDict[int, None] = OrderedDict()  # idle pages, least recently used first
        self._marked: OrderedDict[int, None] = OrderedDict()

    @property
    def n_free(self) -> int:
        """Pages that can be taken: the free and the idle ones."""
        return len(self._free) + len(self._plain) + len(self._marked)

    @property
    def n_idle(self) -> int:
        return len(self._plain) + len(self._marked)

    def take(self) -> int:
        """A page without a name, for one holder."""
        if not self._free:
            self._evict()
        page = self._free.pop()
        self._holders[page] = 1
        return page

    def find(self, name: bytes) -> int:
        """The page of that name, or -1."""
        return self._page_of.get(name, -1)

    def is_idle(self, page: int) -> bool:
        return not self._holders[page]

    def all_held(self, counts: Mapping[int, int]) -> set[int]:
        """The pages whose holders are all counted."""
        return {page for page, n in counts.items() if n == self._holders[page]}

    def share(self, page: int) -> None:
        """Adds a holder to a named page."""
        if not self._holders[page]:
            del (self._marked if self._is_marked[page] else self._plain)[page]
        self._holders[page] += 1

    def name(self, page: int, name: bytes) -> None:
        """Makes a full page findable; a second page with the same tokens stays its holder's own."""
        if self._page_of.setdefault(name, page) == page:
            self._names[page] = name

    def mark(self, page: int) -> None:
        """Marks a page that is held: once idle, it is evicted after those without a mark."""
        self._is_marked[page] = True

    def give(self, page: int) -> None:
        """One holder less; the last one leaves a named page idle, and any other free."""
        self.n_given += 1
        self._holders[page] -= 1
        if self._holders[page]:
            return
        if not self._names[page]:
            self._is_marked[page] = False
            self._free.append(page)
            return
        (self._marked if self._is_marked[page] else self._plain)[page] = None
        if self.n_idle > self.n_kept:
            self._evict()

    def give_all(self, pages: NDArray[np.int32]) -> None:
        """Gives back a lane's pages, its end first: beginnings are of more use to others."""
        for page in pages[::-1].tolist():
            self.give(page)

    def forget(self, name: bytes) -> None:
        """Makes the page of that name, if there is one, unfindable."""
        page = self._page_of.pop(name, -1)
        if page < 0:
            return
        self._names[page] = b""
        if not self._holders[page]:
            del (self._marked if self._is_marked[page] else self._plain)[page]
            self._is_marked[page] = False
            self._free.append(page)

    def forget_idle(self) -> None:
        """Frees all idle pages."""
        while self.n_idle:
            self._evict()

    def _evict(self) -> None:
        self.forget(self._names[next(iter(self._plain or self._marked))])


@dataclass(slots=True)
class Lane:
    """Pages [0, n_pages) of the lane's positions were reserved; of the sliding ones those before `first` went back.

    The first n_named were offered to others.
    """

    n_pages: int = 0
    first: int = 0
    n_named: int = 0


class KvCache:
    """Both groups' pages and tables, for n_lanes requests of at most max_length tokens each.

    full_table, sliding_table: (n_lanes, pages of max_length) int32, as `PageGroup.table` wants them. n_kept: idle pages
    kept in each group, None for as many as there are.
    """

    def __init__(
        self,
        n_lanes: int,
        max_length: int,
        window: int,
        n_full_pages: int,
        n_sliding_pages: int,
        n_kept: int | None = None,
    ) -> None:
        width = pages_for(max_length)
        assert n_full_pages >= width, "one request of full length fits alone"
        assert n_sliding_pages > pages_for(window), "one window fits, wherever its pages begin"
        self.window = window
        self.full, self.sliding = PagePool(n_full_pages, n_kept), PagePool(n_sliding_pages, n_kept)
        self.full_table: NDArray[np.int32] = np.zeros((n_lanes, width), np.int32)
        self.sliding_table: NDArray[np.int32] = np.zeros((n_lanes, width), np.int32)
        self._lanes = [Lane() for _ in range(n_lanes)]

    def n_held(self, lane: int) -> tuple[int, int]:
        """Full and sliding pages that the lane holds."""
        held = self._lanes[lane]
        return held.n_pages, held.n_pages - held.first

    def room(self, lane: int, enough: int | None = None) -> int:
        """The longest length that the lane could be extended to with the pages that are free now.

        Where its own pages hold `enough` already, which is so in 15 of 16 steps, free ones are not counted.
        """
        held = self._lanes[lane].n_pages
        if enough is not None and enough <= held * PAGE_SIZE:
            return held * PAGE_SIZE
        return (held + min(self.full.n_free, self.sliding.n_free)) * PAGE_SIZE

    def match(self, names: Sequence[bytes]) -> int:
        """How many pages at the beginning of a request, whose pages have these names, could be taken over now."""
        best = n_window = 0
        for n, name in enumerate(names, 1):
            if self.full.find(name) < 0:
                break
            n_window = n_window + 1 if self.sliding.find(name) >= 0 else 0
            if n_window >= n - self._first_seen(n * PAGE_SIZE):
                best = n
        return best

    def held_only_by(self, lanes: Sequence[int]) -> tuple[set[int], set[int]]:
        """Full and sliding pages that nobody would hold if these lanes gave theirs back."""
        full: Counter[int] = Counter()
        sliding: Counter[int] = Counter()
        for lane in lanes:
            held = self._lanes[lane]
            full.update(self.full_table[lane, : held.n_pages].tolist())
            sliding.update(self.sliding_table[lane, held.first : held.n_pages].tolist())
        return self.full.all_held(full), self.sliding.all_held(sliding)

    def n_idle(
        self, names: Sequence[bytes], full: Collection[int] = (), sliding: Collection[int] = ()
    ) -> tuple[int, int]:
        """Full and sliding pages that `share` would take out of the idle ones, as if those of `full` and `sliding` were
        idle, too."""
        first = self._first_seen(len(names) * PAGE_SIZE)
        pages = [self.full.find(name) for name in names], [self.sliding.find(name) for name in names[first:]]
        return (
            sum(page in full or self.full.is_idle(page) for page in pages[0]),
            sum(page in sliding or self.sliding.is_idle(page) for page in pages[1]),
        )

    def share(self, lane: int, names: Sequence[bytes]) -> None:
        """Begins an empty lane with the pages of these names, as `match` found them."""
        held = self._lanes[lane]
        assert held.n_pages == 0, "the lane is empty"
        held.n_pages = held.n_named = len(names)
        held.first = self._first_seen(len(names) * PAGE_SIZE)
        for index, name in enumerate(names):
            page = self.full.find(name)
            self.full.share(page)
            self.full_table[lane, index] = page
        for index in range(held.first, len(names)):
            page = self.sliding.find(names[index])
            self.sliding.share(page)
            self.sliding_table[lane, index] = page

    def extend(self, lane: int, length: int) -> None:
        """Reserves pages so that positions [0, length) have places; length is within `room`."""
        held, n_pages = self._lanes[lane], pages_for(length)
        if n_new := max(0, n_pages - held.n_pages):
            self.full_table[lane, held.n_pages : n_pages] = [self.full.take() for _ in range(n_new)]
            self.sliding_table[lane, held.n_pages : n_pages] = [self.sliding.take() for _ in range(n_new)]
            held.n_pages = n_pages

    def shrink(self, lane: int, length: int) -> None:
        """Gives back the pages that were reserved for positions from `length` on, where that is a page's begin."""
        held, n_pages = self._lanes[lane], pages_for(length)
        assert max(held.n_named, held.first) <= n_pages, "what is given back was written for nothing"
        for table, pool in ((self.full_table, self.full), (self.sliding_table, self.sliding)):
            pool.give_all(table[lane, n_pages : held.n_pages])
        held.n_pages = min(held.n_pages, n_pages)

    def name(self, lane: int, names: Sequence[bytes], n_pages: int) -> None:
        """Offers the lane's pages up to n_pages, which are full of computed tokens and not yet released, to others."""
        held = self._lanes[lane]
        new = slice(held.n_named, n_pages)
        for table, pool in ((self.full_table, self.full), (self.sliding_table, self.sliding)):
            for page, name in zip(table[lane, new].tolist(), names[new], strict=True):
                pool.name(page, name)
        held.n_named = n_pages

    def mark(self, lane: int, length: int) -> None:
        """Keeps the longest what a request needs that parts from this one around `length`: the window's pages there."""
        held, n_full = self._lanes[lane], length // PAGE_SIZE
        for index in range(max(held.first, self._first_seen(n_full * PAGE_SIZE)), min(n_full + 1, held.n_pages)):
            self.sliding.mark(int(self.sliding_table[lane, index]))

    def release_behind(self, lane: int, length: int) -> None:
        """Gives back sliding pages that no token at position `length` or later sees: those before its window."""
        held = self._lanes[lane]
        first = min(self._first_seen(length), held.n_pages)
        if first <= held.first:
            return
        for page in self.sliding_table[lane, held.first : first].tolist():
            self.sliding.give(page)
        held.first = first

    def free(self, lane: int) -> None:
        """Gives back all that the lane holds."""
        held = self._lanes[lane]
        self.full.give_all(self.full_table[lane, : held.n_pages])
        self.sliding.give_all(self.sliding_table[lane, held.first : held.n_pages])
        self._lanes[lane] = Lane()

    def forget(self, names: Sequence[bytes]) -> None:
        """Lets nobody find these pages any more, in either group."""
        for name in names:
            self.full.forget(name)
            self.sliding.forget(name)

    def forget_idle(self) -> None:
        """Frees every page that no lane holds, as if nothing had run before."""
        self.full.forget_idle()
        self.sliding.forget_idle()

    def _first_seen(self, length: int) -> int:
        """The page with the first position that the token at position `length` sees in a sliding layer."""
        return max(0, length - self.window + 1) // PAGE_SIZE


def pages_for(length: int) -> int:
    """Pages that hold positions [0, length)."""
    return -(-length // PAGE_SIZE)


def extend_names(names: list[bytes], tokens: Sequence[int], n_pages: int) -> None:
    """Appends the names of the pages up to n_pages, where tokens (n_pages * PAGE_SIZE and more) begins with names."""
    if len(names) >= n_pages:
        return
    start = len(names) * PAGE_SIZE
    ids = memoryview(array("i", tokens[start : n_pages * PAGE_SIZE]))
    name = names[-1] if names else b""
    for at in range(0, len(ids), PAGE_SIZE):
        name = blake2b(name + ids[at : at + PAGE_SIZE], digest_size=16).digest()
        names.append(name)
