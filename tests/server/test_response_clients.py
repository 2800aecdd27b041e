"""What clients are known to send, and what nobody should: the one is answered, the other told what is wrong with it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from tests.server.bodies import BODY, ITEMS, TOOL, mutated
from tests.server.conftest import Running, Start
from tests.server.response_streams import check_response, check_stream
from tests.server.test_responses import CAPITAL, WEATHER, streamed


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


LEFT_OUT = "[The image that was here is left out: only text can be read.]"
ACCEPTED: dict[str, dict[str, Any]] = {
    "every field": BODY,
    "unknown keys": {"input": "Hi", "client_metadata": {"a": 1}, "whatever": [1, {"b": None}]},
    "nulls everywhere": {**dict.fromkeys(BODY), "input": "Hi"},
    "no include": {"input": "Hi", "include": []},
    "an unknown include": {"input": "Hi", "include": ["code_interpreter_call.outputs", "else"]},
    "a cache key": {
        "input": "Hi",
        "prompt_cache_key": "0190-ab",
        "store": False,
        "include": ["reasoning.encrypted_content"],
    },
    "empty text": {"input": ""},
    "no items": {"input": []},
    "no input": {"instructions": "Say hi."},
    "nothing": {},
    "two developers": {"input": [ITEMS[2], {"role": "developer", "content": "Be kind."}, ITEMS[0]]},
    "other tools": {
        "input": "Hi",
        "tools": [
            WEATHER,
            {"type": "web_search"},
            {"type": "namespace", "name": "mcp", "description": "", "tools": [TOOL]},
            {
                "type": "custom",
                "name": "apply_patch",
                "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
            },
            {"type": "local_shell"},
        ],
    },
    "only other tools, required": {"input": "Hi", "tools": [{"type": "web_search"}], "tool_choice": "required"},
    "another tool chosen": {"input": "Hi", "tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
    "allowed tools": {
        "input": "Hi",
        "tools": [WEATHER, TOOL],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    },
    "tools in the chat API's form": {"input": "Hi", "tools": [{"type": "function", "function": TOOL}]},
    "messages and max_tokens": {"messages": [{"role": "user", "content": CAPITAL}], "max_tokens": 3},
    "a text as an item": {"input": ["Hi"]},
    "one item without a list": {"input": {"role": "user", "content": "Hi"}},
    "every item": {"input": ITEMS[:-1]},
    "an empty summary": {"input": [{"type": "reasoning", "summary": []}, ITEMS[0]]},
    "reasoning elsewhere": {"input": [{"type": "reasoning", "id": "rs_" + "x" * 300, "content": None}, ITEMS[0]]},
    "calls in parallel": {
        "input": [
            ITEMS[0],
            *({"type": "function_call", "call_id": id_, "name": "f", "arguments": "{}"} for id_ in "ab"),
            *({"type": "function_call_output", "call_id": id_, "output": id_} for id_ in "ba"),
        ]
    },
    "a call that nobody answered": {"input": [ITEMS[0], ITEMS[6], {"role": "user", "content": "Go on"}]},
    "an output of parts": {"input": [ITEMS[6], {**ITEMS[7], "output": [{"type": "input_text", "text": "7"}]}]},
    "xhigh": {"input": "Hi", "reasoning": {"effort": "xhigh"}},
    "max": {"input": "Hi", "reasoning": {"effort": "max"}},
    "parallel calls": {"input": "Hi", "parallel_tool_calls": True, "tools": [WEATHER]},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_clients_send_is_answered(server: Running, name: str) -> None:
    body = {"max_output_tokens": 3, **ACCEPTED[name]}
    if "max_tokens" in body:
        del body["max_output_tokens"]
    answer = server.http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    check_response(answer.json())
    assert check_stream(streamed(server, **body))["status"] == answer.json()["status"]


def test_the_response_says_how_the_request_was_taken(server: Running) -> None:
    tools = ACCEPTED["other tools"]["tools"]
    asked = {"parallel_tool_calls": True, "reasoning": {"effort": "xhigh"}, "whatever": 1, "max_tokens": 5}
    asked |= {"text": {"verbosity": "low"}, "include": ["code_interpreter_call.outputs", "thoughts"]}
    response = server.post("/responses", input=[ITEMS[15], ITEMS[0]], tools=tools, metadata={"mine": "1"}, **asked)
    assert response["parallel_tool_calls"] is False
    assert response["reasoning"] == {"effort": "high", "summary": None}
    assert response["tools"] == [{**WEATHER, "strict": None}, {**TOOL, "name": "mcp__f"}]
    assert response["max_output_tokens"] == 5
    assert response["metadata"] == {
        "mine": "1",
        "harmony_not_offered": "web_search, custom:apply_patch, local_shell",
        "harmony_not_read": "compaction",
        "harmony_ignored": "include thoughts, text.verbosity, whatever",
    }


def test_a_picture_that_a_tool_gave_ends_no_conversation(server: Running) -> None:
    """Codex's view_image, screenshots of MCP servers: the model asked for them, and reads that it cannot see them."""
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    chat_call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [chat_call]}
    url = "data:image/png;base64," + "A" * 20_000
    pictures = {"input_image": {"image_url": url}, "image_url": {"image_url": {"url": url}}, "image": {"data": url}}
    for kind, inside in pictures.items():
        parts = [{"type": "input_text", "text": "Here:"}, {"type": kind, **inside}]
        result = {"type": "function_call_output", "call_id": "c", "output": parts}
        told = [{"type": "input_text", "text": "Here:"}, {"type": "input_text", "text": LEFT_OUT}]
        body = {"input": ["Hi", call, result], "max_output_tokens": 1}
        response = server.post("/responses", **body)
        assert response["metadata"]["harmony_not_read"] == f"{kind} in function_call_output"
        same = server.post("/responses", **body | {"input": ["Hi", call, {**result, "output": told}]})
        assert response["usage"]["input_tokens"] == same["usage"]["input_tokens"]
        messages = [*user("Hi"), asked, {"role": "tool", "tool_call_id": "c", "content": parts}]
        chat = server.post("/chat/completions", messages=messages, max_tokens=1)
        assert chat["harmonium"]["not_read"] == [f"{kind} in tool"]
    shot = {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": url}}
    response = server.post("/responses", input=["Hi", shot], max_output_tokens=1)
    assert response["metadata"]["harmony_not_read"] == "computer_screenshot in computer_call_output"
    assert response["usage"]["input_tokens"] < 1000


def test_of_all_tools_only_the_allowed_ones_are_offered(server: Running) -> None:
    body = ACCEPTED["allowed tools"] | {"max_output_tokens": 1}
    response = server.post("/responses", **body)
    assert [tool["name"] for tool in response["tools"]] == [WEATHER["name"], "f"]
    assert response["tool_choice"] == body["tool_choice"]
    alone = server.post("/responses", input="Hi", tools=[TOOL], max_output_tokens=1)
    assert response["usage"]["input_tokens"] == alone["usage"]["input_tokens"]


def test_a_mode_may_come_as_an_object(server: Running) -> None:
    for mode in ("auto", "none", "required"):
        asked = {"tools": [WEATHER], "tool_choice": {"type": mode}, "max_output_tokens": 1}
        assert server.post("/responses", input="Hi", **asked)["tool_choice"] == mode
    chat = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": {"type": "auto"}, "max_tokens": 1}
    told = server.post("/chat/completions", messages=user("Hi"), **chat)
    assert told["choices"] and "not_offered" not in told.get("harmonium", {}), told


@pytest.mark.deep
def test_forty_kilobytes_of_tools_are_read(server: Running) -> None:
    long = {**WEATHER, "name": "other", "description": "A long description. " * 2000}
    answer = server.http.post("/v1/responses", json={"input": "Hi", "tools": [long, WEATHER], "max_output_tokens": 1})
    assert answer.status_code == 200 and answer.json()["usage"]["input_tokens"] > 8000


def test_messages_are_read_as_input_is(server: Running) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CAPITAL}]
    count = "/responses/input_tokens"
    assert server.post(count, messages=said) == server.post(count, input=said)
    n = server.post(count, input=said)["input_tokens"]
    assert server.post("/responses", input=said, max_output_tokens=1)["usage"]["input_tokens"] == n


