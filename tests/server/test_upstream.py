"""A request for MODEL:NAME gets what NAME answers, whatever that is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server.settings import Settings
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
