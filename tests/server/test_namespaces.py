"""Functions in namespaces, as agents declare those of their MCP servers, are called and answered like others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Running
from tests.server.response_streams import check_stream
from tests.server.test_responses import streamed

WEATHER = {
    "type": "function",
    "name": "get_current_weather",
    "description": "Get the current weather in a city.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SPACE = {"type": "namespace", "name": "mcp__weather", "description": "Weather.", "tools": [WEATHER]}
OTHER = {"type": "custom", "name": "patch"}
QUESTION = {"role": "user", "content": "What is the weather like in Madrid?"}


def test_a_call_goes_to_its_namespace_and_the_turn_goes_on(server: Running) -> None:
    events = streamed(server, input=[QUESTION], tools=[SPACE, OTHER], store=False)
    check_stream(events)
    response = events[-1]["response"]
    *_, call = response["output"]
    assert (call["namespace"], call["name"], call["arguments"]) == (
        "mcp__weather",
        "get_current_weather",
        '{"city": "Madrid"}',
    )
    assert response["metadata"]["harmony_not_offered"] == "custom:patch"
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny, 27 degrees"}
    elsewhere = {"call_id": "call_elsewhere"}
    answers = []
    for history in ([*response["output"], output], [call | elsewhere, output | elsewhere]):
        said = server.post("/responses", input=[QUESTION, *history], tools=[SPACE], store=False)
        answers.append(said["output"][-1]["content"][0]["text"])
    assert "27" in answers[0]
    assert answers[1], "a call that this server did not make, without its reasoning"


@pytest.mark.parametrize("tools", [[], None, [OTHER]])
def test_a_namespace_without_functions(server: Running, tools: Any) -> None:
    body = {"input": "What is 12 + 30?", "tools": [SPACE | {"tools": tools}], "max_output_tokens": 60}
    response = server.post("/responses", **body)
    assert response["output"][-1]["content"][0]["text"] == "12 + 30 = 42"
    assert response["metadata"].get("harmony_not_offered") == ("custom:patch in mcp__weather" if tools else None)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (SPACE | {"tools": [SPACE]}, "within another one"),
        (SPACE | {"tools": 5}, "tools is a list"),
        (SPACE | {"name": None}, "a namespace without a name"),
    ],
)
def test_what_is_no_namespace(server: Running, space: Any, says: str) -> None:
    assert says in server.post("/responses", input="Hello", tools=[space])["error"]["message"]
