"""Responses that nobody waits for, and those whose client has gone."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server import run
from harmonium.server.store_responses import ResponseStore
from tests.server.conftest import Running, Start
from tests.server.response_streams import check_response, check_stream
from tests.server.test_responses import CAPITAL, streamed, timeless

LETTERS = {
    "type": "object",
    "properties": {"letters": {"type": "string", "pattern": "^[ab]{3000}$"}},
    "required": ["letters"],
    "additionalProperties": False,
}
LONG = {
    "input": "Letters, please.",
    "reasoning": {"effort": "none"},
    "text": {"format": {"type": "json_schema", "name": "long", "schema": LETTERS}},
}
"""An answer of some 3,000 tokens."""


def until(is_so: Callable[[], Any], what: str) -> Any:
    """What `is_so` gives once it gives something."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come")


def read(server: Running, response_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(f"/v1/responses/{response_id}").json()
    return found


def ended(server: Running, response_id: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        found = read(server, response_id)
        return None if found["status"] in ("queued", "in_progress") else found

    found: dict[str, Any] = until(over, "the response's end")
    return found


def watched(server: Running, response_id: str, after: int | None = None) -> list[dict[str, Any]]:
    query = {"stream": True} | ({} if after is None else {"starting_after": after})
    text = server.http.get(f"/v1/responses/{response_id}", params=query).text
    blocks = text.removesuffix("\n\n").split("\n\n")
    return [json.loads(block.partition("data: ")[2]) for block in blocks if "data: " in block]


def test_a_response_in_the_background_is_the_one_that_is_waited_for(server: Running) -> None:
    asked = {"input": CAPITAL, "temperature": 0}
    begun = server.post("/responses", **asked, background=True)
    check_response(begun)
    assert begun["status"] in ("queued", "in_progress") and begun["background"] is True
    done = ended(server, begun["id"])
    whole = server.post("/responses", **asked)
    assert {**timeless(done), "background": False} == timeless(whole)
    events = watched(server, begun["id"])
    assert check_stream(events) == done
    for after in (-1, 0, 5, len(events) - 2, len(events) - 1):
        assert watched(server, begun["id"], after) == events[after + 1 :]
    follow_up = server.post("/responses", input="And of Spain?", previous_response_id=begun["id"])
    assert follow_up["usage"]["input_tokens"] > done["usage"]["input_tokens"]


def test_a_stream_in_the_background_outlives_its_client(server: Running) -> None:
    body = {**LONG, "background": True, "stream": True, "max_output_tokens": 300}
    with server.http.stream("POST", "/v1/responses", json=body) as response:
        first = next(line for line in response.iter_lines() if line.startswith("data: "))
    id_ = json.loads(first.removeprefix("data: "))["response"]["id"]
    done = ended(server, id_)
    assert done["status"] == "incomplete" and check_stream(watched(server, id_)) == done


def test_a_response_in_the_background_is_cancelled(server: Running) -> None:
    begun = server.post("/responses", **LONG, background=True)
    cancelled = server.http.post(f"/v1/responses/{begun['id']}/cancel").json()
    check_response(cancelled)
    assert cancelled["status"] == "cancelled"
    assert read(server, begun["id"]) == cancelled == server.http.post(f"/v1/responses/{begun['id']}/cancel").json()
    assert check_stream(watched(server, begun["id"])) == cancelled
    until(lambda: not server.llm.engine.scheduler.running, "the end of the request")


def test_only_what_runs_in_the_background_can_be_cancelled_or_watched(server: Running) -> None:
    waited = server.post("/responses", input=CAPITAL)
    over = ended(server, server.post("/responses", input=CAPITAL, background=True)["id"])
    for id_, says in ((waited["id"], "background"), (over["id"], "completed")):
        answer = server.http.post(f"/v1/responses/{id_}/cancel")
        assert answer.status_code == 400 and says in answer.json()["error"]["message"]
    answer = server.http.get(f"/v1/responses/{waited['id']}?stream=true")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "stream"
    for path in ("resp_none", "resp_none?stream=true"):
        assert server.http.get(f"/v1/responses/{path}").status_code == 404
    assert server.http.post("/v1/responses/resp_none/cancel").status_code == 404
    refused = server.http.post("/v1/responses", json={"input": "Hi", "background": True, "store": False})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "store"


def test_what_is_not_over_cannot_be_continued(server: Running) -> None:
    begun = server.post("/responses", **LONG, background=True)
    answer = server.http.post("/v1/responses", json={"input": "Go on", "previous_response_id": begun["id"]})
    assert answer.status_code == 400 and "still" in answer.json()["error"]["message"]
    server.http.post(f"/v1/responses/{begun['id']}/cancel")
    assert server.http.post("/v1/responses", json={"input": "Go on", "previous_response_id": begun["id"]}).is_success


def test_a_response_that_takes_too_long_has_failed(start: Start) -> None:
    with start(timeout_s=0.3) as server:
        response = check_stream(streamed(server, **LONG))
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        assert read(server, response["id"]) == response
        answer = server.http.post("/v1/responses", json=LONG)
        assert answer.status_code == 504
        assert answer.json()["error"]["message"] == response["error"]["message"]
        begun = server.post("/responses", **LONG, background=True)
        assert ended(server, begun["id"])["error"] == response["error"]


def test_whoever_watches_sees_the_end_though_the_store_is_slow(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = ResponseStore.finish

    async def finish_later(*given: Any) -> bool:
        await asyncio.sleep(0.2)
        return await finish(*given)

    monkeypatch.setattr(ResponseStore, "finish", finish_later)
    response = check_stream(streamed(server, input="Hi", background=True, max_output_tokens=1))
    assert read(server, response["id"]) == response
    polled = ended(server, server.post("/responses", input="Hi", background=True, max_output_tokens=1)["id"])
    assert server.http.post("/v1/responses", json={"input": "Go on", "previous_response_id": polled["id"]}).is_success


def leave_early(server: Running, number: int) -> tuple[str, bool]:
    """A stream of which a client reads as much as it likes: the response's id, and whether it saw the end."""
    chance = random.Random(number)
    n_read = chance.choice((1, 2, 3, 5, 20, 10_000))
    body = {"input": CAPITAL, "stream": True, "background": chance.random() < 0.2}
    body["max_output_tokens"] = chance.choice((1, 20, 200))
    events: list[dict[str, Any]] = []
    with server.http.stream("POST", "/v1/responses", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
            if len(events) == n_read:
                break
    if len(events) < n_read:
        check_stream(events)
    return events[0]["response"]["id"], len(events) < n_read


@pytest.mark.deep
def test_a_storm_of_clients_that_leave_ends_in_true_states(server: Running) -> None:
    with ThreadPoolExecutor(50) as threads:
        left = list(threads.map(lambda number: leave_early(server, number), range(600)))
    statuses = [(ended(server, id_)["status"], has_seen_end) for id_, has_seen_end in left]
    assert {status for status, _ in statuses} == {"completed", "incomplete", "cancelled"}
    assert all(status != "cancelled" for status, has_seen_end in statuses if has_seen_end)
    until(lambda: not server.llm.engine.scheduler.running, "the end of all requests")


def test_a_store_that_fails_is_told_before_anything_counts_as_stored(start: Start, tmp_path: Path) -> None:
    with start(store=tmp_path / "store.db") as server:
        made = server.post("/responses", input=CAPITAL)
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            connection.execute("DROP TABLE responses")
            connection.commit()
        response = check_stream(streamed(server, input=CAPITAL))
        assert response["status"] == "failed" and "store" in response["error"]["message"]
        assert "Paris" in response["output"][-1]["content"][0]["text"]
        for body in (
            {"input": CAPITAL},
            {"input": "Hi", "previous_response_id": made["id"]},
            {**LONG, "background": True},
        ):
            answer = server.http.post("/v1/responses", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert server.post("/responses", input=CAPITAL, store=False)["status"] == "completed"
        with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            connection.execute("DROP TABLE items")
            connection.commit()
        function = {"name": "f", "arguments": "{}"}
        calling = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        }
        history = [{"role": "user", "content": "Hi"}, calling, {"role": "tool", "tool_call_id": "c", "content": "1"}]
        assert server.post("/chat/completions", messages=history)["choices"], (
            "an API that stores nothing needs no store"
        )


def test_deleting_a_response_ends_it(server: Running) -> None:
    begun = server.post("/responses", **LONG, background=True)
    assert server.http.delete(f"/v1/responses/{begun['id']}").json()["deleted"] is True
    until(lambda: not server.llm.engine.scheduler.running, "the end of the request")
    assert server.http.get(f"/v1/responses/{begun['id']}").status_code == 404


def test_a_response_whose_client_goes_away_is_cancelled(server: Running) -> None:
    with server.http.stream("POST", "/v1/responses", json={**LONG, "stream": True}) as response:
        first = next(line for line in response.iter_lines() if line.startswith("data: "))
    id_ = json.loads(first.removeprefix("data: "))["response"]["id"]
    until(lambda: not server.llm.engine.scheduler.running, "the end of the request")
    found = until(lambda: read(server, id_) if "status" in read(server, id_) else None, "the response")
    assert found["status"] == "cancelled"


@pytest.mark.parametrize("grace_s", [0.0, 60.0])
def test_a_server_that_stops_says_what_became_of_the_rest(
    start: Start, tmp_path: Path, grace_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not end by itself in the time that streams have, too, has failed."""
    monkeypatch.setattr(run, "GRACE_S", grace_s)
    with start(store=tmp_path / "store.db") as server:
        begun = server.post("/responses", **LONG, max_output_tokens=300, background=True)
    with start(store=tmp_path / "store.db") as server:
        found = read(server, begun["id"])
        if grace_s:
            assert found["status"] == "incomplete" and found["output"]
        else:
            assert found["status"] == "failed" and "stopped" in found["error"]["message"]


def test_a_request_that_cannot_begin_is_an_error_at_once(start: Start, weights: Loaded) -> None:
    with start(llm=LLM(weights, context=256)) as server:
        for way in ({"background": True}, {"stream": True}, {"background": True, "stream": True}, {}):
            answer = server.http.post("/v1/responses", json={"input": "word " * 500, **way})
            assert answer.status_code == 400 and answer.json()["error"]["code"] == "context_length_exceeded"
