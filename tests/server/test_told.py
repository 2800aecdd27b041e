"""What became of what was asked: what was left out, cut or hidden is told, briefly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.conftest import Running, Start
from tests.server.response_streams import check_stream
from tests.server.test_response_state import without
from tests.server.test_responses import WEATHER, streamed

ASK = [{"role": "user", "content": "What is 12 + 30?"}]
REQUIRED = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}


def chat(server: Running, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.post("/chat/completions", **{"messages": ASK, "temperature": 0, **body})
    assert "choices" in answer, answer
    return answer


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"store": True, "metadata": {"a": "b"}}, ["metadata", "store"]),
        ({"store": False, "metadata": {}, "modalities": ["text"], "service_tier": "auto"}, []),
        ({"service_tier": "flex", "prediction": {"type": "content", "content": "x"}}, ["prediction", "service_tier"]),
        ({"modalities": ["text", "audio"], "user": "u", "audio": None}, ["modalities"]),
        ({"reasoning": {"effort": "low", "depth": 3}}, ["reasoning.depth"]),
    ],
)
def test_what_is_not_done_is_told(server: Running, body: dict[str, Any], ignored: list[str]) -> None:
    assert chat(server, max_tokens=1, **body).get("harmonium", {}).get("ignored", []) == ignored


def test_names_are_not_said_back_at_length(server: Running) -> None:
    many = {"k" * 100_000: 1} | {f"z{number}": 1 for number in range(5000)}
    told = chat(server, max_tokens=1, **many)["harmonium"]["ignored"]
    assert told[0] == "k" * 63 + "…" and told[-1] == "and 4,969 more" and len(told) == 33
    tools = [{"type": "x" * 1000}, *({"type": f"t{number}"} for number in range(100))]
    assert len(json.dumps(chat(server, max_tokens=1, tools=tools)["harmonium"])) < 1000
    metadata = server.post("/responses", input="Hi", max_output_tokens=1, **many)["metadata"]
    assert metadata["harmony_ignored"].endswith("and 4,969 more")


@pytest.mark.parametrize(
    ("body", "cut"),
    [({"reasoning_budget": 3}, ["budget"]), ({"reasoning_effort": "none", "n": 2}, ["budget"] * 2), ({}, None)],
)
def test_reasoning_that_was_cut_is_told(server: Running, body: dict[str, Any], cut: list[str] | None) -> None:
    assert chat(server, **body).get("harmonium", {}).get("reasoning_cut") == cut


def test_an_object_with_a_schema_follows_it(server: Running) -> None:
    wanted = {"type": "json_object", "schema": REQUIRED}
    assert list(json.loads(chat(server, response_format=wanted)["choices"][0]["message"]["content"])) == ["answer"]
    response = server.post("/responses", input=ASK, text={"format": wanted}, temperature=0)
    assert list(json.loads(response["output"][-1]["content"][0]["text"])) == ["answer"]
    assert response["text"]["format"]["schema"] == REQUIRED


def test_reasoning_can_be_switched_off(server: Running) -> None:
    off = chat(server, reasoning={"enabled": False})
    assert off["usage"] == chat(server, reasoning_effort="none")["usage"]
    response = server.post("/responses", input=ASK, reasoning={"enabled": False})
    assert response["reasoning"]["effort"] == "none"


def test_responses_hide_reasoning_too(start: Start, server: Running) -> None:
    """It is sealed all the same for who keeps it, and a turn goes on with it."""
    asked: dict[str, Any] = {"input": [{"role": "user", "content": "What is the weather in Lima?"}], "tools": [WEATHER]}
    asked |= {"reasoning": {"summary": "auto"}, "temperature": 0, "include": ["reasoning.encrypted_content"]}
    shown = server.post("/responses", **asked)
    with start(reasoning_format="none", key_file=server.serving.settings.key_file) as quiet:
        whole, events = quiet.post("/responses", **asked), streamed(quiet, **asked)
        for response in (whole, check_stream(events)):
            thought, call = response["output"]
            assert (thought["content"], thought["summary"]) == ([], []) and thought["encrypted_content"]
        assert not [event["type"] for event in events if "reasoning_" in event["type"]]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "Sunny"}
        told = [
            quiet.post("/responses", **asked | more)["usage"]["input_tokens"]
            for more in (
                {"input": [result], "previous_response_id": response["id"]},
                {"input": [*asked["input"], *response["output"], result]},
                {"input": [*asked["input"], without(call, "id"), result]},
            )
        ]
        assert set(told) == {told[0]} and told[0] > shown["usage"]["total_tokens"]
    excluded = server.post("/responses", **asked | {"reasoning": {"exclude": True}})
    assert excluded["output"][0]["content"] == [] and shown["output"][0]["content"]


def test_a_conversations_ids_are_those_that_the_chat_is_given(server: Running) -> None:
    tools = [{"type": "function", "function": without(WEATHER, "type")}]
    ask = {"role": "user", "content": "What is the weather in Lima?"}
    [call] = chat(server, messages=[ask], tools=tools)["choices"][0]["message"]["tool_calls"]
    made = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"messages": [ask, made, {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"}], "tools": tools}
    counted = server.http.post("/tokenize", json=body).json()["count"]
    assert counted == chat(server, max_tokens=1, **body)["usage"]["prompt_tokens"]
    only = [{"id": item["id"]} for item in server.post("/responses", input=ASK)["output"]]
    assert server.post("/responses", input=[*ASK, *only, *ASK])["status"] == "completed"
