"""A request for MODEL:NAME gets what NAME answers, whatever that is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, cast

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.errors import TimedOut
from harmonium.server import upstream
from harmonium.server.settings import Settings
from tests.chat.other_server import Answer, other_server
from tests.server.conftest import Running, running

MESSAGES = [{"role": "user", "content": "What is 12 + 30?"}]
KEY = "sk-of-the-other"
CHANGES = frozenset({"id", "created", "created_at", "completed_at", "cached_tokens", "usage"})


@pytest.fixture(scope="module")
def both(weights: Loaded) -> Iterator[tuple[Running, Running]]:
    """A server, and one before it that knows it under two names, once with its key."""
    with pytest.MonkeyPatch.context() as patch, running(Settings(api_keys={"front": KEY}), LLM(weights)) as other:
        patch.setenv("THE_OTHER_API_KEY", KEY)
        urls = {"the-other": f"{other.url}/v1", "keyless": f"{other.url}/v1", "gone": "http://127.0.0.1:9/v1"}
        with running(Settings(upstreams=urls, served_names=("front",)), LLM(weights)) as front:
            yield other, front


def same(value: Any) -> Any:
    """Without what differs from one answer to the next."""
    if isinstance(value, dict):
        return {key: same(item) for key, item in value.items() if key not in CHANGES}
    return [same(item) for item in value] if isinstance(value, list) else value


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def said(text: str) -> str:
    """The text of any of the APIs' streams, joined."""
    parts = [event["delta"] for event in events(text) if event.get("type") == "response.output_text.delta"]
    for choice in (choice for event in events(text) for choice in event.get("choices", ())):
        parts.append(choice.get("text") or choice.get("delta", {}).get("content") or "")
    return "".join(parts)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES}),
        ("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 5}),
        ("/v1/responses", {"input": "What is 12 + 30?", "store": False}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_its_answer_comes_back(both: tuple[Running, Running], path: str, body: dict[str, Any], stream: bool) -> None:
    other, front = both
    there = other.http.post(
        path, json=body | {"model": "nano", "stream": stream}, headers={"Authorization": f"Bearer {KEY}"}
    )
    here = front.http.post(path, json=body | {"model": "nano:the-other", "stream": stream})
    assert here.status_code == there.status_code == 200, here.text
    assert here.headers["content-type"].split(";") == there.headers["content-type"].split(";")
    if stream:
        assert said(here.text) == said(there.text) != ""
        assert len(events(here.text)) > 1  # how many is a matter of how busy the machine is
    else:
        assert same(here.json()).keys() == same(there.json()).keys()
        assert here.json()["model"] == "nano"


def test_its_models_are_told_of_where_they_are(both: tuple[Running, Running]) -> None:
    other, front = both
    there = other.http.get("/v1/models/nano", headers={"Authorization": f"Bearer {KEY}"})
    here = front.http.get("/v1/models/nano:the-other")
    assert (here.status_code, here.json()) == (200, there.json())
    assert front.http.get("/v1/models/gpt:the-other").json()["error"]["message"].startswith("There is no model 'gpt'")
    tokens = front.http.post("/tokenize", json={"model": "nano:the-other", "prompt": "x"})
    assert tokens.status_code == 400 and f"ask {other.url}/v1 itself" in tokens.json()["error"]["message"]
    assert [model["id"] for model in front.http.get("/v1/models").json()["data"]] == ["front"]


@pytest.mark.parametrize("stream", [False, True])
def test_its_errors_come_back_too(both: tuple[Running, Running], stream: bool) -> None:
    _, front = both
    asked = {"messages": MESSAGES, "stream": stream}
    answers = {
        model: front.http.post("/v1/chat/completions", json=asked | {"model": model})
        for model in ("nano:keyless", "gpt:the-other", "nano:gone", "nano:unknown")
    }
    told = {model: (answer.status_code, answer.json()["error"]["code"]) for model, answer in answers.items()}
    assert told == {
        "nano:keyless": (401, "invalid_api_key"),
        "gpt:the-other": (404, "model_not_found"),
        "nano:gone": (502, "server_unreachable"),
        "nano:unknown": (404, "model_not_found"),
    }
    said = answers["nano:unknown"].json()["error"]["message"]
    assert "'front', MODEL:the-other, MODEL:keyless, MODEL:gone" in said
    assert said.endswith("To reach 'nano' elsewhere: harmonium serve --upstream unknown=URL")


STREAM = "text/event-stream"
EVENT = b'data: {"n":1}\n\n'


@contextmanager
def before(weights: Loaded, *answers: Answer) -> Iterator[Callable[..., httpx2.Response]]:
    """What asks a server before one that gives these answers, once each; takes a body's fields, or its text."""
    with other_server(*answers) as other:
        with running(Settings(upstreams={"other": other.url}), LLM(weights)) as front:

            def ask(text: bytes | None = None, **fields: Any) -> httpx2.Response:
                body = {"model": "m:other", "messages": MESSAGES} | fields
                content = json.dumps(body).encode() if text is None else text
                return front.http.post("/v1/chat/completions", content=content, headers={"X-Request-Id": "mine"})

            yield ask
        assert all(asked.headers["X-Request-Id"] == "mine" for asked in other.asked)
        assert all(body["model"] == "m" for body in other.bodies)


def test_what_no_client_can_use_is_an_error(weights: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a bug of ours, nor a success, nor a way past this server."""
    monkeypatch.setattr(upstream, "LONGEST_EVENT", 1000)
    monkeypatch.setattr(upstream, "LONGEST_ANSWER", 1000)
    answers = [
        Answer(b"", kind=STREAM),
        Answer(b"data: " + b"x" * 2000, kind=STREAM),
        Answer(b'{"error": {"message": "boom"}}', 500, STREAM),
        Answer(b"", 307, headers={"Location": "http://127.0.0.1:9/"}),
        Answer(b"", 307),
        Answer(EVENT + b"data: " + b"x" * 2000, kind=STREAM),
        Answer(EVENT + b'data: {"n"', kind=STREAM),
        Answer(EVENT + b"data: [DONE]", kind=STREAM),
        Answer(b"x" * 2000),
        Answer(b"x" * 1000),
    ]
    with before(weights, *answers) as ask:
        for status, said in (
            (502, "its stream ended without an event"),
            (502, "an event of its stream has more than 1,000 bytes"),
            (500, "boom"),
            (502, "it redirects to http://127.0.0.1:9/ (307)"),
            (502, "it redirects to nowhere (307)"),
        ):
            told = ask(stream=True)
            assert told.status_code == status and said in told.json()["error"]["message"]
        begun = ask(stream=True)
        assert begun.status_code == 200 and begun.content.startswith(EVENT) and "server_unreachable" in begun.text
        assert "ended in the middle of an event" in ask(stream=True).text
        assert ask(stream=True).content == EVENT + b"data: [DONE]", "as some servers end"
        long = ask()
        assert long.status_code == 502 and "its answer has more than 1,000 bytes" in long.json()["error"]["message"]
        assert ask().content == b"x" * 1000


def test_what_is_no_text_and_no_number_is_sent_on(weights: Loaded) -> None:
    """The other server says what it takes."""
    answer = Answer(b"{}")
    with before(weights, answer, answer) as ask:
        said = ask(b'{"model": "m:other", "messages": [{"role": "user", "content": "\\ud800"}]}')
        assert (said.status_code, said.json()) == (200, {})
        number = ask(json.dumps({"model": "m:other", "messages": MESSAGES, "free": float("nan")}).encode())
        assert (number.status_code, number.json()) == (200, {})


def events_of(pieces: list[bytes], timeout_s: float | None = None) -> list[bytes]:
    """What goes out of a stream that comes in these pieces; nothing is sent."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def read() -> list[bytes]:
        there = upstream.Upstream("other", "http://127.0.0.1:9", None, "m", cast(Any, None), timeout_s)
        return [event async for event in there._events(httpx2.Response(200, content=body()))]

    return asyncio.new_event_loop().run_until_complete(read())


def test_a_stream_ends_within_the_time_of_a_request() -> None:
    with pytest.raises(TimedOut, match="within the time"):
        events_of([EVENT], timeout_s=-1.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["data: 1", "event: a", ": b"]), st.sampled_from(["\n", "\r", "\r\n"])), min_size=1
    ),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_events_are_whole_wherever_a_stream_is_cut(lines: list[tuple[str, str]], sizes: list[int]) -> None:
    """Whichever way lines end, an event goes out as soon as it has come, and nothing is lost."""
    text = b"".join((line + end + end).encode() for line, end in lines)
    cuts = [0, *accumulate(sizes)]
    pieces = [text[start:end] for start, end in zip(cuts, [*cuts[1:], None], strict=True)]

    found = events_of(pieces)
    assert b"".join(found) == text
    assert [event.strip(b"\r\n").decode() for event in found if event.strip(b"\r\n")] == [line for line, _ in lines]


def test_a_long_event_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pieces it comes in."""
    n_seen, end = 0, upstream._END

    class Ends:
        def search(self, held: bytearray, start: int) -> Any:
            nonlocal n_seen
            n_seen += len(held) - start
            return end.search(held, start)

    monkeypatch.setattr(upstream, "_END", Ends())
    text = b"data: " + b"x" * 100_000 + b"\n\n"
    assert events_of([text[start : start + 100] for start in range(0, len(text), 100)]) == [text]
    assert n_seen < 2 * len(text)
