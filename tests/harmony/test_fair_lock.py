"""The lock goes round: whoever asks for it often does not keep it from whoever asks seldom."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest

from harmonium.harmony.fair_lock import Claim, FairLock, NoTurn


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        Event().wait(0.002)
    raise AssertionError("it never came about")


class Line:
    """Claims that wait in threads of their own for a lock that is held, until it is released. order: who had it."""

    def __init__(self, n_places: int) -> None:
        self.lock, self.order, self._end = FairLock(n_places), list[str](), ExitStack()
        self._threads = self._end.enter_context(ThreadPoolExecutor(16))
        self._hold = self._end.enter_context(ExitStack())
        self._hold.enter_context(self.lock.held(Claim("first"), 1))

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()
        self._end.close()

    def release(self) -> None:
        self._hold.close()

    def ask(self, asker: str, within_s: float = 30) -> tuple[Claim, Future[None]]:
        """Returns when the claim waits, or got no place."""
        claim = Claim(asker)
        future = self._threads.submit(self._take, claim, within_s)
        until(lambda: claim in self.lock._waiting or future.done())
        return claim, future

    def _take(self, claim: Claim, within_s: float) -> None:
        with self.lock.held(claim, within_s):
            self.order.append(claim.asker)


def test_askers_take_turns() -> None:
    with Line(16) as line:
        asked = [line.ask(asker)[1] for asker in ("a", "a", "a", "first", "b", "a", "b", "c")]
        line.release()
        for future in asked:
            future.result(30)
        assert line.order == ["a", "b", "c", "first", "a", "b", "a", "a"]


def test_whoever_has_most_places_gives_them_up() -> None:
    with Line(5) as line:
        greedy = [line.ask("a") for _ in range(6)]
        assert [future.done() for _, future in greedy] == [False] * 4 + [True] * 2
        with pytest.raises(NoTurn):
            greedy[4][1].result()
        others = [line.ask(asker) for asker in ("b", "b", "b")]
        with pytest.raises(NoTurn):
            others[2][1].result(30)  # of four places two are theirs
        for _, future in greedy[2:4]:
            with pytest.raises(NoTurn):
                future.result(30)
        line.release()
        until(lambda: len(line.order) == 4)
        assert line.order == ["a", "b", "a", "b"]


def test_who_leaves_waits_no_more_and_never_comes_back() -> None:
    with Line(8) as line:
        gone, future = line.ask("a")
        late = line.ask("a", within_s=0.01)[1]
        stays = line.ask("a")[1]
        line.lock.leave(gone)
        for ended in (future, late):
            with pytest.raises(NoTurn):
                ended.result(30)
        with pytest.raises(NoTurn), line.lock.held(gone, 1):
            raise AssertionError("it is over")
        line.release()
        stays.result(30)
        assert line.order == ["a"] and not line.lock._waiting


def test_closing_ends_who_waits_and_waits_for_who_holds_it() -> None:
    with Line(8) as line:
        waits = line.ask("a")[1]
        closing = line._threads.submit(line.lock.close)
        with pytest.raises(NoTurn):
            waits.result(30)
        assert not closing.done()
        line.release()
        closing.result(30)
        with pytest.raises(NoTurn), line.lock.held(Claim("a"), 1):
            raise AssertionError("it is closed")
