"""Cursor's agent: it asks chat completions in the words of Responses, and reads what chat completions answer."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.server.conftest import Running
from tests.server.test_namespaces import OTHER, WEATHER

QUESTION = "What is the weather like in Madrid?"
ASKED: dict[str, Any] = {
    "model": "nano",
    "input": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
    ],
    "tools": [WEATHER, OTHER],
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "text": {"verbosity": "low"},
    "truncation": "auto",
    "max_output_tokens": 200,
    "user": "someone",
}


def test_its_agent_calls_a_tool_and_answers(server: Running) -> None:
    first = ChatCompletion.model_validate(server.post("/chat/completions", **ASKED)).choices[0]
    [call] = first.message.tool_calls or ()
    assert call.type == "function" and call.function.arguments == '{"city": "Madrid"}'
    said = [
        {"type": "function_call", "call_id": call.id, "name": call.function.name, "arguments": call.function.arguments},
        {"type": "function_call_output", "call_id": call.id, "output": "sunny, 27 degrees"},
    ]
    options = ASKED | {"input": [*ASKED["input"], *said], "stream": True}
    lines = server.http.post("/v1/chat/completions", json=options).text.split("\n\n")
    chunks = [
        ChatCompletionChunk.model_validate_json(line.removeprefix("data: "))
        for line in lines
        if line.startswith("data: {")
    ]
    answer = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "27" in answer


def test_both_ways_to_ask_mean_the_same(server: Running) -> None:
    kept = {"model": "nano", "temperature": 0}
    words = "What is the capital of Peru?"
    told = [{"role": "developer", "content": "Answer in upper case."}, {"role": "user", "content": words}]
    usual = server.post("/chat/completions", messages=told, **kept)
    other = server.post("/chat/completions", input=words, instructions="Answer in upper case.", **kept)
    assert other["choices"] == usual["choices"]
    assert other["usage"]["prompt_tokens"] == usual["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "messages: Field required"),
        ({"messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}, "another way to say the same"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_none"}]}, "There is no stored item"),
    ],
)
def test_what_is_neither(server: Running, body: dict[str, Any], says: str) -> None:
    assert says in server.post("/chat/completions", **body)["error"]["message"]
