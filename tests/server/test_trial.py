"""Grammars of strangers: without end they are refused, they wait for nobody who has gone, and keys take turns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from harmonium.harmony.fair_lock import Claim
from harmonium.harmony.trial import MOST_AT_ONCE, Trial
from harmonium.server import app
from tests.harmony.test_trial import ENDLESS, PLAIN
from tests.server.conftest import Running, Start
from tests.server.test_safety import bearer, connected, until


@contextmanager
def asking(server: Running, path: str, body: Mapping[str, Any], key: str) -> Iterator[None]:
    """A client that has sent a request, and leaves at the end of the block."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    with connected(server) as client:
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield


def test_a_grammar_without_end_holds_up_nobody(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "Trial", partial(Trial, 1.0))
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": ENDLESS}}
    with start() as server:
        error = server.post("/chat/completions", **asked, response_format=wanted)["error"]
        assert (error["code"], error["param"]) == ("invalid_request_error", "response_format")
        assert "more than 1 s to compile" in error["message"]
        wanted["json_schema"] = {"name": "it", "schema": {"type": "string", "pattern": "^[a-z]{2}$"}}
        assert "choices" in server.post("/chat/completions", **asked, response_format=wanted)


def test_a_grammar_that_waits_is_dropped_when_its_client_leaves(start: Start) -> None:
    """Whole, streamed and in the background; and of two keys that ask, neither waits for all that the other wants."""
    keys = {"a": "sk-of-a-alone", "b": "sk-of-b-alone"}
    schema = {"type": "string", "pattern": "^[a-z]{3}$"}
    chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    response = {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "it", "schema": schema}}}
    asked = [("/v1/chat/completions", chat | {"stream": stream}) for stream in (False, True)]
    asked += [("/v1/responses", response | more) for more in ({}, {"stream": True}, {"background": True})]
    with start(api_keys=keys) as server, server.serving.trial._turns.held(Claim("other"), 1):
        waiting = server.serving.trial._turns._waiting
        plain = chat | {"tools": [{"type": "function", "function": {"name": "look", "parameters": PLAIN}}]}
        del plain["response_format"]
        assert server.http.post("/v1/chat/completions", json=plain, headers=bearer(keys["a"])).is_success
        for path, body in asked:
            with asking(server, path, body, keys["a"]):
                until(lambda: len(waiting) == 1)
            until(lambda: not waiting)
        with ExitStack() as clients:
            for number in range(MOST_AT_ONCE - 1):
                clients.enter_context(asking(server, *asked[0], keys["a"]))
                until(lambda n=number + 1: len(waiting) == n)
            refused = server.http.post(asked[0][0], json=asked[0][1], headers=bearer(keys["a"]))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5"), refused.text
            clients.enter_context(asking(server, *asked[0], keys["b"]))
            until(lambda: [claim.asker for claim in waiting].count("b") == 1)
            assert len(waiting) == MOST_AT_ONCE - 1
        until(lambda: not waiting)
