"""How much each API key may ask for: requests a minute, and requests at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harmonium.errors import Busy


class Limits:
    """per_minute: a bucket of so many requests that fills evenly; at_once: that run or wait. None is no limit."""

    def __init__(
        self, per_minute: int | None, at_once: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute, self._at_once, self._clock = per_minute, at_once, clock
        self._running: Counter[str] = Counter()
        self._buckets: dict[str, tuple[float, float]] = {}  # what was left of a key's bucket, and when

    @contextmanager
    def admitted(self, key: str) -> Iterator[None]:
        """For as long as a request lasts. Raises Busy, which says when to come again."""
        if self._at_once is not None and self._running[key] >= self._at_once:
            raise Busy(f"{self._at_once} requests of this API key run already, which is its limit; wait for one.")
        self._take(key)
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]

    def _take(self, key: str) -> None:
        if self._per_minute is None:
            return
        now, rate = self._clock(), self._per_minute / 60
        left, since = self._buckets.get(key, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + rate * (now - since))
        if left < 1:
            self._buckets[key] = left, now
            seconds = (1 - left) / rate
            raise Busy(
                f"This API key may send {self._per_minute} requests a minute; send the next one in {seconds:.1f} s.",
                retry_after_s=seconds,
            )
        self._buckets[key] = left - 1, now
