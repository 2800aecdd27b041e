"""The one bridge to asyncio: an engine on a thread of its own, a stream of outputs for each of any number of tasks.

    async with AsyncEngine(engine) as serving, serving.stream(prompt_ids, params) as outputs:
        async for output in outputs:
            ...

Leaving a stream, by its end, an error or its task's cancellation, aborts its request; with the step that is being
computed its pages are free. The engine waits for no reader: ids that come while a stream is not read are joined to one
output, so what is buffered for a slow reader is the answer's ids at most, and its request ends as early as any other.

A stream's first ids and its end are there at once. In between, readers are woken OUTPUTS_PER_S times a second, all of
them counted together, but each of them at least every LONGEST_PAUSE_S (once, at first, half as long again), and get the
ids since then together: to wake one costs as much as several ids. They are woken at the same moments, for each such
moment takes the interpreter from the engine's thread.

Streams of several event loops may share an engine; each belongs to the loop, and the one task, that entered it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from harmonium.engine.constraint import TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams, StepOutput, TokenLogprob
from harmonium.errors import RequestFailed

OUTPUTS_PER_S, LONGEST_PAUSE_S = 320, 0.1
"""Of all streams together, first and last ones apart: each costs its reader a tenth of a millisecond. And how long one
waits for that at most.
"""
EARLY_S = 0.001
"""How early an event loop's timer may ring: its clock has steps of a millisecond."""


class Stream:
    """One request's outputs in order, the last with a finish reason. Entering it queues the request."""

    def __init__(self, serving: AsyncEngine, add: Callable[[], int]) -> None:
        self.request_id = -1
        self._serving, self._add = serving, add
        self._is_over = False
        self._due_s = 0.0  # when its reader may be woken again, in its loop's time
        self._reader: asyncio.Future[None] | None = None  # waits; a bare future, for there is one for every token
        self._lock = threading.Lock()  # for what the engine's thread fills in
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._last: StepOutput | None = None
        self._newest_s = 0.0
        self.first_s = 0.0
        """When the request's first ids were drawn, on time.monotonic's clock."""
        self.drawn_s = 0.0
        """When the newest of the ids that were read last were drawn, however long ago that was."""
        self._error: str | None = None

    async def __aenter__(self) -> Stream:
        """Raises what Engine.add raises, and RequestFailed where the engine has stopped."""
        self.loop = asyncio.get_running_loop()
        try:
            await asyncio.wrap_future(self._serving._ask(lambda: self._serving._begin(self)))
        except BaseException:
            self._serving._drop(self)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._is_over:
            self._is_over = True
            self._serving._drop(self)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StepOutput:
        """The ids since the last one. Raises RequestFailed where the engine stops before the request ends."""
        if self._is_over:
            raise StopAsyncIteration
        while self._last is None:
            if self._error is not None:
                self._is_over = True
                raise RequestFailed(self._error or "The request failed.")
            self._reader = self.loop.create_future()
            await self._reader
        with self._lock:
            last, self._last = self._last, None
            ids, self._ids = self._ids, []
            logprobs, self._logprobs = self._logprobs, []
            self.drawn_s = self._newest_s
        self._is_over = last.finish_reason is not None
        if len(ids) == len(last.ids):
            return last
        reason, error = last.finish_reason, last.error
        return StepOutput(last.request_id, tuple(ids), reason, error, last.n_cached, tuple(logprobs))

    def due_s(self) -> float:
        """In the loop: when what there is to read may be read."""
        is_end = self._error is not None or (self._last is not None and self._last.finish_reason is not None)
        return 0.0 if is_end else self._due_s

    def wake(self, now_s: float) -> None:
        """In the loop: there is something to read."""
        pause_s = min(max(1, len(self._serving._streams)) / OUTPUTS_PER_S, LONGEST_PAUSE_S)
        self._due_s = (now_s / pause_s + 1.5) // 1 * pause_s
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def put(self, output: StepOutput, now_s: float) -> bool:
        """In the engine's thread: adds an output, and says whether the reader has to be woken for it."""
        with self._lock:
            self.first_s = self.first_s or now_s
            self._newest_s = now_s
            is_first = self._last is None
            self._ids += output.ids
            self._logprobs += output.logprobs
            self._last = output
        return is_first or output.finish_reason is not None

    def fail(self, error: str) -> None:
        """In the engine's thread: nothing comes any more."""
        self._error = error


