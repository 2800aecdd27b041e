"""When requests have to have ended: the times of those that have one, in order; no torch."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping

from harmonium.engine.request import Request


class Deadlines:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []  # times, and the ids of their requests

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, request_id: int, deadline: float) -> None:
        """deadline: by `time.monotonic`."""
        heapq.heappush(self._heap, (deadline, request_id))

    def over(self, requests: Mapping[int, Request]) -> list[Request]:
        """Those of these requests, by their ids, whose time is over. Nobody keeps the times of any other."""
        found: list[Request] = []
        while self._heap:
            deadline, request_id = self._heap[0]
            request = requests.get(request_id)
            if request is not None and deadline > time.monotonic():
                break
            heapq.heappop(self._heap)
            if request is not None:
                found.append(request)
        return found
