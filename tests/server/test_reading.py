"""Bodies are bounded before anything else looks at them; what is within the bounds is read as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from harmonium.errors import TooLarge
from harmonium.server.calls import BOUNDS
from harmonium.server.reading import LARGE, MOST_KEYS, MOST_PARTS, read
from harmonium.server.routes.tokenize import DetokenizeRequest, TokenizeRequest
from harmonium.server.wire.chat_request import ChatRequest
from harmonium.server.wire.completion_request import CompletionRequest
from harmonium.server.wire.response_request import ResponseRequest
from harmonium.server.wire.tools import MOST_TOOLS
from tests.server.conftest import Running

VALUES, KEYS = BOUNDS.values()
MANY: dict[str, Any] = {
    "numbers": {"a": [1, 2.5] * 100_000},
    "parts": {"a": [{"b": "c"}] * (MOST_PARTS // 2 - 1)},
    "keys": {str(number): number for number in range(MOST_KEYS)},
    "nothing": {},
    "list": [1, "a", None, True],
    "text": "[{,:" * 10,
    "number": 3,
}


@pytest.mark.parametrize("name", MANY)
def test_what_is_within_the_bounds_is_read(name: str) -> None:
    assert read(json.dumps(MANY[name]).encode()) == MANY[name]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([{"a": 1}] * (MOST_PARTS // 2 + 1), "values besides lists of numbers"),
        ([[[]] * (MOST_PARTS // 2)] * 3, "values besides lists of numbers"),
        (["a"] * (MOST_PARTS + 1), "values besides lists of numbers"),
        ([{str(number): 0 for number in range(MOST_KEYS + 1)}], "object of 10,001 keys"),
    ],
)
def test_what_is_beyond_them_is_not(value: Any, says: str) -> None:
    with pytest.raises(TooLarge, match=says):
        read(json.dumps(value).encode())


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt":[%s1]}' % ("1," * VALUES),
        '{"prompt":[%s1]}' % ("[1]," * (VALUES // 2)),
        '{"prompt":[%s1]}' % ('{"a":[]},' * (VALUES // 3)),
        json.dumps({"prompt": "a"} | {str(number): 0 for number in range(KEYS)}),
        json.dumps({"prompt": "a"} | {str(number): 0 for number in range(MOST_KEYS)}),
        '{"prompt":[%s"a"]}' % ('"a",' * MOST_PARTS),
    ],
    ids=["numbers", "lists", "objects", "keys before", "keys", "texts"],
)
def test_a_body_of_very_many_values_is_refused(server: Running, body: str) -> None:
    answer = server.http.post("/v1/completions", content=body.encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large"), answer.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_large_body_is_read_like_a_small_one(server: Running, path: str) -> None:
    asked = {"input": "What is 2 + 2?", "temperature": 0, "user": "x" * (2 * LARGE)}
    small, large = (server.http.post(path, json=asked | more).json() for more in ({"user": "x"}, {}))
    said = ("choices",) if path.endswith("completions") else ("output", -1, "content")
    for key in said:
        small, large = small[key], large[key]
    assert small == large and small
    broken = server.http.post(path, content=b'{"input": "' + b"x" * LARGE)
    assert (broken.status_code, broken.json()["error"]["message"][:21]) == (400, "The body is not JSON:")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_tools_are_counted_in_namespaces_too(server: Running, path: str) -> None:
    function = {"type": "function", "name": "look"}
    spaces = [{"type": "namespace", "name": str(n), "tools": [function] * (MOST_TOOLS // 2)} for n in range(3)]
    answer = server.http.post(path, json={"input": "Hi", "tools": spaces})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools"), answer.text
    assert "declare 2,048 at most" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "field"),
    [
        *((ChatRequest, name) for name in ("messages", "tools", "functions", "stop")),
        *((CompletionRequest, name) for name in ("prompt", "stop")),
        (ResponseRequest, "stop"),
        (TokenizeRequest, "messages"),
        (DetokenizeRequest, "tokens"),
    ],
)
def test_of_many_wrong_items_few_are_told(model: type[BaseModel], field: str) -> None:
    """Each would cost more than all that is right."""
    for wrong in ([1.5] * 1000, [["a", 1.5] * 1000]):
        with pytest.raises(ValidationError) as error:
            model.model_validate({field: wrong})
        assert error.value.error_count() < 8
