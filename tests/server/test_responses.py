"""/v1/responses of a real server with nano: whole and streamed are the same, and say what the model said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harmonium import LLM
from tests.server.conftest import Running, Start
from tests.server.response_streams import check_response, check_stream

CAPITAL = "What is the capital of France?"
WEATHER = {
    "type": "function",
    "name": "get_current_weather",
    "description": "Returns the current weather.",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city"}},
        "required": ["location"],
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"capital": {"type": "string", "maxLength": 20}},
    "required": ["capital"],
    "additionalProperties": False,
}
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"input": CAPITAL},
    "reasoning with a summary": {"input": CAPITAL, "reasoning": {"effort": "high", "summary": "auto"}},
    "no reasoning": {"input": CAPITAL, "reasoning": {"effort": "none"}},
    "function": {"input": "What is the weather in Oslo?", "tools": [WEATHER]},
    "strict function": {"input": "What is the weather in Oslo?", "tools": [{**WEATHER, "strict": True}]},
    "required": {"input": CAPITAL, "tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 200},
    "schema": {
        "input": CAPITAL,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
        "max_output_tokens": 300,
    },
    "any JSON": {"input": CAPITAL, "text": {"format": {"type": "json_object"}}, "max_output_tokens": 60},
    "limit": {"input": CAPITAL, "max_output_tokens": 8},
    "limit in a call": {
        "input": "What is the weather in Oslo?",
        "tools": [WEATHER],
        "tool_choice": "required",
        "reasoning": {"effort": "none"},
        "max_output_tokens": 12,
    },
    "logprobs": {"input": CAPITAL, "include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "sealed": {"input": CAPITAL, "store": False, "include": ["reasoning.encrypted_content"]},
    "nothing said": {"input": [], "max_output_tokens": 8},
}


def streamed(server: Running, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, each of which has its own name."""
    with server.http.stream("POST", "/v1/responses", json={**body, "stream": True}) as response:
        assert response.status_code == 200, response.read()
        text = response.read().decode()
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue  # a sign of life, on a busy machine
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def timeless(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what is another one each time."""
    output = [{**item, "id": "", "call_id": "", "encrypted_content": ""} for item in response["output"]]
    usage = {**response["usage"], "input_tokens_details": None}
    return {**response, "id": "", "created_at": 0, "completed_at": 0, "output": output, "usage": usage}


@pytest.mark.parametrize("name", REQUESTS)
def test_streamed_and_whole_are_the_same(server: Running, name: str) -> None:
    body = {"temperature": 0, **REQUESTS[name]}
    events = streamed(server, **body)
    response = check_stream(events)
    whole = server.post("/responses", **body)
    check_response(whole)
    assert timeless(whole) == timeless(response)
    if whole["store"]:
        assert server.http.get(f"/v1/responses/{whole['id']}").json() == whole
        assert server.http.get(f"/v1/responses/{response['id']}").json() == response
    else:
        assert server.http.get(f"/v1/responses/{whole['id']}").status_code == 404


def test_logprobs_are_those_of_each_items_tokens(server: Running) -> None:
    body = REQUESTS["logprobs"] | {"reasoning": {"effort": "low"}}
    for item in server.post("/responses", **body)["output"]:
        [part] = item["content"]
        assert b"".join(bytes(one["bytes"]) for one in part["logprobs"]).decode() == part["text"] != ""
        for one in part["logprobs"]:
            assert one["logprob"] <= 0 and len(one["top_logprobs"]) == 2
            assert one["logprob"] <= one["top_logprobs"][0]["logprob"]
    plain = server.post("/responses", input=CAPITAL)["output"][-1]["content"][0]
    assert plain["logprobs"] == []


def test_a_stop_string_ends_the_answer(server: Running) -> None:
    text = server.post("/responses", input=CAPITAL)["output"][-1]["content"][0]["text"]
    cut = server.post("/responses", input=CAPITAL, stop="aris")
    assert "aris" in text and cut["status"] == "completed"
    assert cut["output"][-1]["content"][0]["text"] == text.partition("aris")[0]


def test_a_budget_closes_the_reasoning(server: Running) -> None:
    response = server.post("/responses", input=CAPITAL, reasoning={"max_tokens": 3})
    assert response["metadata"]["harmony_reasoning_cut"] == "budget" and response["status"] == "completed"
    assert 0 < response["usage"]["output_tokens_details"]["reasoning_tokens"] < 12


def test_arguments_follow_their_schema_where_a_tool_does_not_say_strict(server: Running) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "enum": [17]}}, "required": ["n"]}
    body = {"tool_choice": "required", "temperature": 2, "reasoning": {"effort": "none"}, "max_output_tokens": 100}
    tool = {"type": "function", "name": "f", "parameters": {**schema, "additionalProperties": False}}
    for seed in range(5):
        call = server.post("/responses", input=CAPITAL, tools=[tool], seed=seed, **body)["output"][-1]
        assert json.loads(call["arguments"]) == {"n": 17}


def test_a_limit_of_tool_calls_is_one_of_builtin_tools(server: Running) -> None:
    """Functions are the client's to call, and OpenAI does not count them."""
    response = server.post("/responses", input="What is the weather in Oslo?", tools=[WEATHER], max_tool_calls=0)
    assert (response["status"], response["max_tool_calls"]) == ("completed", 0)
    assert response["output"][-1]["type"] == "function_call"


def test_another_server_behind_this_one_is_asked(server: Running, start: Start) -> None:
    with start(upstreams={"other": f"{server.url}/v1"}) as front:
        assert timeless(front.post("/responses", model="nano:other", input=CAPITAL)) == timeless(
            server.post("/responses", input=CAPITAL)
        )
        check_stream(streamed(front, model="nano:other", input=CAPITAL))
        refused = front.http.post("/v1/responses", json={"model": "nano:other", "input": 7})
        assert refused.status_code == 400


def test_it_is_what_the_model_says(server: Running) -> None:
    reply = LLM().chat("What is the weather in Oslo?", tools=[WEATHER], run_tools=False)
    response = server.post("/responses", input="What is the weather in Oslo?", tools=[WEATHER])
    thought, call = response["output"]
    assert thought["content"][0]["text"] == reply.reasoning
    assert (call["name"], call["arguments"]) == (reply.tool_calls[0].name, reply.tool_calls[0].arguments)
    assert response["usage"]["input_tokens"] == reply.usage.prompt
    assert response["usage"]["output_tokens"] == reply.usage.completion
