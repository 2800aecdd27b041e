"""Clients that ask, and then read nothing of the answer: they lose their place, and hold up no server that ends."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server.connection import Connection
from harmonium.server.run import WebServer
from tests.server.conftest import Running, Start
from tests.server.test_response_background import LONG
from tests.server.test_safety import ASKED, bearer, endless, until

KEYED = {"api_keys": {"me": "sk-of-mine"}, "concurrent_requests": 1}


@contextmanager
def deaf(server: Running) -> Iterator[socket.socket]:
    """A client whose answer has filled everything between it and the server, which is made as small as can be."""
    body = json.dumps(endless(server.llm) | {"n": 4, "logprobs": 5, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        until(lambda: len(server.connections()) == 2)
        for one in server.connections():
            one.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sendall(head.encode() + b"Authorization: Bearer sk-of-mine\r\n\r\n" + body)
        until(lambda: any(one.flow.write_paused for one in server.connections()))
        yield client


def test_who_stops_reading_loses_its_place(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Connection, "read_within_s", 0.1)
    caplog.set_level(logging.INFO, "harmonium.requests")

    def status() -> int:
        return server.http.post("/v1/chat/completions", json=ASKED, headers=bearer("sk-of-mine")).status_code

    with start(**KEYED) as server, deaf(server):
        until(lambda: status() == 200)
        assert not server.llm.engine.scheduler.running
    lines = [json.loads(one.message) for one in caplog.records if one.name == "harmonium.requests"]
    [line] = [line for line in lines if line["path"] == "/v1/completions"]
    assert line["code"] == "client_gone" and line["usage"]["prompt"] and line["usage"]["completion"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_the_log_tells_what_was_computed_for_who_left(
    start: Start, weights: Loaded, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO, "harmonium.requests")
    llm = LLM(weights)
    llm.chat("Hello", max_tokens=2)
    letters = {"type": "json_schema", "json_schema": LONG["text"]["format"]}
    body = LONG | {"stream": True, "response_format": letters}
    with start(llm=llm) as server:
        with server.http.stream("POST", path, json=body) as answer:
            assert len([*islice((line for line in answer.iter_lines() if "delta" in line), 5)]) == 5
        until(lambda: not llm.engine.scheduler.running)
        until(lambda: any(path in one.message for one in caplog.records))
    [line] = [json.loads(one.message) for one in caplog.records if path in one.message]
    assert (line["status"], line["code"]) == (200, "client_gone")
    assert line["usage"].keys() == {"prompt", "completion", "cached"} and min(line["usage"].values()) >= 0
    assert line["usage"]["prompt"] and line["usage"]["completion"]


def test_who_reads_slowly_keeps_it(start: Start) -> None:
    with start(**KEYED) as server, deaf(server):
        slow = next(one for one in server.connections() if one.flow.write_paused)
        n_waiting = slow.transport.get_write_buffer_size()
        slow.loop.call_soon_threadsafe(slow._look_again, n_waiting + 1)
        assert server.http.get("/health").status_code == 200 and slow in server.connections()
        slow.loop.call_soon_threadsafe(slow._look_again, n_waiting)
        until(lambda: slow not in server.connections())


def test_a_server_ends_though_somebody_does_not_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebServer, "told_within_s", 0.1)
    with start(**KEYED) as server, deaf(server):
        server.stop()
        server.stop()
        until(lambda: not server.connections())
