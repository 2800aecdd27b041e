"""/v1/chat/completions: objects and chunks are OpenAI's, and a stream is the whole answer in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.server.conftest import Running

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
MATRIX: dict[str, dict[str, Any]] = {
    "text": {"messages": [{"role": "user", "content": "What is 12 + 30?"}]},
    "two choices": {"messages": [{"role": "user", "content": "What is 12 + 30?"}], "n": 2, "temperature": 1, "seed": 3},
    "no reasoning": {"messages": [{"role": "user", "content": "What is 12 + 30?"}], "reasoning_effort": "none"},
    "a function": {"messages": [{"role": "user", "content": "What is the weather in Madrid?"}], "tools": [WEATHER]},
    "a schema": {
        "messages": [{"role": "user", "content": "What is the capital of Canada?"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}},
    },
    "a limit": {"messages": [{"role": "user", "content": "What is 12 + 30?"}], "max_completion_tokens": 5},
}


def joined(chunks: list[ChatCompletionChunk], index: int) -> dict[str, Any]:
    """A choice's deltas as a message."""
    message: dict[str, Any] = {"content": None, "reasoning": None, "reasoning_content": None, "tool_calls": []}
    for choice in (choice for chunk in chunks for choice in chunk.choices if choice.index == index):
        delta = choice.delta.model_dump(exclude_unset=True)
        for key in ("content", "reasoning", "reasoning_content"):
            if key in delta:
                message[key] = (message[key] or "") + delta[key]
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                message["tool_calls"].append({"name": call["function"]["name"], "arguments": ""})
            message["tool_calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    return message


@pytest.mark.parametrize("name", MATRIX)
def test_a_stream_is_the_whole_in_pieces(server: Running, name: str) -> None:
    asked = MATRIX[name]
    whole = ChatCompletion.model_validate(server.post("/chat/completions", **asked), strict=True)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    lines = server.http.post("/v1/chat/completions", json=asked | options).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [ChatCompletionChunk.model_validate_json(line.removeprefix("data: ")) for line in lines[:-2]]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage is not None and whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    for choice in whole.choices:
        told, said = joined(chunks, choice.index), choice.message.model_dump()
        assert (told["content"] or None) == (said["content"] or None)
        assert told["reasoning"] == told["reasoning_content"] == said.get("reasoning") == said.get("reasoning_content")
        made = [(call["name"], call["arguments"]) for call in told["tool_calls"]]
        assert made == [(c["function"]["name"], c["function"]["arguments"]) for c in said["tool_calls"] or ()]
        ends = [c.finish_reason for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert ends == [None] * (len(ends) - 1) + [choice.finish_reason]


def test_a_choice_that_fails_does_not_take_the_others_with_it(server: Running) -> None:
    """A grammar's dead end is behind a choice: who comes there is cut and says why; where all do it is the request."""
    rules = {"type": "grammar", "syntax": "lark", "definition": 'start: /[a-m]/ x | /[n-z]/\nx: x "c"'}
    ask = {"role": "user", "content": "Hi"}
    asked = {"messages": [ask], "response_format": rules, "reasoning_budget": 0, "temperature": 2, "seed": 1, "n": 5}
    choices = server.post("/chat/completions", **asked)["choices"]
    failed = [choice for choice in choices if "error" in choice]
    whole = [choice for choice in choices if "error" not in choice]
    assert failed and whole and all(choice["finish_reason"] == "stop" for choice in whole)
    assert all(
        choice["finish_reason"] == "length" and "mend that rule" in choice["error"]["message"] for choice in failed
    )
    lines = server.http.post("/v1/chat/completions", json=asked | {"stream": True}).text.split("\n\n")
    ends = [json.loads(line[6:])["choices"][0] for line in lines if '"finish_reason":"' in line]
    told = {choice["index"]: (choice["finish_reason"], choice.get("error")) for choice in choices}
    assert {end["index"]: (end["finish_reason"], end.get("error")) for end in ends} == told
    all_fail = {**rules, "definition": 'start: /[a-z]/ x\nx: x "c"'}
    response = server.http.post("/v1/chat/completions", json=asked | {"response_format": all_fail})
    assert response.status_code == 400 and "mend that rule" in response.json()["error"]["message"]