def test_the_oldest_turns_make_room_where_that_is_allowed(start: Start, weights: Loaded) -> None:
    turns = [{"role": "user", "content": f"{number} " * 20} for number in range(60)]
    said = [{"role": "developer", "content": "Be kind."}, *turns, {"role": "user", "content": CAPITAL}]
    with start(llm=LLM(weights, context=1024)) as server:
        refused = server.http.post("/v1/responses", json={"input": said})
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "context_length_exceeded"
        for text in ("a b " * 600, "a b " * 6000):  # little too long, and far too long to be counted
            chat, answer = server.post("/chat/completions", messages=user(text)), server.post("/responses", input=text)
            plain = server.post("/completions", prompt=text)
            for error, param in ((chat, "messages"), (answer, "input"), (plain, "prompt")):
                told = error["error"]
                assert (told["code"], told["param"]) == ("context_length_exceeded", param)
                assert "maximum context length is 1024 tokens" in told["message"]
        body = {"input": said, "truncation": "auto"}
        n_read = server.post("/responses/input_tokens", **body)["input_tokens"]
        response = server.post("/responses", **body)
    assert response["truncation"] == "auto" and response["usage"]["input_tokens"] == n_read
    assert 512 < n_read <= 768 and "Paris" in response["output"][-1]["content"][0]["text"]


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "input": ({"input": 7}, None),
    "a role": ({"input": [ITEMS[0], {"role": "nobody"}]}, "input[1]"),
    "a type": ({"input": [{"type": 7}]}, "input[0]"),
    "an image": ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0]"),
    "an effort": ({"input": "Hi", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
    "a temperature": ({"input": "Hi", "temperature": "hot"}, "temperature"),
    "no tokens": ({"input": "Hi", "max_output_tokens": 0}, "max_output_tokens"),
    "metadata": ({"input": "Hi", "metadata": {"a": 1}}, "metadata.a"),
    "a schema": ({"input": "Hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": 7}}}, "text.format"),
    "a tool": ({"input": "Hi", "tools": [{"type": "function"}]}, "tools.0"),
    "strictness": ({"input": "Hi", "tools": [WEATHER, {**TOOL, "strict": "very"}]}, "tools.1"),
    "parameters": ({"input": "Hi", "tools": [{**TOOL, "parameters": 7}]}, "tools.0"),
    "a choice": ({"input": "Hi", "tools": [WEATHER], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
    "a kind": ({"input": "Hi", "stop": 5}, "stop"),
    "a kind within": ({"input": "Hi", "stop": ["x", 5]}, "stop.1"),
    "a reference": ({"input": "Hi", "conversation": {}}, "conversation.id"),
    "a template": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_its_place(server: Running, name: str) -> None:
    body, param = REFUSED[name]
    for stream in (False, True):
        answer = server.http.post("/v1/responses", json={**body, "stream": stream})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), answer.text
        assert len(error["message"]) > 20 and (param is None or error["param"] == param)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"input": "\\ud800"}', b"[" * 5000])
