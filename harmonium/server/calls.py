"""One HTTP request from its first byte to its last: its id, its size, its line in the log, its metrics.

The log is one JSON object a line, on stderr, without what was asked or answered unless the settings say so.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harmonium.chat.events import Usage
from harmonium.errors import TooLarge
from harmonium.server.errors import response
from harmonium.server.metrics import Metrics

log = logging.getLogger("harmonium.requests")
SANE_ID = re.compile(r"[\w.:/-]{1,128}")


@dataclass
class Call:
    """A request that is being answered. Routes fill in what they know.

    id: the client's own, in its X-Request-Id, or a new one. key: whose API key it came with. notes: for the log.
    closing: what is released when the answer is out.
    """

    id: str
    key: str | None = None
    usage: Usage | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)

    def add(self, usage: Usage) -> None:
        """Of one more answer to the same prompt."""
        before = self.usage or Usage()
        completion, reasoning = before.completion + usage.completion, before.reasoning + usage.reasoning
        self.usage = Usage(usage.prompt, completion, reasoning, usage.cached)


class Calls:
    """The middleware around everything else. A request's Call is in its `state.call`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self._app, self._metrics, self._max_body_bytes = app, metrics, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        call = Call(_id(headers.get("x-request-id")))
        scope.setdefault("state", {})["call"] = call
        started, status = time.monotonic(), 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = call.id
            await send(message)

        _read_as_json(scope, headers)
        body = _Body(receive, self._max_body_bytes, headers.get("content-length"))
        self._metrics.in_flight.inc()
        try:
            with call.closing:
                if body.is_too_large:
                    await response(body.error)(scope, receive, answer)
                else:
                    await self._app(scope, body.receive, answer)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, call, status, time.monotonic() - started)

    def _note(self, scope: Scope, call: Call, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "other")
        self._metrics.requests.labels(path, scope["method"], status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if status >= 400 or "code" in call.notes:
            self._metrics.errors.labels(call.notes.get("code", str(status))).inc()
        if log.isEnabledFor(logging.INFO):
            usage = {} if call.usage is None else vars(call.usage)
            known = {"request_id": call.id, "key": call.key, "method": scope["method"], "path": scope["path"]}
            line = known | {"status": status, "seconds": round(seconds, 4)} | {"usage": usage} | call.notes
            log.info(json.dumps({name: value for name, value in line.items() if value not in (None, {})}))


class _Body:
    """A request's body, up to a size. One that has no length beforehand is measured as it comes."""

    def __init__(self, receive: Receive, limit: int, length: str | None) -> None:
        self._receive, self._limit, self._n_bytes = receive, limit, 0
        self.is_too_large = length is not None and length.isdecimal() and int(length) > limit
        self.error = TooLarge(f"The body is larger than the {limit:,} bytes that this server takes; send less.")

    async def receive(self) -> Message:
        """Raises TooLarge."""
        message = await self._receive()
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._limit:
            raise self.error
        return message


def _read_as_json(scope: Scope, headers: Headers) -> None:
    """A body whose sender names no type of its own, as `curl -d` does, is JSON: nothing else is read here.

    Not so where a web page sends it. A browser asks before it sends JSON elsewhere, and is told which pages may; other
    types it just sends.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("", "application/x-www-form-urlencoded", "text/plain") and "origin" not in headers:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


def _id(given: str | None) -> str:
    return given if given is not None and SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
