"""One engine for many callers and threads: whoever waits for ids steps it, and every caller's requests move on.

Threads take turns, first come first served, a step at a time. Between steps nobody holds anything, so a tool may ask
the same model a question, and streams may be read side by side. Ctrl-C waits for the end of the step that it meets, so
that the engine is never left half-way through one.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams, StepOutput


class SharedEngine:
    """Hands the engine's outputs to the callers that wait for them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._turnstile = threading.Condition(threading.Lock())
        self._line: deque[object] = deque()  # the threads that want the engine; its head has it
        self._owners: dict[int, Requests] = {}
        self._dropped: deque[int] = deque()  # requests to abort as soon as the engine is free

    @contextmanager
    def requests(self) -> Iterator[Requests]:
        """A caller's requests; those that still run at the end are aborted."""
        requests = Requests(self)
        try:
            yield requests
        finally:
            requests.drop(list(requests.running))

    def add(
        self, owner: Requests, prompt: Sequence[int], params: SamplingParams, constraint: TableConstraint | None
    ) -> int:
        """Queues a request, waiting while the queue is full. Raises what Engine.add raises."""
        with _uninterrupted(), self._alone():
            while self.engine.scheduler.is_full:
                self._step()
            request_id = self.engine.add(prompt, params, constraint)
            self._owners[request_id] = owner
            owner.running.add(request_id)
            return request_id

    def check(self, prompt: Sequence[int], params: SamplingParams) -> None:
        """Raises what `add` would raise for such a request; costs nothing."""
        self.engine.check(prompt, params)

    def wait(self, owner: Requests) -> None:
        """Steps until the owner has outputs; it may be another thread that makes them."""
        while not owner.inbox:
            with _uninterrupted(), self._alone():
                if not owner.inbox:
                    assert self.engine.has_work, "someone else took the outputs of this caller's requests"
                    self._step()

    def drop(self, request_ids: Collection[int]) -> None:
        """Aborts requests, now or when the engine is free. Never waits: generators are closed in odd places."""
        self._dropped.extend(request_ids)
        if self._dropped and self._turnstile.acquire(blocking=False):
            try:
                if not self._line:
                    with _uninterrupted():
                        self._abort_dropped()
            finally:
                self._turnstile.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        ticket = object()
        with self._turnstile:
            self._line.append(ticket)
        try:
            with self._turnstile:
                self._turnstile.wait_for(lambda: self._line[0] is ticket)
            self._abort_dropped()
            yield
        finally:
            with self._turnstile:
                self._line.remove(ticket)
                self._turnstile.notify_all()

    def _step(self) -> None:
        for output in self.engine.step():
            owner = self._owners.get(output.request_id)
            if output.finish_reason is not None:
                self._owners.pop(output.request_id, None)
            if owner is not None:
                owner.inbox.append(output)

    def _abort_dropped(self) -> None:
        while self._dropped:
            request_id = self._dropped.popleft()
            self._owners.pop(request_id, None)
            self.engine.abort(request_id)


class Requests:
    """What one caller has asked for. It belongs to one thread."""

    def __init__(self, shared: SharedEngine) -> None:
        self.running: set[int] = set()
        self.inbox: deque[StepOutput] = deque()
        self._shared = shared

    def add(self, prompt: Sequence[int], params: SamplingParams, constraint: TableConstraint | None = None) -> int:
        """Queues a request and returns its id. Raises what Engine.add raises; a full queue makes it wait."""
        return self._shared.add(self, prompt, params, constraint)

    def take(self) -> list[StepOutput]:
        """The next outputs, at least one; the caller has requests that run."""
        self._shared.wait(self)
        outputs = []
        while self.inbox:
            outputs.append(self.inbox.popleft())
            if outputs[-1].finish_reason is not None:
                self.running.discard(outputs[-1].request_id)
        return outputs

    def drop(self, request_ids: Collection[int]) -> None:
        """Aborts these requests. Outputs that they had before may still be taken."""
        self.running.difference_update(request_ids)
        self._shared.drop(request_ids)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Within it Ctrl-C is remembered and takes effect at the end; a second one takes effect at once."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    handle, signals = before, []

    def remember(number: int, frame: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            handle(number, None)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handle)
        if len(signals) == 1:
            handle(signals[0], None)
