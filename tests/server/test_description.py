"""/openapi.json describes what is really answered: its schemas hold of answers, streams and errors."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.server.conftest import Running

ASKED = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
REQUESTS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "a completion": ("POST", "/v1/chat/completions", ASKED | {"logprobs": True, "some_key": 1}),
    "a stream": ("POST", "/v1/chat/completions", ASKED | {"stream": True}),
    "a mistake": ("POST", "/v1/chat/completions", ASKED | {"n": 0}),
    "a response": ("POST", "/v1/responses", {"input": "What is 12 + 30?"}),
    "a response's stream": ("POST", "/v1/responses", {"input": "Hi", "max_output_tokens": 2, "stream": True}),
    "a count": ("POST", "/v1/responses/input_tokens", {"input": "Hi"}),
    "a text": ("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 2}),
    "a conversation": ("POST", "/v1/conversations", {"items": [{"role": "user", "content": "Hi"}]}),
    "models": ("GET", "/v1/models", None),
    "no model": ("GET", "/v1/models/{name}", None),
    "ids": ("POST", "/tokenize", {"prompt": "Hi"}),
    "ids' text": ("POST", "/detokenize", {"tokens": [5]}),
    "health": ("GET", "/health", None),
    "readiness": ("GET", "/ready", None),
    "figures": ("GET", "/metrics", None),
}


@cache
def description(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get("/openapi.json").json()
    return found


def test_everything_that_is_answered_has_a_schema(server: Running) -> None:
    described = description(server)
    schemas = described["components"]["schemas"]
    assert not [name for name in schemas if "_" in name or "HTTPValidation" in name]
    places = re.findall(r'"#/components/schemas/([^"]*)"', json.dumps(described))
    assert set(places) <= schemas.keys() and len(set(places)) > 100
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert set(answers) == {"200", "4XX", "5XX"}, (method, path)
            if path != "/v1/responses/compact":
                assert answers["200"]["content"] and all(one["schema"] for one in answers["200"]["content"].values())


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_as_they_are_described(server: Running, name: str) -> None:
    method, path, body = REQUESTS[name]
    answer = server.http.request(method, path.replace("{name}", "other"), json=body)
    described = description(server)
    told = described["paths"][path][method.lower()]["responses"]
    status = str(answer.status_code) if answer.status_code == 200 else f"{answer.status_code // 100}XX"
    kind = answer.headers["content-type"].partition(";")[0]
    schema = told[status]["content"][kind]["schema"]
    value = answer.json() if kind == "application/json" else answer.text
    assert (name in ("a mistake", "no model")) == (status == "4XX")
    holds = Draft202012Validator({**schema, "components": described["components"]})
    holds.validate(value)
    assert isinstance(value, str) or not holds.is_valid({})
