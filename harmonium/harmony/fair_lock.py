"""A lock that goes round among those who ask for it, so that nobody waits for all that another one wants.

It goes to whoever held it the longest ago, or never. Few may wait: where every place is taken, an asker that has fewer
of them gets the last one of the asker that has most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class NoTurn(Exception):
    """A claim did not get its turn."""


class Claim:
    """What somebody asks the lock with, once at a time. asker: who shares a turn with whoever has the same."""

    def __init__(self, asker: str) -> None:
        self.asker = asker
        self.is_over = False


class FairLock:
    """n_places: of the claim that holds the lock, and of those that wait."""

    def __init__(self, n_places: int) -> None:
        self._n_places = n_places
        self._changed = Condition()
        self._holder: Claim | None = None
        self._waiting: list[Claim] = []
        self._last: dict[str, int] = {}  # askers, and the turn that was their last one
        self._n_turns = 0

    @contextmanager
    def held(self, claim: Claim, within_s: float) -> Iterator[None]:
        """Raises NoTurn where it is not had within that time, lost its place to another asker, or is over."""
        self._wait(claim, within_s)
        try:
            yield
        finally:
            with self._changed:
                self._holder = None
                self._changed.notify_all()

    def leave(self, claim: Claim) -> None:
        """A claim is over: it waits no more, and never will."""
        with self._changed:
            claim.is_over = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody gets it any more; returns when nobody holds it."""
        with self._changed:
            self._n_places = 0
            self._waiting.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._holder is None)

    def _wait(self, claim: Claim, within_s: float) -> None:
        """Until the claim holds the lock."""
        with self._changed:
            if len(self._waiting) + (self._holder is not None) >= self._n_places:
                self._make_room(claim.asker)
            self._waiting.append(claim)
            self._changed.wait_for(lambda: self._is_out(claim) or self._next() is claim, within_s)
            is_next = not self._is_out(claim) and self._next() is claim
            if claim in self._waiting:
                self._waiting.remove(claim)
            if not is_next:
                self._changed.notify_all()  # it may have been the next one
                raise NoTurn
            self._holder = claim
            self._n_turns += 1
            self._last[claim.asker] = self._n_turns

    def _is_out(self, claim: Claim) -> bool:
        return claim.is_over or claim not in self._waiting

    def _next(self) -> Claim | None:
        """Of the claims of one asker the first that came."""
        if self._holder is not None:
            return None
        return min(self._waiting, key=lambda claim: self._last.get(claim.asker, 0), default=None)

    def _make_room(self, asker: str) -> None:
        """Raises NoTurn where nobody has two places more."""
        taken = Counter(claim.asker for claim in (self._holder, *self._waiting) if claim is not None)
        most = max(self._waiting, key=lambda claim: taken[claim.asker], default=None)
        if most is None or taken[most.asker] <= taken[asker] + 1:
            raise NoTurn
        self._waiting.remove([claim for claim in self._waiting if claim.asker == most.asker][-1])
        self._changed.notify_all()
