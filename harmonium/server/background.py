"""Responses that are computed while nobody waits: polled, watched from any event on, cancelled.

The process that computes one says so in the store every few seconds, and hears there whether it was cancelled or
deleted through another server of the same store. Their events are kept in memory, those of the last ones that ended
for a while, too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from harmonium.errors import RequestFailed, Unavailable
from harmonium.server.calls import Call
from harmonium.server.store_responses import ResponseStore
from harmonium.server.wire.response_output import Fields

if TYPE_CHECKING:
    from harmonium.server.responding import Responding

BEAT_EVERY_S = 10.0
STOPPED = "The server was stopped while it computed this response; ask again."
MOST_KEPT = 64
"""Runs that have ended and whose events can still be read."""


class Run:
    """One response in the background. is_over: all of its events are there."""

    def __init__(self, responding: Responding) -> None:
        self.responding = responding
        self.events: list[Fields] = []
        self.task: asyncio.Task[None] | None = None
        self.failed_to_begin: BaseException | None = None
        self.is_over = False
        self._changed = asyncio.Condition()

    async def response(self) -> Mapping[str, Any]:
        """The response object. One whose end is being stored is told when that is done: who hears of an end can go on
        from it.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_over or not self.responding.is_over)
        return self.responding.writer.response

    @property
    def is_stored(self) -> bool:
        """How it ended is in the store, which other servers may change."""
        return self.is_over and self.responding.is_end_stored

    async def put(self, *events: Fields) -> None:
        async with self._changed:
            self.events += events
            self._changed.notify_all()

    async def end(self) -> None:
        """Nothing comes any more."""
        async with self._changed:
            self.is_over = True
            self._changed.notify_all()

    async def watch(self, after: int = -1) -> AsyncGenerator[Fields, None]:
        """The events behind the one of that number, as they come, to the last."""
        at = after + 1
        while True:
            while at < len(self.events):
                yield self.events[at]
                at += 1
            async with self._changed:
                if self.is_over and at >= len(self.events):
                    return
                if at >= len(self.events):
                    await self._changed.wait()


class Background:
    """All runs of this process, by owner and response."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._runs: OrderedDict[tuple[str, str], Run] = OrderedDict()

    async def begin(self, responding: Responding, call: Call) -> Run:
        """Returns when the response is queued and stored as such. Raises why it could not be; cancelled, it ends it."""
        run = Run(responding)
        run.task = asyncio.create_task(self._run(run, call))
        try:
            await anext(run.watch(), None)
        except asyncio.CancelledError:
            run.task.cancel()
            raise
        if run.failed_to_begin is not None:
            raise run.failed_to_begin
        self._runs[responding.owner, responding.head.id] = run
        self._forget()
        return run

    def find(self, owner: str, response_id: str) -> Run | None:
        return self._runs.get((owner, response_id))

    def forget(self, owner: str, response_id: str) -> None:
        """Ends a run whose response was deleted."""
        run = self._runs.pop((owner, response_id), None)
        if run is not None and run.task is not None:
            run.task.cancel()

    async def cancel(self, run: Run) -> None:
        """Returns when it has ended."""
        assert run.task is not None, "the run has begun"
        run.task.cancel()
        await asyncio.wait([run.task])

    async def close(self) -> None:
        """Returns when all runs have ended, by themselves or by `stop`."""
        if running := [run.task for run in self._runs.values() if run.task is not None and not run.is_over]:
            await asyncio.wait(running)

    def stop(self) -> None:
        """Ends all runs as failed."""
        for run in self._runs.values():
            if run.task is not None and not run.is_over:
                run.responding.error = RequestFailed(STOPPED)
                run.task.cancel()

    async def _run(self, run: Run, call: Call) -> None:
        responding = run.responding
        beating: asyncio.Task[None] | None = None
        try:
            with call.closing.pop_all():
                async with aclosing(responding.events(call)) as events:
                    async for event in events:
                        if beating is None:  # not before the first event: until then it is not in the store
                            beating = asyncio.create_task(self._beat(run))
                        await run.put(event)
        except asyncio.CancelledError:
            if responding.has_begun and not responding.is_over:
                await run.put(*await responding.abandon(responding.error))
        except Exception as error:  # noqa: BLE001 - raised by `begin`, where the client is still there
            run.failed_to_begin = error
        finally:
            if beating is not None:
                beating.cancel()
            await run.end()

    async def _beat(self, run: Run) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                is_wanted = await self._store.beat(run.responding.owner, run.responding.head.id)
            except Unavailable:
                continue  # the store's log says so; it may be back with the next beat
            if not is_wanted and run.task is not None:
                run.task.cancel()

    def _forget(self) -> None:
        over = [key for key, run in self._runs.items() if run.is_over]
        for key in over[: max(0, len(over) - MOST_KEPT)]:
            del self._runs[key]
