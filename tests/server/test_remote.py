"""The same question here and through a server: the same reasoning, calls, results and text, over either API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from harmonium import LLM, Reply
from harmonium.chat.loading import Loaded
from harmonium.chat.remote import RemoteLLM
from harmonium.cli.demo_functions import get_current_weather, get_price
from harmonium.errors import ModelNotFound, PromptTooLong, Unauthorized
from tests.server.conftest import Running, Start

TOOLS: list[Callable[..., Any]] = [get_current_weather, get_price]
SCHEMA = {
    "type": "object",
    "properties": {"country": {"type": "string"}, "capital": {"type": "string"}},
    "required": ["country", "capital"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
WEATHER = "What is the weather like in Madrid?"
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": ("How many r's are in the word 'strawberry'?", {}),
    "high effort": ("What is 12 + 30?", {"effort": "high"}),
    "a system message": (
        [{"role": "system", "content": "Reasoning language: German"}, {"role": "user", "content": "2 + 2 = ?"}],
        {"effort": "low"},
    ),
    "a conversation": (
        [
            {"role": "user", "content": "What is the capital of Peru?"},
            {"role": "assistant", "reasoning": "Peru's is Lima.", "content": "Lima."},
            {"role": "user", "content": "And of Chile?"},
        ],
        {},
    ),
    "the likeliest few": ("What is the capital of Japan?", {"temperature": 3.0, "top_k": 3, "seed": 7}),
    "the likely ones": ("What is the capital of Japan?", {"temperature": 3.0, "min_p": 0.3, "seed": 7}),
    "the likelier half": ("What is the capital of Japan?", {"temperature": 3.0, "top_p": 0.5, "seed": 7}),
    "a function": (WEATHER, {"tools": TOOLS}),
    "a call handed out": (WEATHER, {"tools": TOOLS, "run_tools": False}),
    "a call that has to be": ("What does a bicycle cost?", {"tools": TOOLS, "tool_choice": "get_price"}),
    "no call": (WEATHER, {"tools": TOOLS, "tool_choice": "none"}),
    "a schema": ("What is the capital of Canada?", {"response_format": JSON_SCHEMA}),
    "any JSON": ("What is the capital of Canada?", {"response_format": {"type": "json_object"}}),
    "a limit": ("How many r's are in the word 'strawberry'?", {"max_tokens": 12}),
    "a budget": ("How many r's are in the word 'strawberry'?", {"reasoning_budget": 6}),
    "no reasoning": ("What is the capital of Chile?", {"reasoning_budget": 0}),
}


@pytest.fixture(scope="module")
def here(weights: Loaded) -> LLM:
    return LLM(weights)


@pytest.fixture(scope="module")
def expected(here: LLM) -> Callable[[str], dict[str, Any]]:
    """What a case gives here."""

    @cache
    def ask(name: str) -> dict[str, Any]:
        messages, options = CASES[name]
        return compared(here.chat(messages, stop_loops=True, **options))

    return ask


@pytest.fixture(scope="module", params=["chat", "responses"])
def there(server: Running, request: pytest.FixtureRequest) -> Iterator[RemoteLLM]:
    with RemoteLLM(server.url, api=request.param) as llm:
        yield llm


def compared(reply: Reply) -> dict[str, Any]:
    """What has to be equal: everything but ids, and how much the cache had."""
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    results = [(result.name, result.text, result.is_error) for result in reply.tool_results]
    usage = (reply.usage.prompt, reply.usage.completion, reply.usage.reasoning)
    told = {"text": reply.text, "reasoning": reply.reasoning, "calls": calls, "results": results, "usage": usage}
    return told | {"finish_reason": reply.finish_reason, "messages": reply.messages}


@pytest.mark.parametrize("name", CASES)
def test_the_same_answer_here_and_there(expected: Callable[[str], dict[str, Any]], there: RemoteLLM, name: str) -> None:
    messages, options = CASES[name]
    assert compared(there.chat(messages, **options)) == expected(name)


def test_conversations_go_on_alike(here: LLM, there: RemoteLLM) -> None:
    """Two turns with functions, the second on top of what the first gave."""
    questions = [WEATHER, "What does a bicycle cost?"]
    said: dict[str, list[dict[str, Any]]] = {"here": [], "there": []}
    for where, llm in (("here", here), ("there", there)):
        messages: list[Any] = []
        for question in questions:
            messages.append({"role": "user", "content": question})
            reply = llm.chat(messages, tools=TOOLS)
            messages += reply.messages
            said[where].append(compared(reply))
    assert said["there"] == said["here"]
    assert all(turn["calls"] for turn in said["here"])


def test_a_call_handed_out_is_answered_later(here: LLM, there: RemoteLLM) -> None:
    whole = here.chat(WEATHER, tools=TOOLS)
    handed = there.chat(WEATHER, tools=TOOLS, run_tools=False)
    [call] = handed.pending_calls
    answered = [{"role": "user", "content": WEATHER}, *handed.messages, call.answer("sunny, 27 degrees")]
    assert there.chat(answered, tools=TOOLS, run_tools=False).text == whole.text


def test_the_model_and_its_context_are_found(server: Running, there: RemoteLLM) -> None:
    assert (there.name, there.context) == ("nano", server.llm.context)


def test_what_the_server_refuses(server: Running, start: Start, weights: Loaded) -> None:
    for api in ("chat", "responses"):
        with RemoteLLM(server.url, "gpt-oss-20b", api=api) as llm, pytest.raises(ModelNotFound, match="nano"):
            llm.chat("Hello")
    with start(LLM(weights, context=512)) as small, RemoteLLM(small.url) as llm:
        with pytest.raises(PromptTooLong, match="512"):
            llm.chat("word " * 600)
        assert llm.chat("2 + 2 = ?").text
    with start(api_keys={"me": "sk-secret-1"}) as locked:
        for key, words in ((None, "wants a key, which --api-key-env names"), ("sk-secret-2", "refuses the key")):
            with pytest.raises(Unauthorized, match=words):
                RemoteLLM(locked.url, key=key)
        assert RemoteLLM(locked.url, key="sk-secret-1").chat("2 + 2 = ?").text


def test_hanging_up_ends_the_work(server: Running, there: RemoteLLM) -> None:
    events = there.stream("How many r's are in the word 'strawberry'?", effort="high")
    next(events)
    events.close()
    deadline = time.monotonic() + 20
    while server.llm.engine.scheduler.running:
        assert time.monotonic() < deadline, "the request is still there"
        time.sleep(0.01)