def test_what_is_no_json_object_is_refused(server: Running, raw: bytes) -> None:
    answer = server.http.post("/v1/responses", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400) and (answer.status_code == 200) == (b"ud800" in raw), answer.text


def hammer(server: Running, seeds: range) -> dict[int, int]:
    """How often each status came of bodies that are wrong somewhere; none of them may be the server's fault."""
    found: dict[int, int] = {}
    for seed in seeds:
        chance = random.Random(seed)
        body = mutated(BODY, chance, chance.choice((1, 1, 2, 5)))
        body = {**body, "max_output_tokens": 2} if isinstance(body, dict) and chance.random() < 0.9 else body
        raw = json.dumps(body).encode()
        answer = server.http.post("/v1/responses", content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (seed, answer.status_code, raw)
        if answer.status_code >= 400:
            assert len(answer.json()["error"]["message"]) > 15, (seed, answer.text)
        found[answer.status_code] = found.get(answer.status_code, 0) + 1
    return found


def test_malformed_bodies_are_never_the_servers_fault(server: Running) -> None:
    found = hammer(server, range(200))
    assert found[400] > 40 and found[200] > 40


@pytest.mark.deep
def test_ten_thousand_malformed_bodies_are_never_the_servers_fault(server: Running) -> None:
    found = hammer(server, range(10_000))
    assert found[400] > 2000 and found[200] > 2000
