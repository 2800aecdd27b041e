"""Texts that cannot fit are refused wherever they stand, before they cost anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.harmony.vocabulary import LONGEST_RUN, WINDOW
from harmonium.server.settings import Settings
from tests.server.conftest import Running, running

RUN = "x" * (LONGEST_RUN + 1)
TEXT = "What is 12 + 30? " * 6_000
CONTEXT = 2048
assert len(TEXT) > WINDOW
CALL: dict[str, Any] = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "description": TEXT}}}


@pytest.fixture(scope="module")
def short(weights: Loaded, everywhere: dict[str, Any]) -> Iterator[Running]:
    """A server whose model has little context."""
    with running(Settings(**everywhere), LLM(weights, context=CONTEXT)) as one:
        yield one


@pytest.mark.parametrize("text", [RUN, TEXT], ids=["run", "text"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", lambda text: {"prompt": text}),
        ("/tokenize", lambda text: {"messages": [{"role": "user", "content": text}]}),
        ("/v1/completions", lambda text: {"prompt": ["a", text]}),
        ("/v1/completions", lambda text: {"prompt": text, "parse_special": True}),
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "system", "content": text}]}),
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}], "stream": True}),
        ("/v1/responses", lambda text: {"input": text}),
        ("/v1/responses", lambda text: {"input": text, "truncation": "auto"}),
        ("/v1/responses", lambda text: {"input": "a", "instructions": text, "stream": True}),
        ("/v1/responses", lambda text: {"input": [CALL, {**CALL, "type": "function_call_output", "output": text}]}),
        ("/v1/responses/input_tokens", lambda text: {"input": text}),
    ],
)
def test_too_long_is_told(short: Running, path: str, body: Any, text: str) -> None:
    answer = short.http.post(path, json=body(text))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded"), answer.text
    assert len(answer.text) < 1000


def test_tools_count(short: Running) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
    asked = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
    error = short.post("/chat/completions", **asked)["error"]
    assert error["code"] == "context_length_exceeded", error
