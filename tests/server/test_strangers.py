"""What a client may send before it is known, and for whom a server without keys takes its requests."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from fastapi.routing import APIRoute

from harmonium.server.connection import MOST_HEAD_BYTES, Connection
from harmonium.server.guarded import Guarded
from harmonium.server.routes.table import ROUTERS
from harmonium.server.serving import admit, known
from tests.server.conftest import Running, Start
from tests.server.test_safety import ASKED, bearer, connected

OPEN = {"/", "/web/{version}/{path:path}", "/openapi.json", "/health", "/ready"}
KEYED = {"api_keys": {"me": "sk-of-mine"}}


def head(*headers: str, length: int = 1000, path: str = "/v1/chat/completions") -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def answered(client: Any) -> bytes:
    """All that the server says until it closes the connection."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_every_other_address_looks_at_the_key_first() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    unguarded = {route.path for route in routes if not isinstance(route, Guarded)}
    asking = [route for route in routes if {one.call for one in route.dependant.dependencies} & {admit, known}]
    assert {route.path for route in routes} - {route.path for route in asking} == OPEN
    assert unguarded <= OPEN and all(isinstance(route, Guarded) for route in asking)


def test_nobody_is_read_whose_key_is_wrong_or_used_up(start: Start) -> None:
    """The bodies never come."""
    with start(**KEYED, requests_per_minute=1) as server:
        with connected(server) as client:
            client.sendall(head("Authorization: Bearer wrong"))
            assert client.recv(1000).startswith(b"HTTP/1.1 401")
        assert server.http.post("/v1/chat/completions", json=ASKED, headers=bearer("sk-of-mine")).status_code == 200
        with connected(server) as client:
            client.sendall(head("Authorization: Bearer sk-of-mine"))
            assert client.recv(1000).startswith(b"HTTP/1.1 429")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/tokenize"])
def test_a_body_that_does_not_come_is_not_waited_for(start: Start, path: str) -> None:
    with start(body_within_s=0.2) as server, connected(server) as client:
        client.sendall(head("Content-Type: application/json", path=path) + b'{"model":')
        told, _, body = answered(client).partition(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 408") and json.loads(body)["error"]["code"] == "request_timeout"


def test_requests_that_never_end_lose_their_connection(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as server, connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * MOST_HEAD_BYTES)
        client.sendall(b"x" * 1000)
        assert answered(client).startswith(b"HTTP/1.1 431")
    monkeypatch.setattr(Connection, "whole_within_s", 0.2)
    with start() as server:
        for sent in (b"", b"GET / HTT", head(), head("Transfer-Encoding: chunked")):
            with connected(server) as client:
                client.sendall(sent)
                answered(client)
        with connected(server) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            client.sendall(b"GET /heal")
            assert answered(client) == b""


def test_a_server_without_keys_is_asked_by_this_machines_names_alone(server: Running, start: Start) -> None:
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "chat.localhost", "127.1.2.3"):
        assert server.http.get("/v1/models", headers={"Host": host}).status_code == 200, host
    strange = ("evil.example", "evil.example:8000", "localhost.evil.example", "[::1", "192.0.2.1", "")
    for host, path in product(strange, ("/", "/v1/models", "/metrics", "/nothing")):
        answer = server.http.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), (host, path)
    with start(**KEYED) as keyed:
        for host in strange:
            assert keyed.http.get("/v1/models", headers={"Host": host} | bearer("sk-of-mine")).status_code == 200


def test_web_pages_of_others_may_not_call_without_a_key(server: Running, start: Start) -> None:
    cancel = "/v1/responses/resp_1/cancel"
    for origin in ("https://page.example", "null", "http://localhost:1", "garbage", "http://[x", "//]"):
        assert server.http.post(cancel, headers={"Origin": origin}).status_code == 403, origin
    assert server.http.post(cancel, headers={"Origin": server.url}).status_code == 404
    with start(cors_origins=("https://page.example",)) as named:
        assert named.http.post(cancel, headers={"Origin": "https://page.example"}).status_code == 404
        assert named.http.post(cancel, headers={"Origin": "https://other.example"}).status_code == 403
    with start(cors_origins=("*",)) as every, start(**KEYED) as keyed:
        assert every.http.post(cancel, headers={"Origin": "null"}).status_code == 404
        headers = {"Origin": "null"} | bearer("sk-of-mine")
        assert keyed.http.post(cancel, headers=headers).status_code == 404
