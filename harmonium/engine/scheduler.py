"""Who runs next: decode and chunked prefill share every step under one budget of tokens. Plain Python, no torch.

Requests are ranked: higher priority first, then the older ones. A step first gives every decoding request its token, so
that a long prompt never holds up an answer that streams. Then come the prompts in their order, each by at most half of
the tokens left, so that none holds up those behind it; then waiting requests, in their order, while lanes, tokens and
pages for all their known tokens are there. What is left after that goes to the prompts again.

A step may be scheduled while another one still runs: what that one computes counts as computed, and a decoding request
goes on from an id that only the device knows, unless the host has to see it first (`Request.awaits_host`). Nobody is
preempted then.

A request begins with the pages that the cache still has of its tokens. Where a request ahead of it is just computing
the next page that it needs, it waits for that page and lets others pass.

When pages run out, the running request of the last rank goes back into the queue and is computed again later from its
ids, as far as its pages are lost; the first one always advances, and alone it always fits, so all of them end. Those of
lower priority go back in the same way when a waiting request needs their place, if all of them together have enough.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter

from harmonium.engine.kv_cache import KvCache, PagePool, extend_names, pages_for
from harmonium.engine.request import Request
from harmonium.errors import BadRequest, Busy
from harmonium.model.config import PAGE_SIZE

RANK = attrgetter("rank")


@dataclass(frozen=True, slots=True)
class Row:
    """One request's part of a step: its tokens [start, start + n_tokens).

    is_sampled: they end with the last token known, so that the step brings a new one. drafts: ids computed after it,
    which n_tokens does not count, to see whether they are what would be sampled.
    """

    request: Request
    start: int
    n_tokens: int
    is_sampled: bool
    drafts: tuple[int, ...] = ()

    @property
    def stop(self) -> int:
        """The position after the last that is computed."""
        return self.start + self.n_tokens + len(self.drafts)


class Scheduler:
    """Queue and running requests of one cache. It alone gives out lanes and pages and takes them back.

    end_ids: ids after which requests tend to part; what one needs that goes on there stays in the cache the longest.
    """

    def __init__(
        self, cache: KvCache, n_lanes: int, token_budget: int, queue_limit: int, end_ids: Collection[int] = ()
    ) -> None:
        assert token_budget >= n_lanes, "every running request can decode in one step"
        self.cache, self.token_budget, self.queue_limit = cache, token_budget, queue_limit
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.n_preemptions = 0
        self._lanes = list(range(n_lanes - 1, -1, -1))
        self._end_ids = frozenset(end_ids)
        self._may_preempt = True
        self._is_short = False  # of pages, which only a preemption could have brought
        self._refused: tuple[int, PagePool, int] | None = (
            None  # who found no place, where, and what was given back then
        )
        self._computing: dict[bytes, Request] = {}  # pages that running requests have yet to fill with known tokens

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= self.queue_limit

    def check_room(self, n: int = 1) -> None:
        """Raises Busy where the queue does not take n more, BadRequest where it never would."""
        if n > self.queue_limit:
            raise BadRequest(f"n is {n}, and {self.queue_limit} requests may wait at once; ask for fewer.", param="n")
        if len(self.waiting) + n > self.queue_limit:
            raise Busy(
                f"{len(self.waiting)} requests are waiting, and {self.queue_limit} may; send this one again later."
            )

    def add(self, request: Request) -> None:
        """Queues a request. Raises Busy where the queue is full."""
        self.check_room()
        insort(self.waiting, request, key=RANK)

    def remove(self, request: Request, *, is_faulty: bool = False) -> None:
        """Takes a request out, wherever it stands, with all that it holds. What a faulty one computed is forgotten."""
        if request.lane < 0:
            self.waiting.remove(request)
        else:
            self.running.remove(request)
            self._vacate(request)
        if is_faulty:
            self.cache.forget(request.names)

    def begin_anew(self, request: Request) -> Request:
        """Puts a request back that ran on pages which may be wrong, and forgets those; returns what takes its place."""
        self.remove(request, is_faulty=True)
        fresh = request.anew()
        insort(self.waiting, fresh, key=RANK)
        return fresh

    def schedule(self, *, is_ahead: bool = False) -> list[Row]:
        """The next step's rows, with pages reserved for them; none when nothing is left to do.

        is_ahead: a step still runs. There are no rows then either where somebody would have to be preempted for them.
        The requests count as computed up to the ends of their rows, until `complete`, or `withdraw`, says otherwise.
        """
        self._may_preempt, self._is_short = not is_ahead, False
        chosen: dict[Request, int] = {}
        left = self.token_budget
        prefilling = [request for request in self.running if request.n_pending > 1]
        for request in [r for r in self.running if r.n_pending == 1 and not r.awaits_host]:
            left -= self._place(request, left, chosen)
        for request in prefilling:
            left -= self._place(request, (left + 1) // 2, chosen)
        while left and (admitted := self._admit(chosen)) is not None:
            prefilling.append(admitted)
            left -= self._place(admitted, (left + 1) // 2, chosen)
        for request in prefilling:
            left -= self._place(request, left, chosen)
        if self._is_short:
            for request in chosen:
                self.cache.shrink(request.lane, request.n_computed)
            return []
        rows = []
        for request, n in chosen.items():
            drafts = self._drafts(request, left) if request.drafts and request.n_pending == 1 else ()
            left -= len(drafts)
            row = Row(request, request.n_computed, n, n == request.n_pending, drafts)
            rows.append(row)
            request.n_computed += n
            request.n_flying += row.is_sampled
        return rows

    def withdraw(self, row: Row) -> None:
        """The row was not computed after all. Rows that follow it are withdrawn before it."""
        row.request.n_computed = row.start
        row.request.n_flying -= row.is_sampled
        self.cache.shrink(row.request.lane, row.start)

    def complete(self, row: Row, n_stood: int = 0) -> None:
        """Notes that the row's tokens are computed, offers its full pages, gives back those out of its window.

        n_stood: how many of its drafts are now tokens; what was computed for the others is as if it had never been.
        """
        request, stop = row.request, row.start + row.n_tokens + n_stood
        request.n_flying -= row.is_sampled
        request.n_computed += n_stood
        if n_stood < len(row.drafts):
            self.cache.shrink(request.lane, stop)
        n_full = stop // PAGE_SIZE
        if n_full > row.start // PAGE_SIZE:
            extend_names(request.names, request.tokens, n_full)
            self.cache.name(request.lane, request.names, n_full)
            for name in request.names[row.start // PAGE_SIZE : n_full]:
                self._has_computed(request, name)
        new = request.tokens[row.start : stop]
        ends: list[int] = []
        if not self._end_ids.isdisjoint(new):
            ends = [i for i, token in enumerate(new, row.start + 1) if token in self._end_ids]
        for length in [*ends, request.n_prompt] if row.start < request.n_prompt <= stop else ends:
            self.cache.mark(request.lane, length)
        self.cache.release_behind(request.lane, stop)

    def _place(self, request: Request, most: int, chosen: dict[Request, int]) -> int:
        """Gives the request up to `most` further tokens of the step and reserves their pages; returns how many."""
        if not most or request.lane < 0:
            return 0
        had = chosen.get(request, 0)
        wanted = request.n_computed + min(request.n_pending, had + most)
        while (length := min(wanted, self.cache.room(request.lane, wanted))) <= request.n_computed:
            if not self._may_preempt:
                self._is_short = True
                return 0
            last = self.running[-1]
            self._preempt(last, chosen)
            if last is request:
                return 0
        self.cache.extend(request.lane, length)
        chosen[request] = length - request.n_computed
        return chosen[request] - had

    def _drafts(self, request: Request, most: int) -> tuple[int, ...]:
        """As many of the request's drafts as fit, with their pages reserved: nobody gives way for a guess."""
        known = len(request.tokens)
        fitting = min(most, request.max_length - known - 1, self.cache.room(request.lane) - known)
        drafts = request.drafts[: max(0, fitting)]
        self.cache.extend(request.lane, known + len(drafts))
        return drafts

    def _admit(self, chosen: dict[Request, int]) -> Request | None:
        """Gives a lane to the first waiting request that waits for no other, if it finds one, and pages."""
        request = self._first_waiting()
        if request is None:
            return None
        names = request.names[: self._n_cached(request)]
        while (lacking := self._lacks(request, names)) is not None:
            lower = [other for other in self.running if other.priority < request.priority]
            if lower:
                lacking = self._lacks(request, names, lower)
            if lacking is not None:  # nobody gives way where that would not do
                self._refused = request.id, lacking, lacking.n_given
                return None
            if not self._may_preempt:
                self._is_short = True
                return None
            self._preempt(lower[-1], chosen)
            names = request.names[: self._n_cached(request)]
        self.waiting.remove(request)
        request.lane = self._lanes.pop()
        request.forget_device()
        self.cache.share(request.lane, names)
        request.n_computed = request.n_taken = len(names) * PAGE_SIZE
        if request.n_cached < 0:
            request.n_cached = request.n_computed
        for name in request.names[len(names) :]:
            self._computing.setdefault(name, request)
        insort(self.running, request, key=RANK)
        return request

    def _first_waiting(self) -> Request | None:
        """The first waiting request, but for those that wait for a page of another."""
        if not self._lanes and not (self.waiting and self.running[-1].priority < self.waiting[0].priority):
            return None
        for request in self.waiting:
            if request.waits_for and self._computes_ahead(request, request.waits_for):
                continue
            if self.running and self._is_refused(request):
                return None
            extend_names(request.names, request.tokens, len(request.tokens) // PAGE_SIZE)
            n_cached = self._n_cached(request)
            next_name = request.names[n_cached] if n_cached < self._n_reusable(request) else b""
            request.waits_for = next_name if self._computes_ahead(request, next_name) else b""
            if not request.waits_for:
                return request
        return None

    def _computes_ahead(self, request: Request, name: bytes) -> bool:
        """A request that is served before this one is about to fill the page of that name."""
        other = self._computing.get(name)
        return other is not None and other.rank < request.rank

    def _n_reusable(self, request: Request) -> int:
        """Pages that a request may take over at most: its last token is computed, for what comes after it."""
        return 0 if request.is_alone else (len(request.tokens) - 1) // PAGE_SIZE

    def _n_cached(self, request: Request) -> int:
        return self.cache.match(request.names[: self._n_reusable(request)])

    def _is_refused(self, request: Request) -> bool:
        """It found no place, and none of the pages that it lacked has been given back since."""
        if self._refused is None:
            return False
        request_id, lacking, n_given = self._refused
        return request_id == request.id and lacking.n_given == n_given

    def _lacks(self, request: Request, names: list[bytes], without: Sequence[Request] = ()) -> PagePool | None:
        """The group that has too few pages for all the known tokens, beside what others still need for theirs; or None.

        names: of the pages that it can take over. Where there is no lane it is the full pages: they come back with one.
        without: running requests that are taken to have given back what they hold.
        """
        if not self._lanes and not without:
            return self.cache.full
        promised = sum(
            pages_for(len(other.tokens)) - self.cache.n_held(other.lane)[0]
            for other in self.running
            if other.n_pending > 1 and other not in without
        )
        n_wanted = min(pages_for(len(request.tokens) + 1), self.cache.full_table.shape[1]) - len(names)
        full, sliding = self.cache.held_only_by([other.lane for other in without])
        n_full, n_sliding = self.cache.n_idle(names, full, sliding)
        if self.cache.full.n_free + len(full) - n_full - promised < n_wanted:
            return self.cache.full
        return self.cache.sliding if self.cache.sliding.n_free + len(sliding) <= n_sliding else None

    def _preempt(self, request: Request, chosen: dict[Request, int]) -> None:
        chosen.pop(request, None)
        self.n_preemptions += 1
        self.running.remove(request)
        self._vacate(request)
        request.n_computed = 0
        insort(self.waiting, request, key=RANK)

    def _vacate(self, request: Request) -> None:
        self.cache.mark(request.lane, request.n_computed)
        self.cache.free(request.lane)
        for name in request.names:
            self._has_computed(request, name)
        self._lanes.append(request.lane)
        request.lane = -1

    def _has_computed(self, request: Request, name: bytes) -> None:
        """The request fills this page no more."""
        if self._computing.get(name) is request:
            del self._computing[name]
