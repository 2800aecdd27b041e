"""One HTTP request from its first byte to its last: its id, its sender, its size, its line in the log, its metrics.

The log is one JSON object a line, on stderr, without what was asked or answered unless the settings say so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harmonium.chat.events import Usage
from harmonium.errors import BadRequest, HarmoniumError, TooLarge, TooSlow, Unavailable
from harmonium.server import sse
from harmonium.server.auth import Keyring
from harmonium.server.errors import error_body, internal, note, response
from harmonium.server.metrics import Metrics
from harmonium.server.origins import check_local

log = logging.getLogger("harmonium.requests")
STOPPED = "the server was told to stop at once"
"""What a request's task is cancelled with, so that its client can be told."""
BOUNDS = {(b",", b"[", b"{"): 500_000, (b":",): 200_000}
"""What begins a value in JSON, or its key, and how many there may be: nobody else is served while they are parsed. What
has more of them in its text has too many tokens.
"""
NOT_BEGUN = 499
"""The status of a request that nothing was answered to, since its client had gone."""
SANE_ID = re.compile(r"[\w.:/-]{1,128}")


class BadCoding(BadRequest):
    """A body is compressed."""

    status = 415


@dataclass
class Call:
    """A request that is being answered. Routes fill in what they know.

    id: the client's own, in its X-Request-Id, or a new one. key: whose API key it came with. notes: for the log.
    closing: what is released when the answer is out. is_cut: not all of its usage is known.
    """

    id: str
    key: str | None = None
    usage: Usage | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)
    is_cut: bool = False

    def add(self, usage: Usage) -> None:
        """Of one more answer to the same prompt."""
        before = self.usage or Usage()
        completion, reasoning = before.completion + usage.completion, before.reasoning + usage.reasoning
        self.usage = Usage(usage.prompt, completion, reasoning, usage.cached)

    def add_cut(self, prompt: int, completion: int, cached: int) -> None:
        """Of an answer that did not come to its end: how much of it was reasoning nobody knows."""
        self.is_cut = True
        self.add(Usage(prompt, completion, 0, cached))


class Calls:
    """The middleware around everything else. A request's Call is in its `state.call`.

    allowed_origins: web pages that may call a server without keys. body_within_s: how long a body may take to come.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        keys: Keyring,
        allowed_origins: Collection[str],
        max_body_bytes: int,
        body_within_s: float,
    ) -> None:
        self._app, self._metrics, self._keys, self._allowed_origins = app, metrics, keys, allowed_origins
        self._max_body_bytes, self._body_within_s = max_body_bytes, body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        call = Call(_id(headers.get("x-request-id")))
        scope.setdefault("state", {})["call"] = call
        started, status, is_stream = time.monotonic(), NOT_BEGUN, False

        async def answer(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                told["x-request-id"] = call.id
                status = message["status"]
                is_stream = told.get("content-type", "").startswith(sse.EventStream.media_type)
            await send(message)

        _read_as_json(scope, headers)
        body = _Body(receive, self._max_body_bytes, self._body_within_s)
        self._metrics.in_flight.inc()
        try:
            with call.closing:
                self._check(headers)
                body.check(headers.get("content-length"))
                await self._app(scope, body.receive, answer)
        except HarmoniumError as error:
            note(scope, error)
            await response(error)(scope, receive, answer)
        except asyncio.CancelledError as error:
            if STOPPED not in error.args:
                raise
            note(scope, stopped := Unavailable("The server was stopped before it had answered; ask again."))
            if status == NOT_BEGUN:
                await response(stopped)(scope, receive, answer)
            elif is_stream:
                last = sse.data(error_body(stopped)) + sse.DONE
                await answer({"type": "http.response.body", "body": last, "more_body": False})
        except Exception as error:
            note(scope, told := internal(error))
            if status != NOT_BEGUN:
                raise  # half of an answer cannot be taken back: the connection is closed
            await response(told)(scope, receive, answer)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, call, status, time.monotonic() - started)

    def _check(self, headers: Headers) -> None:
        """Raises Forbidden, and what is no body that can be read."""
        if (coding := headers.get("content-encoding", "identity")).lower() != "identity":
            raise BadCoding(f"The body is sent as {coding}, which is not read here; send it without Content-Encoding.")
        if not self._keys.are_asked_for:
            check_local(headers.get("host"), headers.get("origin"), self._allowed_origins)

    def _note(self, scope: Scope, call: Call, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "other")
        self._metrics.requests.labels(path, scope["method"], status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if status >= 400 or "code" in call.notes:
            self._metrics.errors.labels(call.notes.get("code", str(status)), scope["method"]).inc()
        if log.isEnabledFor(logging.INFO):
            usage = {} if call.usage is None else dict(vars(call.usage))
            if call.is_cut:
                del usage["reasoning"]
            known = {"request_id": call.id, "key": call.key, "method": scope["method"], "path": scope["path"]}
            line = known | {"status": status, "seconds": round(seconds, 4)} | {"usage": usage} | call.notes
            log.info(json.dumps({name: value for name, value in line.items() if value not in (None, {})}))


class _Body:
    """A request's body, up to a size, with so many values and within a time, all measured as it comes."""

    def __init__(self, receive: Receive, limit: int, within_s: float) -> None:
        self._receive, self._limit, self._within_s = receive, limit, within_s
        self._n_bytes, self._n_signs = 0, dict.fromkeys(BOUNDS, 0)
        self._deadline = asyncio.get_running_loop().time() + within_s
        self._is_whole = False

    def check(self, length: str | None) -> None:
        """length: what the client says before it sends any of it. Raises TooLarge."""
        if length is not None and length.isdecimal() and int(length) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Raises TooLarge and TooSlow. What comes behind the body is the client's going away, which has time."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"The body was not here within {self._within_s:g} s; send it faster, or send less.") from None
        self._is_whole = not message.get("more_body", False)
        piece = message.get("body", b"")
        self._n_bytes += len(piece)
        if self._n_bytes > self._limit:
            raise self._too_large()
        for signs, most in BOUNDS.items():
            self._n_signs[signs] += sum(map(piece.count, signs))
            if self._n_signs[signs] > most:
                raise TooLarge(f"The body has more than {most:,} values or keys, which no request needs; send fewer.")
        return message

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than the {self._limit:,} bytes that this server takes; send less.")


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
    return given if given is not None and SANE_ID.fullmatch(given) else new_id("req_")


def new_id(prefix: str) -> str:
    """A name that nothing else has. No secret: drawn without asking the system, which takes as long as a token."""
    return f"{prefix}{random.getrandbits(96):024x}"
