"""Server-sent events, and what happens when the client hangs up: the turn that it waited for is cancelled.

One event is one write. Lines end in a line feed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from harmonium.errors import HarmoniumError
from harmonium.server import plain_json
from harmonium.server.errors import error_body, internal, note

KEEP_ALIVE_S = 15.0
DONE = b"data: [DONE]\n\n"
Answer = TypeVar("Answer")


def data(value: str | bytes | dict[str, Any]) -> bytes:
    """An event without a name. value: JSON, or what becomes it."""
    if isinstance(value, dict):
        value = plain_json.dump(value)
    return b"data: %b\n\n" % (value.encode("utf-8", "replace") if isinstance(value, str) else value)


def event(name: str, value: str | bytes | dict[str, Any]) -> bytes:
    return b"event: %b\n%b" % (name.encode(), data(value))


class EventStream(Response):
    """Writes a generator's events as they come. Make it with `begin`.

    A comment goes out where nothing else has for 15 seconds, so that nobody between takes the connection for dead. The
    generator is closed when the client has gone. What it raises is written as an event, then DONE.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}, media_type=self.media_type)
        del self.headers["content-length"]
        self._first, self._events = first, events
        self._is_idle = False

    @staticmethod
    async def begin(events: AsyncGenerator[bytes, None], slow: Request | None = None) -> EventStream:
        """Waits for the first event: what is raised before it becomes an error response, since no header is out yet.

        slow: the request, where the first event may take long; its client's going away ends that.
        """
        first = anext(events)
        return EventStream(await (first if slow is None else while_connected(slow, first)), events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await until_gone(self._write(scope, send), receive, lambda: self._keep_alive(send))
        except ClientGone as gone:
            note(scope, gone)  # the status is out and says nothing of it

    async def _write(self, scope: Scope, send: Send) -> None:
        async with aclosing(self._events) as events:
            await _send(send, self._first)
            try:
                async for one in events:
                    self._is_idle = False
                    await send({"type": "http.response.body", "body": one, "more_body": True})
            except HarmoniumError as error:
                note(scope, error)
                await _send(send, data(error_body(error)) + DONE)
            except Exception as error:  # noqa: BLE001 - a bug, which is logged, and of which the client has to be told
                told = internal(error)
                note(scope, told)
                await _send(send, data(error_body(told)) + DONE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        if self._is_idle:
            await _send(send, b": still here\n\n")
        self._is_idle = True


async def _send(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def while_connected(request: Request, work: Awaitable[Answer]) -> Answer:
    """The work's answer; where the client hangs up first, the work is cancelled, and so is who waits for it here."""
    return await until_gone(work, request.receive)


async def until_gone(
    work: Awaitable[Answer], receive: Receive, tick: Callable[[], Awaitable[None]] | None = None
) -> Answer:
    """Does the work, unless the client goes away before its end: then raises ClientGone. tick: called now and then."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive, tick))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("The client went away.")
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


class ClientGone(HarmoniumError):
    """Nobody waits for the answer any more; nobody is told, either."""

    status, code = 499, "client_gone"


async def _gone(receive: Receive, tick: Callable[[], Awaitable[None]] | None) -> None:
    """Returns when the client has hung up."""
    while True:
        try:
            message = await asyncio.wait_for(receive(), KEEP_ALIVE_S if tick is not None else None)
        except TimeoutError:
            assert tick is not None, "only ticks are timed"
            await tick()
            continue
        if message["type"] == "http.disconnect":
            return
