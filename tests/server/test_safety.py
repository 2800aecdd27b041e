"""Who may ask, how much, and what becomes of requests whose client or time is gone."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmonium import LLM, BadRequest, Busy, Unauthorized
from harmonium.chat.loading import Loaded
from harmonium.server import auth
from harmonium.server.auth import Keyring
from harmonium.server.limits import Limits
from harmonium.server.settings import Settings
from tests.server.conftest import Running, Start

ASKED = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 1}
LONG = {"messages": [{"role": "user", "content": "Hello"}], "logit_bias": {}, "max_tokens": 100_000}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def endless(llm: LLM) -> dict[str, Any]:
    """A request whose answer ends at its limit alone: no id that would end it may be drawn."""
    ends = llm.vocabulary.special_ids
    return {"prompt": "x", "max_tokens": 60_000, "logit_bias": {str(id_): -100 for id_ in ends}}


def connected(server: Running) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    raise AssertionError("it never came about")


def test_keys_are_asked_for_where_there_are_some(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = auth.add(file, "team")
    with start(api_keys={"me": "sk-of-mine"}, keys_file=file) as server:
        for headers in ({}, bearer("wrong"), {"Authorization": "Basic x"}, bearer(made + "x")):
            for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
                answer = server.http.request(method, path, headers=headers, json=ASKED if method == "POST" else None)
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
                error = answer.json()["error"]
                assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert server.http.get("/health").status_code == server.http.get("/ready").status_code == 200
        for key in ("sk-of-mine", made):
            assert server.http.post("/v1/chat/completions", json=ASKED, headers=bearer(key)).status_code == 200
        assert server.openai(api_key=made).models.list().data[0].id == "nano"
        other = auth.add(file, "late")
        assert server.http.get("/v1/models", headers=bearer(other)).status_code == 200
        auth.revoke(file, "team")
        assert server.http.get("/v1/models", headers=bearer(made)).status_code == 401
        assert server.http.get("/v1/models", headers=bearer(other)).status_code == 200


def test_a_keys_file_keeps_no_key(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "keys.json"
    made = auth.add(file, "team")
    assert made not in file.read_text() and len(made) > 40
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(BadRequest, match="a key named 'team' already"):
        auth.add(file, "team")
    with pytest.raises(BadRequest, match="no valid key named 'x'; there are: team"):
        auth.revoke(file, "x")
    auth.revoke(file, "team")
    again = auth.add(file, "team")
    assert Keyring({}, file).name_of(f"Bearer {again}") == "team"
    with pytest.raises(Unauthorized):
        Keyring({}, file).name_of(f"Bearer {made}")
    file.write_text("{")
    with pytest.raises(BadRequest, match="no file of API keys"):
        auth.read(file)


def test_a_first_key_is_asked_for_at_once(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.json"
    with start(keys_file=file) as server:
        assert server.http.get("/v1/models").status_code == 200
        made = auth.add(file, "first")
        assert server.http.get("/v1/models").status_code == 401
        assert server.http.get("/v1/models", headers=bearer(made)).status_code == 200
        kept = file.read_text()
        file.write_text("{")
        assert server.http.get("/v1/models", headers=bearer(made)).status_code == 401
        assert "no file of API keys" in caplog.text
        file.write_text(kept)
        assert server.http.get("/v1/models", headers=bearer(made)).status_code == 200
        file.unlink()
        assert server.http.get("/v1/models").status_code == 401
        assert server.http.get("/v1/models", headers=bearer(made)).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_other_machines_need_a_key(host: str) -> None:
    with pytest.raises(BadRequest, match="has no API key"):
        Settings(host=host)
    assert Settings(host=host, api_keys={"me": "sk-of-mine"}).asks_for_keys
    assert not Settings(host="localhost").asks_for_keys and not Settings(host="::1").asks_for_keys


def test_limits_are_each_keys_own() -> None:
    now = [0.0]
    limits = Limits(6, 2, lambda: now[0])
    with limits.admitted("a"), limits.admitted("a"):
        with pytest.raises(Busy, match="2 requests of this API key run"), limits.admitted("a"):
            raise AssertionError("a third")
        with limits.admitted("b"):
            pass
    for _ in range(4):
        with limits.admitted("a"):
            pass
    with pytest.raises(Busy, match="6 requests a minute") as busy, limits.admitted("a"):
        raise AssertionError("a seventh")
    assert busy.value.retry_after_s == pytest.approx(10)
    now[0] = 10.0
    with limits.admitted("a"):
        pass
    now[0] = 1000.0
    for _ in range(6):
        with limits.admitted("a"):
            pass
    with pytest.raises(Busy), limits.admitted("a"):
        raise AssertionError("a bucket holds no more than a minute's")


def test_limits_over_http(start: Start) -> None:
    with start(requests_per_minute=2) as server:
        post = server.http.post
        assert [post("/v1/chat/completions", json=ASKED).status_code for _ in range(3)] == [200, 200, 429]
        refused = post("/v1/chat/completions", json=ASKED)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.json()["error"]["type"] == "rate_limit_error"
    with start(max_body_bytes=1000) as server:
        post = server.http.post
        big = json.dumps({"messages": [{"role": "user", "content": "x" * 2000}]}).encode()
        for body in (big, iter([big[:600], big[600:]])):
            answer = post("/v1/chat/completions", content=body)
            assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large", answer.text


def test_web_pages_may_call_where_they_are_named(start: Start, server: Running) -> None:
    asks = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    with start(cors_origins=("https://page.example",), api_keys={"me": "sk-of-mine"}) as open_server:
        told = open_server.http.options("/v1/chat/completions", headers=asks)
        assert told.headers["access-control-allow-origin"] == "https://page.example"
        refused = open_server.http.get("/v1/models", headers={"Origin": "https://page.example"})
        assert refused.status_code == 401 and "access-control-allow-origin" in refused.headers
        packed = {"Origin": "https://page.example", "Content-Encoding": "gzip"}
        refused = open_server.http.post("/v1/chat/completions", content=b"{}", headers=packed)
        assert refused.status_code == 415 and "as gzip" in refused.json()["error"]["message"]
        assert "access-control-allow-origin" in refused.headers and "x-request-id" in refused.headers
        other = open_server.http.options("/v1/chat/completions", headers=asks | {"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in server.http.options("/v1/chat/completions", headers=asks).headers


def test_a_full_queue_refuses_and_a_long_request_times_out(start: Start, weights: Loaded) -> None:
    with start(queue_limit=1, timeout_s=2) as server:
        scheduler = server.llm.engine.scheduler
        body = endless(server.llm) | {"n": 1}
        answers: list[Any] = []

        def ask() -> None:
            answers.append(server.http.post("/v1/completions", json=body))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {429, 504} and not scheduler.running and not scheduler.waiting
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1" and "waiting" in refused.json()["error"]["message"]
        late = next(answer for answer in answers if answer.status_code == 504)
        assert late.json()["error"] | {"message": ""} == {
            "message": "",
            "type": "server_error",
            "param": None,
            "code": "timeout",
        }


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_frees_its_place(server: Running, stream: bool) -> None:
    scheduler = server.llm.engine.scheduler
    body = json.dumps(endless(server.llm) | {"stream": stream}).encode()
    with connected(server) as client:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: len(scheduler.running) == 1)
        if stream:
            assert b"200 OK" in client.recv(1000)
    until(lambda: not scheduler.running)


def test_a_server_that_ends_lets_streams_finish(start: Start, weights: Loaded) -> None:
    asked = {"prompt": "x", "max_tokens": 400, "stream": True}
    llm = LLM(weights)
    asked["logit_bias"] = endless(llm)["logit_bias"]
    with start(llm=llm) as server, server.http.stream("POST", "/v1/completions", json=asked) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.stop()
        assert list(lines)[-2] == "data: [DONE]"


def test_a_server_that_is_told_again_ends_streams_and_says_so(start: Start, weights: Loaded) -> None:
    llm = LLM(weights)
    asked = endless(llm)
    whole: list[Any] = []
    with (
        start(llm=llm) as server,
        server.http.stream("POST", "/v1/completions", json=asked | {"stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        waiting = threading.Thread(target=lambda: whole.append(server.http.post("/v1/completions", json=asked)))
        waiting.start()
        until(lambda: len(llm.engine.scheduler.running) == 2)
        server.stop()
        assert next(line for line in lines if line).startswith("data: {")
        server.stop()
        told = [line for line in lines if line]
        assert told[-1] == "data: [DONE]"
        assert json.loads(told[-2].removeprefix("data: "))["error"]["code"] == "unavailable"
        waiting.join()
        assert whole[0].status_code == 503 and whole[0].json()["error"]["code"] == "unavailable"
    assert not llm.engine.scheduler.running
