"""Other OpenAI-compatible servers behind this one: a request for MODEL:NAME goes on to NAME, and its answer comes back.

Whatever the other server says is passed on as it is, its errors too; a stream event by event.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
from fastapi import Request, Response

from harmonium.errors import HarmoniumError, ServerUnreachable, TimedOut
from harmonium.server import sse
from harmonium.server.reading import LARGE

PASSED_ON = ("content-type", "retry-after")
CONNECT_S = 10.0
MOST_IDLE = 32  # connections that are kept for the next request
LONGEST_EVENT = LONGEST_ANSWER = 64 * 2**20
"""Bytes of one event of a stream and of an answer without one, which are held until they are whole."""
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
"""Of an event: an empty line, whichever way lines end."""
_LAST = b"data: [DONE]"  # some servers end there
_N_END = 4
"""Bytes of the longest end."""


@dataclass(frozen=True)
class Upstream:
    """One other server, and the model that is asked for there. timeout_s: of a whole stream, None for no limit."""

    name: str
    url: str
    key: str | None
    model: str
    client: httpx2.AsyncClient
    timeout_s: float | None = None

    async def forward(self, request: Request, path: str) -> Response:
        """Sends a request's body, under its id, on to this path of the other server.

        Raises ServerUnreachable and TimedOut.
        """
        request.state.call.notes["model"] = f"{self.model}:{self.name}"
        body = await request.json() | {"model": self.model}
        is_large = len(await request.body()) > LARGE
        content = await asyncio.to_thread(_written, body) if is_large else _written(body)
        asked = self._request("POST", path, content)
        asked.headers["X-Request-Id"] = request.state.call.id
        if body.get("stream"):
            return await sse.while_connected(request, self._stream(asked))
        return await sse.while_connected(request, self._whole(asked))

    async def describe(self, request: Request) -> Response:
        """What the other server tells of the model. Raises ServerUnreachable."""
        asked = self._request("GET", f"/models/{quote(self.model)}")
        return await sse.while_connected(request, self._whole(asked))

    async def _whole(self, request: httpx2.Request) -> Response:
        try:
            return await self._read(await self.client.send(request, stream=True))
        except httpx2.HTTPError as error:
            raise self._error(error) from None

    async def _read(self, answer: httpx2.Response) -> Response:
        """A whole answer, up to its bound."""
        content = bytearray()
        async with aclosing(answer):
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > LONGEST_ANSWER:
                    raise self._failure(f"its answer has more than {LONGEST_ANSWER:,} bytes")
        return self._passed_on(answer, bytes(content))

    async def _stream(self, request: httpx2.Request) -> Response:
        """A stream, or the error that the other server answers instead of one."""
        try:
            answer = await self.client.send(request, stream=True)
            kind = answer.headers.get("content-type", "")
            if not (answer.is_success and kind.startswith(sse.EventStream.media_type)):
                return await self._read(answer)
        except httpx2.HTTPError as error:
            raise self._error(error) from None
        return await sse.EventStream.begin(self._events(answer))

    async def _events(self, answer: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """Whole events, so that what else goes out on the connection stands between two of them."""
        held, has_begun = bytearray(), False
        ends_at = math.inf if self.timeout_s is None else time.monotonic() + self.timeout_s
        try:
            async for piece in answer.aiter_bytes():
                if time.monotonic() > ends_at:
                    raise self._too_slow()
                start = max(0, len(held) - _N_END + 1)  # what was held has no end, but may have the beginning of one
                held += piece
                while end := _END.search(held, start):
                    has_begun, start = True, 0
                    event = bytes(held[: end.end()])
                    del held[: len(event)]
                    yield event
                if len(held) > LONGEST_EVENT:
                    raise self._failure(f"an event of its stream has more than {LONGEST_EVENT:,} bytes")
            if held and not held.endswith((b"\n", b"\r", _LAST)):
                raise self._failure("its stream ended in the middle of an event")
            if held:
                yield bytes(held)
            elif not has_begun:
                raise self._failure("its stream ended without an event")
        except httpx2.HTTPError as error:
            raise self._error(error) from None
        finally:
            await answer.aclose()

    def _request(self, method: str, path: str, content: bytes | None = None) -> httpx2.Request:
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self.client.build_request(method, f"{self.url}{path}", content=content, headers=headers)

    def _passed_on(self, answer: httpx2.Response, content: bytes) -> Response:
        """A whole answer. A client that followed a redirect would go past this server, with its key."""
        if answer.is_redirect:
            place = answer.headers.get("location", "nowhere")
            raise self._failure(f"it redirects to {place} ({answer.status_code}); give --upstream its own address")
        headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
        return Response(content, answer.status_code, headers)

    def _error(self, error: httpx2.HTTPError) -> HarmoniumError:
        """What becomes of a failure to send or to read."""
        if isinstance(error, httpx2.ReadTimeout):
            return self._too_slow()
        return self._failure(str(error) or type(error).__name__)

    def _too_slow(self) -> TimedOut:
        return TimedOut(f"{self.name}, at {self.url}, did not end within the time that a request has; ask for less.")

    def _failure(self, reason: str) -> ServerUnreachable:
        return ServerUnreachable(f"{self.name}, at {self.url}, did not answer: {reason}; try again, or ask another.")


class Upstreams:
    """All of them by name. Use it as a context, for it holds connections."""

    def __init__(self, urls: Mapping[str, str], timeout_s: float | None) -> None:
        self.names = tuple(urls)
        self._urls = urls
        self._keys = {name: os.environ.get(key_variable(name)) for name in urls}
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=MOST_IDLE)  # theirs are the queues
        self._client = httpx2.AsyncClient(timeout=timeout, limits=limits)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Upstreams:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def find(self, model: str) -> Upstream | None:
        """For MODEL:NAME, that server; None where NAME is no upstream."""
        there, _, name = model.rpartition(":")
        if not there or name not in self._urls:
            return None
        return Upstream(name, self._urls[name], self._keys[name], there, self._client, self._timeout_s)


def key_variable(name: str) -> str:
    """The environment variable that holds an upstream's API key."""
    return f"{re.sub(r'[^A-Z0-9]', '_', name.upper())}_API_KEY"


def _written(body: Mapping[str, Any]) -> bytes:
    """A body, with NaN and halves of characters as the client said them."""
    return json.dumps(body).encode()
