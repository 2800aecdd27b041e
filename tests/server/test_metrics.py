"""/metrics counts what was computed, /ready says whether a request would be taken, and streams keep to their form."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harmonium import LLM, BadRequest, RequestFailed
from harmonium.engine.speculative import Worth
from harmonium.server import sse, state
from harmonium.server.calls import Call
from harmonium.server.merging import merged
from tests.server.conftest import Running, Start
from tests.server.test_response_background import until

ASKED = {"messages": [{"role": "user", "content": "What is 12 + 30?"}]}


def figures(server: Running) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = server.http.get("/metrics").text
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_tokens_times_and_pages_are_counted(start: Start) -> None:
    with start() as server:
        usages = [server.post("/chat/completions", **ASKED, n=n)["usage"] for n in (1, 2)]
        server.http.post("/v1/chat/completions", json={})
        told = figures(server)
    n_generated = sum(usage["completion_tokens"] for usage in usages)
    assert told["harmonium_generated_tokens_total"] == n_generated
    assert told["harmonium_prompt_tokens_total"] == 3 * usages[0]["prompt_tokens"]
    assert told["harmonium_cached_tokens_total"] > 0
    assert told["harmonium_first_token_seconds_count"] == 3
    assert 0 < told["harmonium_between_tokens_seconds_count"] <= n_generated
    assert told["harmonium_pages_held"] == told["harmonium_batch_requests"] == told["harmonium_queue_requests"] == 0
    assert told["harmonium_pages"] > told["harmonium_pages_idle"] > 0
    path = ("path", "/v1/chat/completions")
    assert told[f"harmonium_requests_total{[('method', 'POST'), path, ('status', '200')]}"] == 2
    assert told[f"harmonium_requests_total{[('method', 'POST'), path, ('status', '400')]}"] == 1
    assert told["harmonium_errors_total[('code', 'invalid_request_error'), ('method', 'POST')]"] == 1


def test_guesses_are_counted(start: Start, weights: Any) -> None:
    llm = LLM(weights, speculate="ngram")
    assert llm.engine.speculation is not None
    llm.engine.speculation.costs.least_chance = lambda n_rows: 0.001  # type: ignore[method-assign]
    llm.engine.speculation._worth_of = lambda n_rows: Worth()  # type: ignore[method-assign]
    with start(llm=llm) as server:
        server.post("/completions", prompt="one two three one two three one two three one two", max_tokens=60)
        told = figures(server)
        assert told["harmonium_drafted_tokens_total"] == llm.engine.speculation.n_drafted > 0
        assert told["harmonium_accepted_tokens_total"] == llm.engine.speculation.n_stood


def test_an_engine_that_has_stopped_is_not_ready(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as server:
        assert server.http.get("/ready").json() == {"status": "ready", "model": "nano"}
        monkeypatch.setattr(server.llm.engine, "step", lambda: 1 / 0)
        failed = server.http.post("/v1/chat/completions", json=ASKED)
        assert failed.status_code == 500 and failed.json()["error"]["code"] == "request_failed"
        gone = server.http.get("/ready")
        assert gone.status_code == 500 and "The engine has stopped" in gone.json()["error"]["message"]
        assert server.http.get("/health").status_code == 200


def test_a_store_that_fails_makes_unready_and_counts(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures are counted once each, whether they come as an answer, in a stream or in the background."""
    monkeypatch.setattr(state, "CHECK_EVERY_S", 0.0)
    with start(store=tmp_path / "store.db") as server, sqlite3.connect(tmp_path / "store.db") as outside:
        assert server.http.get("/ready").status_code == 200
        outside.execute("ALTER TABLE store RENAME TO elsewhere")
        outside.execute("ALTER TABLE items RENAME TO lost")
        outside.commit()
        unready = server.http.get("/ready")
        assert (unready.status_code, unready.json()["error"]["code"]) == (503, "unavailable")
        asked = {"input": "Hi", "max_output_tokens": 4}
        assert server.http.post("/v1/responses", json=asked).status_code == 503
        with server.http.stream("POST", "/v1/responses", json=asked | {"stream": True}) as answer:
            assert answer.status_code == 200 and "event: response.failed" in [*answer.iter_lines()]
        counted = "harmonium_errors_total[('code', 'unavailable'), ('method', 'POST')]"
        until(lambda: figures(server).get(counted, 0) >= 2, "the stream's failure")  # counted when its last word is out
        assert figures(server)[counted] == 2
        outside.execute("ALTER TABLE elsewhere RENAME TO store")
        outside.execute("ALTER TABLE lost RENAME TO items")
        outside.commit()
        assert server.http.get("/ready").status_code == 200


def test_a_failure_in_the_background_is_counted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as server:
        monkeypatch.setattr(server.llm.engine, "step", lambda: 1 / 0)
        made = server.post("/responses", input="Hi", background=True)
        with server.http.stream("GET", f"/v1/responses/{made['id']}?stream=true") as answer:
            assert "event: response.failed" in [*answer.iter_lines()]
        assert figures(server)["harmonium_errors_total[('code', 'request_failed'), ('method', 'POST')]"] == 1


async def written(events: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Every write of a stream."""
    writes: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            writes.append(message["body"])

    async def receive() -> Any:
        await asyncio.sleep(3600)

    await (await sse.EventStream.begin(events))({"type": "http", "state": {"call": Call("a")}}, receive, send)
    return writes


def run(work: Any) -> Any:
    """In a loop of its own, whatever runs in this thread."""
    return asyncio.new_event_loop().run_until_complete(work)


def test_an_event_is_a_write_and_an_error_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield sse.data({"n": 1})
        yield sse.event("name", '{"n":2}')
        await asyncio.sleep(0.2)
        raise RequestFailed("The step failed.")

    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.05)
    one, two, *comments, error = run(written(events()))
    assert (one, two) == (b'data: {"n":1}\n\n', b'event: name\ndata: {"n":2}\n\n')
    assert comments and set(comments) == {b": still here\n\n"}
    assert error.startswith(b'data: {"error":{"message":"The step failed."') and error.endswith(sse.DONE)


def test_what_is_wrong_at_once_is_no_stream() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        raise BadRequest("No.")
        yield b""

    with pytest.raises(BadRequest):
        run(written(events()))


def test_merged_streams_keep_each_ones_order() -> None:
    async def count(n: int) -> AsyncGenerator[int, None]:
        for number in range(n):
            await asyncio.sleep(0.001 * (number % 3))
            yield number

    async def whole() -> list[tuple[int, int | None]]:
        return [item async for item in merged([count(5), count(3), count(0)])]

    told = run(whole())
    for number, n in enumerate((5, 3, 0)):
        assert [item for own, item in told if own == number] == [*range(n), None]