class AsyncEngine:
    """Steps an engine, which is its own from now on, in a thread that ends with `close`.

    drew: told in that thread, once a step, how many ids all streams got, whoever reads them and when.
    """

    def __init__(self, engine: Engine, drew: Callable[[int], None] | None = None) -> None:
        self.engine = engine
        self._drew = drew
        self._asked: SimpleQueue[tuple[Future[int], Callable[[], int]] | None] = SimpleQueue()
        self._lock = threading.Lock()  # for _stopped and the queue's end
        self._stopped: str | None = None  # why nothing is taken any more
        self._streams: dict[int, Stream] = {}  # changed by the thread alone; loops read how many there are
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="harmonium-engine", daemon=True)
        self._thread.start()

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def stream(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        constraint: TableConstraint | None = None,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> Stream:
        """A request as Engine.add takes it, which is queued when the stream is entered."""
        add = self.engine.add
        return Stream(self, lambda: add(prompt_ids, params, constraint, priority=priority, timeout_s=timeout_s))

    def check_running(self) -> None:
        """Raises RequestFailed where nothing is taken any more."""
        if self._stopped is not None:
            raise RequestFailed(self._stopped)

    async def close(self) -> None:
        """Ends all requests, their streams with an error, and the thread. The engine may be used again after that."""
        with self._lock:
            if self._stopped is None:
                self._stopped = "The engine was closed before the request ended."
                self._asked.put(None)
        await asyncio.shield(asyncio.wrap_future(self._ended))
        self._thread.join()

    def _ask(self, action: Callable[[], int]) -> Future[int]:
        """What the action returns in the engine's thread, between two steps."""
        future: Future[int] = Future()
        with self._lock:
            if self._stopped is not None:
                raise RequestFailed(self._stopped)
            self._asked.put((future, action))
        return future

    def _drop(self, stream: Stream) -> None:
        """Aborts the stream's request, if it still is there; never waits."""
        try:
            self._ask(lambda: self._abort(stream))
        except RequestFailed:
            return  # the thread has ended it, or is about to

    def _serve(self) -> None:
        """The thread: what was asked, then a step, as long as there is either."""
        stopped: str | None = None
        try:
            while self._obey():
                self._deliver(self.engine.step())
            for request_id in self._streams:
                self.engine.abort(request_id)
            self.engine.step()  # its outputs are for nobody
        except BaseException as error:
            logging.getLogger(__name__).exception("The engine has stopped.")
            stopped = f"The engine has stopped ({error!r}); start it again."
        self._stop(stopped)

    def _obey(self) -> bool:
        """Does what was asked, and with nothing to compute waits for that; false when it is to end."""
        while not self.engine.has_work or not self._asked.empty():
            asked = self._asked.get()
            if asked is None:
                return False
            future, action = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(action())
            except Exception as error:  # noqa: BLE001 - it belongs to the one who asked
                future.set_exception(error)
        return True

    def _begin(self, stream: Stream) -> int:
        stream.request_id = stream._add()
        self._streams[stream.request_id] = stream
        return stream.request_id

    def _abort(self, stream: Stream) -> int:
        if self._streams.pop(stream.request_id, None) is not None:
            self.engine.abort(stream.request_id)
        return stream.request_id

    def _deliver(self, outputs: Iterable[StepOutput]) -> None:
        """Gives each stream its output, and every loop one call for all that it has to wake."""
        woken: dict[asyncio.AbstractEventLoop, list[Stream]] = {}
        now_s, n_drawn = time.monotonic(), 0
        for output in outputs:
            stream = self._streams.get(output.request_id)
            if stream is None:
                continue
            if output.finish_reason is not None:
                del self._streams[output.request_id]
            n_drawn += len(output.ids)
            if stream.put(output, now_s):
                woken.setdefault(stream.loop, []).append(stream)
        if self._drew is not None and n_drawn:
            self._drew(n_drawn)
        for loop, streams in woken.items():
            if not _wake(loop, streams):
                for stream in streams:
                    self._abort(stream)

    def _stop(self, stopped: str | None) -> None:
        """Tells all who wait, or have asked for something, that nothing comes any more."""
        with self._lock:
            self._stopped = stopped = stopped or self._stopped or ""
            while not self._asked.empty():
                asked = self._asked.get()
                if asked is not None and asked[0].set_running_or_notify_cancel():
                    asked[0].set_exception(RequestFailed(stopped))
        for stream in self._streams.values():
            stream.fail(stopped)
            _wake(stream.loop, [stream])
        self._streams.clear()
        self._ended.set_result(None)


def _wake(loop: asyncio.AbstractEventLoop, streams: Sequence[Stream]) -> bool:
    """Wakes the streams' readers; false where their loop is closed, so that none of them is there any more."""
    try:
        loop.call_soon_threadsafe(_wake_here, streams)
    except RuntimeError:
        return False
    return True


def _wake_here(streams: Sequence[Stream]) -> None:
    """Wakes those of one loop's streams that are due, and the others together when the last of them is."""
    loop = streams[0].loop
    now_s, early = loop.time(), []
    for stream in streams:
        if stream.due_s() > now_s + EARLY_S:
            early.append(stream)
        else:
            stream.wake(now_s)
    if early:
        loop.call_at(max(stream.due_s() for stream in early), _wake_here, early)
