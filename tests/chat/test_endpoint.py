"""An address in any spelling, and what goes wrong between here and a server, told in words that help."""

import socket

import pytest

from harmonium.chat.endpoint import Endpoint, address
from harmonium.chat.remote import RemoteLLM
from harmonium.errors import (
    BadRequest,
    Busy,
    HarmoniumError,
    ModelNotFound,
    PromptTooLong,
    RequestFailed,
    ServerUnreachable,
    Unauthorized,
)
from tests.chat.other_server import Answer, document, events, other_server

HTML = Answer(b"<!DOCTYPE html><h1>Welcome</h1>", kind="text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("localhost", "http://localhost/v1"),
        (" http://localhost:8000/ ", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("localhost:8000/v1/", "http://localhost:8000/v1"),
        ("localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("https://host/openai/v1/responses", "https://host/openai/v1"),
        ("192.168.1.7", "http://192.168.1.7/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("gpu-box:8000", "http://gpu-box:8000/v1"),
        ("api.openai.com", "https://api.openai.com/v1"),
        ("router.huggingface.co/v1", "https://router.huggingface.co/v1"),
        ("HTTPS://Host/api/v3", "https://host/api/v3"),
    ],
)
def test_addresses(given: str, meant: str) -> None:
    assert str(address(given)) == meant


@pytest.mark.parametrize("given", ["", "http://", "ftp://host/v1", "http://host:none/v1", "host:99999999"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(BadRequest, match="is no address of a server"):
        address(given)


def test_the_key_is_sent_and_never_shown() -> None:
    with other_server() as server, Endpoint(f"{server.url}?api-version=1", "sk-secret") as endpoint:
        assert endpoint.url == server.url
        endpoint.get("/models")
        [asked] = server.asked
        assert asked.path == "/v1/models?api-version=1"
        assert asked.headers["Authorization"] == "Bearer sk-secret"
    with other_server(models=document({"error": {"message": "Wrong key."}}, 401)) as server:
        with pytest.raises(Unauthorized, match=r"refuses the key: Wrong key\.$") as caught:
            RemoteLLM(server.url, key="sk-secret")
        assert "sk-secret" not in str(caught.value)
    with pytest.raises(BadRequest, match="holds characters that no key has"):
        Endpoint("localhost", "sk-\n")


def test_a_proxy_of_the_environment_does_not_lead_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with other_server() as server, Endpoint(server.url) as endpoint:
        assert endpoint.get("/models")["object"] == "list"


def test_nothing_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = free.getsockname()[1]
        with pytest.raises(ServerUnreachable, match=r"Connection refused\. .*`harmonium serve` starts"):
            RemoteLLM(f"localhost:{port}")


@pytest.mark.parametrize(
    ("models", "kind", "words"),
    [
        (HTML, ServerUnreachable, r"/v1/models answered with a web page and status 200.*usually ends in /v1"),
        (Answer(b"<h1>Not Found</h1>", 404, "text/html"), ServerUnreachable, "a web page and status 404"),
        (Answer(b"hello", kind="text/plain"), ServerUnreachable, r"something else \(text/plain\)"),
        (Answer(b"", 301, headers={"Location": "https://host/"}), ServerUnreachable, "on to https://host/; give that"),
        (document({"detail": "Not Found"}, 404), ModelNotFound, "has no /models: Not Found"),
        (document({"data": []}), ModelNotFound, "lists no models; name the one"),
        (document({"data": [{"id": "a"}, {"id": "b"}]}), ModelNotFound, "2 models; name the one to ask: a, b$"),
    ],
)
def test_what_is_no_server_to_talk_to(models: Answer, kind: type[HarmoniumError], words: str) -> None:
    with other_server(models=models) as server, pytest.raises(kind, match=words):
        RemoteLLM(server.url)


def test_a_server_without_tls_that_is_asked_for_it() -> None:
    with other_server() as server, pytest.raises(ServerUnreachable, match="Does it speak plain http"):
        RemoteLLM(server.url.replace("http:", "https:"))


def failure(message: str, code: str | None, status: int, **headers: str) -> Answer:
    return document({"error": {"message": message, "type": "x", "param": None, "code": code}}, status, **headers)


BROKEN = events([{"choices": [{"delta": {"content": "Lim"}}]}], is_done=False)


@pytest.mark.parametrize(
    ("post", "kind", "words"),
    [
        (
            failure("No such model.", "model_not_found", 404),
            ModelNotFound,
            "/v1 has no model m: No such model",
        ),
        (document({"detail": "Not Found"}, 404), ModelNotFound, "has no /chat/completions, or no model m: Not Found"),
        (failure("Too long.", "context_length_exceeded", 400), PromptTooLong, "answers with 400: Too long"),
        (failure("Unknown key.", None, 422), BadRequest, "answers with 422: Unknown key"),
        (failure("Slow down.", None, 429, **{"Retry-After": "3"}), Busy, r"is busy: Slow down\. Try again in 3 s\."),
        (failure("Oh.", None, 503), RequestFailed, "answers with 503: Oh"),
        (HTML, ServerUnreachable, "a web page"),
        (document({"choices": []}), RequestFailed, "broke off before its end"),
        (document({"choices": "none"}), RequestFailed, 'not what OpenAI.s API has: choices is "none"'),
        (Answer(b"<h1>Bad gateway</h1>", 502, "text/html"), RequestFailed, "answers with 502: Bad Gateway"),
        (Answer(b"no", 403, "text/plain"), Unauthorized, "wants a key, which --api-key-env names: no"),
        (failure("Slow", None, 429, **{"Retry-After": "3"}), Busy, r"is busy: Slow\. Try again in 3 s\."),
        (BROKEN, RequestFailed, r"The answer of http.* broke off: .*\. Ask again"),
        (events([{"choices": [{"delta": {"content": "Lim"}}]}]), RequestFailed, "broke off before its end"),
        (events([{"error": {"message": "No memory."}}]), RequestFailed, "in the middle of its answer: No memory"),
        (events([["no", "object"]]), RequestFailed, "an event that is no JSON object"),
        (events([{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}]), RequestFailed, "content_filter"),
    ],
)
def test_an_answer_that_is_none(post: Answer, kind: type[HarmoniumError], words: str) -> None:
    with other_server(post) as server, RemoteLLM(server.url) as llm, pytest.raises(kind, match=words):
        llm.chat("What is the capital of Peru?")
