"""Holds a keyboard interrupt back while an engine's books change, so that it finds them right; no torch.

Python raises KeyboardInterrupt between any two instructions of the main thread: a page might be taken and not yet
noted, an id appended and not yet told. What takes long and keeps no books, as computing a model and waiting for a
device, may be interrupted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """held() around what must not be torn apart, allowed() around what may be, inside of it."""

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], object] | None = None  # whose turn it is at the end of held()
        self._is_allowed = self._has_come = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """An interrupt that comes within is raised at the end. Other threads get none."""
        handler = signal.getsignal(signal.SIGINT)
        if self._handler or not callable(handler) or threading.current_thread() is not threading.main_thread():
            yield
            return
        try:  # whatever comes from here on, nothing is left as it is inside
            self._handler, self._is_allowed, self._has_come = handler, False, False
            signal.signal(signal.SIGINT, self._take)
            yield
        finally:
            self._handler = None
            signal.signal(signal.SIGINT, handler)
            if self._has_come:
                handler(signal.SIGINT, None)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """An interrupt that has come, or comes within, is raised here."""
        try:
            self._is_allowed = True
            if self._handler and self._has_come:
                self._has_come = False
                self._handler(signal.SIGINT, None)
            yield
        finally:
            self._is_allowed = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._handler and self._is_allowed:
            self._handler(number, frame)
        else:
            self._has_come = True
