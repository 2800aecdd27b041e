"""Whatever is wrong, the answer is OpenAI's error object and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Running

ASKED = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/nothing", None, 404, "There is nothing at GET /nothing"),
        ("GET", "/v1/chat/completions", None, 405, "does not take GET"),
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


def test_curl_needs_no_header_and_web_pages_no_trick(server: Running) -> None:
    """Without a type of its own a body is JSON; from a web page it would be a way round what browsers ask first."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b'{"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 1}'
    assert server.http.post("/v1/chat/completions", content=body, headers=kind).status_code == 200
    page = kind | {"Origin": "https://example.com"}
    assert server.http.post("/v1/chat/completions", content=body, headers=page).status_code == 400


def test_what_probes_and_careless_clients_send(server: Running) -> None:
    assert [server.http.head(path).status_code for path in ("/health", "/ready")] == [200, 200]
    assert server.http.get("/v1/models/").json() == server.http.get("/v1/models").json()
