"""Who runs next: decode and chunked prefill share every step under one budget of tokens. Plain Python, no torch.

A step first gives every decoding request its token, so that a long prompt never holds up an answer that streams. Then
come the prompts, oldest first, each by at most half of the tokens left, so that none holds up those behind it; then
waiting requests, in their order, while lanes, tokens and pages for all their known tokens are there. What is left after
that goes to the prompts again.

When pages run out, the youngest running request goes back to the head of the queue and is computed again later from
its ids; the oldest always advances, and alone it always fits, so all of them end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.engine.request import Request
from harmonium.errors import Busy


@dataclass(frozen=True, slots=True)
class Row:
    """One request's part of a step: its tokens [start, start + n_tokens).

    is_sampled: they end with the last token known, so that the step brings a new one.
    """

    request: Request
    start: int
    n_tokens: int
    is_sampled: bool


class Scheduler:
    """Queue and running requests of one cache. It alone gives out lanes and pages and takes them back."""

    def __init__(self, cache: KvCache, n_lanes: int, token_budget: int, queue_limit: int) -> None:
        assert token_budget >= n_lanes, "every running request can decode in one step"
        self.cache, self.token_budget, self.queue_limit = cache, token_budget, queue_limit
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.n_preemptions = 0
        self._lanes = list(range(n_lanes - 1, -1, -1))

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= self.queue_limit

    def add(self, request: Request) -> None:
        """Queues a request younger than all others. Raises Busy where the queue is full."""
        if self.is_full:
            raise Busy(f"{len(self.waiting)} requests are waiting, which is the limit; send this one again later.")
        self.waiting.append(request)

    def remove(self, request: Request) -> None:
        """Takes a request out, wherever it stands, with all that it holds."""
        if request.lane < 0:
            self.waiting.remove(request)
            return
        self.running.remove(request)
        self._vacate(request)

    def schedule(self) -> list[Row]:
        """The next step's rows, with pages reserved for them; none when nothing is left to do."""
        chosen: dict[Request, int] = {}
        left = self.token_budget
        prefilling = [request for request in self.running if request.n_pending > 1]
        for request in [request for request in self.running if request.n_pending == 1]:
            left -= self._place(request, left, chosen)
        for request in prefilling:
            left -= self._place(request, (left + 1) // 2, chosen)
        while left and self._can_admit():
            request = self.waiting.popleft()
            request.lane, request.synced_at = self._lanes.pop(), -1
            self.running.append(request)
            prefilling.append(request)
            left -= self._place(request, (left + 1) // 2, chosen)
        for request in prefilling:
            left -= self._place(request, left, chosen)
        return [Row(request, request.n_computed, n, n == request.n_pending) for request, n in chosen.items()]

    def complete(self, row: Row) -> None:
        """Notes that the row's tokens are computed, and gives back the pages that slid out of its window."""
        request = row.request
        request.n_computed = row.start + row.n_tokens
        self.cache.release_behind(request.lane, request.n_computed)

    def _place(self, request: Request, most: int, chosen: dict[Request, int]) -> int:
        """Gives the request up to `most` further tokens of the step and reserves their pages; returns how many."""
        if not most or request.lane < 0:
            return 0
        had = chosen.get(request, 0)
        wanted = request.n_computed + min(request.n_pending, had + most)
        while (length := min(wanted, self.cache.room(request.lane))) <= request.n_computed:
            youngest = self.running[-1]
            chosen.pop(youngest, None)
            self._preempt(youngest)
            if youngest is request:
                return 0
        self.cache.extend(request.lane, length)
        chosen[request] = length - request.n_computed
        return chosen[request] - had

    def _can_admit(self) -> bool:
        """The oldest waiting request finds a lane, and pages for all its known tokens beside what others still need."""
        if not (self.waiting and self._lanes):
            return False
        promised = sum(
            pages_for(len(request.tokens)) - self.cache.n_held(request.lane)[0]
            for request in self.running
            if request.n_pending > 1
        )
        wanted = pages_for(len(self.waiting[0].tokens) + 1)
        has_full = self.cache.full.n_free - promised >= min(wanted, self.cache.full_table.shape[1])
        return has_full and self.cache.sliding.n_free > 0

    def _preempt(self, request: Request) -> None:
        self.n_preemptions += 1
        self.running.remove(request)
        self._vacate(request)
        request.n_computed = 0
        self.waiting.appendleft(request)

    def _vacate(self, request: Request) -> None:
        self.cache.free(request.lane)
        self._lanes.append(request.lane)
        request.lane = -1
