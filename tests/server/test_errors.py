"""Whatever is wrong, the answer is OpenAI's error object and says what to do."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from openai import NotFoundError

from harmonium import LLM
from harmonium.chat.loading import Loaded
from tests.server.conftest import Running, Start

ASKED = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/nothing", None, 404, "There is nothing at GET /nothing"),
        ("GET", "/v1/chat/completions", None, 405, "does not take GET"),
        ("GET", "/models", None, 404, "give clients a base URL that ends in /v1"),
        ("POST", "/chat/completions", ASKED, 404, "There is nothing at /chat/completions, but at /v1/chat/completions"),
        ("GET", "/v1/models/gpt-4", None, 404, "there is: 'nano'. To serve it: harmonium serve gpt-4"),
        ("GET", "/v1/models/gpt-4:far", None, 404, "To reach 'gpt-4' elsewhere: harmonium serve --upstream far=URL"),
        ("POST", "/v1/chat/completions", b'{"mess', 400, "The body is not JSON"),
        ("POST", "/v1/chat/completions", b"[1]", 400, "Send one JSON object"),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400, ""),
        ("POST", "/v1/chat/completions", {}, 400, "messages: Field required"),
        ("POST", "/v1/chat/completions", {"messages": []}, 400, "messages: "),
        ("POST", "/v1/chat/completions", ASKED | {"model": "gpt-4"}, 404, "harmonium serve gpt-4"),
        ("POST", "/v1/chat/completions", ASKED | {"temperature": -1}, 400, "temperature is -1"),
        ("POST", "/v1/chat/completions", ASKED | {"n": 0}, 400, "n: "),
        ("POST", "/v1/chat/completions", ASKED | {"reasoning_effort": "most"}, 400, "it is one of none, minimal"),
    ],
)
def test_errors(server: Running, method: str, path: str, body: Any, status: int, says: str) -> None:
    given = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    answer = server.http.request(method, path, headers={"X-Request-Id": "mine"}, **given)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"] and error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"] == "mine"


WEATHER = {"type": "function", "name": "f"}
GRAMMAR = {"type": "grammar", "syntax": "regex", "definition": "("}
BROKEN_SCHEMA = {"type": "json_schema", "name": "a", "schema": {"type": "nothing"}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", ASKED | {"logit_bias": {"5": 101}}, "logit_bias.5"),
        ("chat/completions", ASKED | {"logit_bias": {"5": -100.5}}, "logit_bias.5"),
        ("chat/completions", ASKED | {"logit_bias": {"x": 1}}, "logit_bias"),
        ("chat/completions", ASKED | {"frequency_penalty": 2.5}, "frequency_penalty"),
        ("chat/completions", ASKED | {"max_completion_tokens": 0}, "max_completion_tokens"),
        ("chat/completions", ASKED | {"stop": [""]}, "stop"),
        ("chat/completions", ASKED | {"top_p": 0}, "top_p"),
        ("chat/completions", ASKED | {"response_format": GRAMMAR}, "response_format"),
        ("chat/completions", ASKED | {"tool_choice": "required"}, "tool_choice"),
        ("chat/completions", {"messages": [{"role": "king", "content": ""}]}, "messages"),
        ("completions", {"prompt": [10**9]}, "prompt"),
        ("completions", {"prompt": "x", "suffix": "y"}, "suffix"),
        ("responses", {"input": "x", "presence_penalty": -3}, "presence_penalty"),
        ("responses", {"input": "x", "text": {"format": BROKEN_SCHEMA}}, "text.format"),
        ("responses", {"input": "x", "tools": [WEATHER, WEATHER]}, "tools"),
        ("responses", {"input": "x", "tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        (
            "responses",
            {"input": "x", "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEATHER]}},
            "tool_choice",
        ),
        ("responses", {"input": "x", "min_p": 2}, "min_p"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_error_names_the_field_that_is_at_fault(server: Running, path: str, body: Any, param: str) -> None:
    answer = server.http.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_prompt_that_does_not_fit_is_the_messages_fault(start: Start, weights: Loaded) -> None:
    long = "word " * 300
    with start(LLM(weights, context=256)) as small:
        for path, body, param in (
            ("chat/completions", {"messages": [{"role": "user", "content": long}]}, "messages"),
            ("completions", {"prompt": long}, "prompt"),
            ("responses", {"input": long}, "input"),
        ):
            error = small.post(f"/{path}", **body)["error"]
            assert (error["code"], error["param"]) == ("context_length_exceeded", param)


def test_there_is_no_compaction_and_the_answer_says_what_to_do(server: Running) -> None:
    with pytest.raises(NotFoundError, match="truncation: auto") as refused:
        server.openai().responses.compact(model="nano", input="Hi")
    assert (refused.value.status_code, refused.value.code) == (404, "not_found")


def test_a_bug_is_told_and_found_by_its_id(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a secret")

    caplog.set_level(logging.INFO, "harmonium.requests")
    with start(cors_origins=("https://page.example",)) as server:
        server.app.add_api_route("/broken", broken)
        answer = server.http.get("/broken", headers={"X-Request-Id": "mine", "Origin": "https://page.example"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "internal_error") and "secret" not in error["message"]
        metrics = server.http.get("/metrics").text
    assert 'harmonium_requests_total{method="GET",path="/broken",status="500"} 1.0' in metrics
    assert 'harmonium_errors_total{code="internal_error",method="GET"} 1.0' in metrics
    line = next(json.loads(one.message) for one in caplog.records if '"mine"' in one.message)
    assert (line["status"], line["code"]) == (500, "internal_error")
    assert "ZeroDivisionError: a secret" in caplog.text


def test_curl_needs_no_header_and_web_pages_no_trick(server: Running) -> None:
    """Without a type of its own a body is JSON; from a web page it would be a way round what browsers ask first."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b'{"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 1}'
    assert server.http.post("/v1/chat/completions", content=body, headers=kind).status_code == 200
    for origin, status in ((server.url, 400), ("https://example.com", 403)):
        page = kind | {"Origin": origin}
        assert server.http.post("/v1/chat/completions", content=body, headers=page).status_code == status


def test_what_probes_and_careless_clients_send(server: Running) -> None:
    assert [server.http.head(path).status_code for path in ("/health", "/ready")] == [200, 200]
    assert server.http.get("/v1/models/").json() == server.http.get("/v1/models").json()
