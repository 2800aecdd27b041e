"""Turns that go on: whichever way a client carries them, the model reads the same ids, most of them from the cache."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from harmonium.harmony.messages import Message
from harmonium.server.responding import PROMPT_OPTIONS, prompt_of
from harmonium.server.wire.response_request import ResponseRequest
from tests.server.conftest import Running, Start
from tests.server.test_responses import WEATHER, streamed

OWNER = "anonymous"
QUESTION = {"role": "user", "content": "What is the weather in Oslo?"}
SEALED = ["reasoning.encrypted_content"]


def prompt_ids(server: Running, **body: Any) -> list[int]:
    """What the model would read for this request."""
    asked = ResponseRequest.model_validate({"tools": [WEATHER], **body})
    prompt = asyncio.run(prompt_of(asked, server.serving, OWNER))
    return server.llm.render(prompt.messages, **{name: prompt.options.get(name) for name in PROMPT_OPTIONS})


def ask(server: Running, **body: Any) -> dict[str, Any]:
    response: dict[str, Any] = server.post("/responses", **{"tools": [WEATHER], **body})
    assert "error" in response and response["error"] is None, response
    return response


def call_of(response: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = response["output"][-1]
    assert call["type"] == "function_call"
    return call


def output_for(call: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": '{"temperature": 7}'}


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}


def ways(response: dict[str, Any], question: Any = QUESTION) -> dict[str, list[Any]]:
    """Inputs that carry on after a call, with everything or with as little as clients are known to keep."""
    *before, call = response["output"]
    thought = before[0]
    result = output_for(call)
    bare = without(call, "id", "status")
    return {
        "all": [question, *response["output"], result],
        "no ids": [question, *(without(item, "id", "status") for item in response["output"]), result],
        "sealed only": [question, without(thought, "content", "id"), bare, result],
        "null content": [question, {**thought, "content": None}, bare, result],
        "neither": [question, {"type": "reasoning", "id": "rs_elsewhere", "summary": []}, bare, result],
        "its id only": [question, {"type": "reasoning", "id": thought["id"], "summary": []}, bare, result],
        "no reasoning": [question, call, result],
        "only the output": [question, result],
        "references": [
            question,
            *({"type": "item_reference", "id": item["id"]} for item in response["output"]),
            result,
        ],
        "a reference to the call": [question, {"type": "item_reference", "id": call["id"]}, result],
        "chat messages": [
            question,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call["call_id"], "type": "function", "function": without(call, "type")}],
            },
            {"role": "tool", "tool_call_id": call["call_id"], "content": result["output"]},
        ],
    }


@pytest.fixture(scope="module")
def first(server: Running) -> dict[str, Any]:
    return ask(server, input=[QUESTION], include=SEALED)


@pytest.mark.parametrize("way", ["all", "no ids", "sealed only", "null content", "neither", "its id only"])
def test_a_turn_goes_on_with_the_ids_it_was_said_with(server: Running, first: dict[str, Any], way: str) -> None:
    expected = prompt_ids(server, previous_response_id=first["id"], input=[output_for(call_of(first))])
    assert len(expected) > first["usage"]["total_tokens"]
    assert prompt_ids(server, input=ways(first)[way]) == expected


@pytest.mark.parametrize("way", ["no reasoning", "only the output", "references", "chat messages"])
def test_what_clients_lose_between_calls_is_put_back(server: Running, first: dict[str, Any], way: str) -> None:
    expected = prompt_ids(server, previous_response_id=first["id"], input=[output_for(call_of(first))])
    assert prompt_ids(server, input=ways(first)[way]) == expected


def written_anew(call: dict[str, Any]) -> list[Any]:
    """A call's arguments as clients send them that have read them."""
    value = json.loads(call["arguments"])
    return [json.dumps(value, separators=(",", ":")), json.dumps(value, indent=2), value]


def test_arguments_may_be_written_anew(server: Running, first: dict[str, Any]) -> None:
    expected = prompt_ids(server, previous_response_id=first["id"], input=[output_for(call_of(first))])
    assert expected == prompt_ids(server, input=ways(first)["no reasoning"])
    for arguments in written_anew(call_of(first)):
        call = {**call_of(first), "arguments": arguments}
        for way in ("no reasoning", "chat messages"):
            assert prompt_ids(server, input=ways({**first, "output": [*first["output"][:-1], call]})[way]) == expected


def test_ids_that_text_would_not_give_again_are_kept(server: Running) -> None:
    for seed in range(50):
        hot = {"temperature": 1.8, "seed": seed, "tool_choice": "required", "reasoning": {"effort": "low"}}
        one = ask(server, input=[QUESTION], include=SEALED, **hot)
        thought = one["output"][0]["content"][0]["text"]
        said = [Message.user(QUESTION["content"]), Message.analysis(thought)]
        call = call_of(one)
        said += [Message.call(call["name"], call["arguments"]), Message.tool(f"functions.{call['name']}", "7")]
        expected = prompt_ids(
            server,
            previous_response_id=one["id"],
            input=[{**output_for(call), "output": "7"}],
            reasoning={"effort": "low"},
        )
        if server.llm.render(said, tools=[WEATHER], effort="low") != expected:
            break
    else:
        raise AssertionError("no seed says anything that its text would not give again")
    for way in ("all", "no ids", "sealed only", "neither", "only the output", "references"):
        given = ways(one)[way][:-1]
        result = {**output_for(call), "output": "7"}
        assert prompt_ids(server, input=[*given, result], reasoning={"effort": "low"}) == expected


def test_a_chain_and_a_replay_hit_the_same_prefix(server: Running) -> None:
    question = {"role": "user", "content": "What is the weather in Lima?"}
    one = ask(server, input=[question])
    result = output_for(call_of(one))
    chained = ask(server, previous_response_id=one["id"], input=[result])
    replayed = ask(server, input=[question, *one["output"], result])
    assert chained["output"][-1]["content"] == replayed["output"][-1]["content"]
    n_known = one["usage"]["total_tokens"]
    for response in (chained, replayed):
        usage = response["usage"]
        assert usage["input_tokens"] == chained["usage"]["input_tokens"] > n_known
        assert usage["input_tokens_details"]["cached_tokens"] > n_known - 2 * 16
    later = ask(server, previous_response_id=chained["id"], input="Thanks!")
    again = ask(
        server, input=[question, *one["output"], result, *chained["output"], {"role": "user", "content": "Thanks!"}]
    )
    assert later["usage"]["input_tokens"] == again["usage"]["input_tokens"]
    assert later["output"][-1]["content"] == again["output"][-1]["content"]
    assert again["usage"]["input_tokens_details"]["cached_tokens"] > later["usage"]["input_tokens"] - 2 * 16


def test_what_is_not_stored_goes_on_with_sealed_reasoning_and_in_this_process_with_exact_ids(server: Running) -> None:
    one = ask(server, input=[QUESTION], store=False)
    given = ways(one)
    expected = prompt_ids(server, input=given["all"])
    for way in ("no ids", "sealed only", "neither", "no reasoning", "only the output"):
        assert prompt_ids(server, input=given[way]) == expected
    events = streamed(server, input=given["sealed only"], tools=[WEATHER], store=False)
    assert events[-1]["response"]["status"] == "completed"


def test_the_chat_api_goes_on_with_what_was_said_too(server: Running) -> None:
    tool = {"type": "function", "function": without(WEATHER, "type")}
    body: dict[str, Any] = {"messages": [QUESTION], "tools": [tool]}
    made = server.post("/chat/completions", **body)
    said = made["choices"][0]["message"]
    [call] = said["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": '{"temperature": 7}'}
    bare = {"role": "assistant", "content": None, "tool_calls": [call]}
    usages = [
        server.post("/chat/completions", **{**body, "messages": [QUESTION, message, result]})["usage"]
        for message in (bare, said, {**bare, "reasoning": said["reasoning"]})
    ]
    assert {usage["prompt_tokens"] for usage in usages} == {usages[0]["prompt_tokens"]}
    assert usages[0]["prompt_tokens"] > made["usage"]["total_tokens"]
    assert usages[0]["prompt_tokens_details"]["cached_tokens"] > made["usage"]["total_tokens"] - 2 * 16
    for arguments in written_anew(call["function"]):
        anew = {**bare, "tool_calls": [{**call, "function": {**call["function"], "arguments": arguments}}]}
        usage = server.post("/chat/completions", **{**body, "messages": [QUESTION, anew, result]})["usage"]
        assert usage["prompt_tokens"] == usages[0]["prompt_tokens"]
    edited = {**bare, "tool_calls": [{**call, "function": {**call["function"], "arguments": "{}"}}]}
    other = server.post("/chat/completions", **{**body, "messages": [QUESTION, edited, result]})["usage"]
    assert other["prompt_tokens"] < usages[0]["prompt_tokens"]


def test_another_replica_reads_what_was_sealed(server: Running, start: Start, tmp_path: Any) -> None:
    one = ask(server, input=[QUESTION], store=False)
    thought = one["output"][0]["content"][0]["text"]
    sealed = ways(one)["sealed only"]
    settings = server.serving.settings
    with start(store=tmp_path / "other.db", key_file=settings.key_file) as replica:
        assert thought in replica.llm.decode(prompt_ids(replica, input=sealed))
    with start(store=tmp_path / "third.db", key_file=tmp_path / "key") as stranger:
        assert thought not in stranger.llm.decode(prompt_ids(stranger, input=sealed))
        response = ask(stranger, input=sealed)
        assert response["metadata"]["harmony_not_read"] == "reasoning"


def test_instructions_are_this_requests_own(server: Running) -> None:
    one = ask(server, input="My name is Ada.", instructions="Be brief.", tools=[])
    brief = {"role": "developer", "content": "Be brief."}
    chained = prompt_ids(server, previous_response_id=one["id"], input="Hello", tools=[])
    told = prompt_ids(server, previous_response_id=one["id"], input="Hello", instructions="Be brief.", tools=[])
    assert "Be brief." not in server.llm.decode(chained) and "Be brief." in server.llm.decode(told)
    both = [brief, {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert "Be brief.\n\nBe kind." in server.llm.decode(prompt_ids(server, input=both, tools=[]))


def test_a_response_can_only_be_continued_while_it_is_there(server: Running) -> None:
    one = ask(server, input="Hi")
    two = ask(server, previous_response_id=one["id"], input="And again")
    assert server.http.delete(f"/v1/responses/{one['id']}").json()["deleted"] is True
    for id_ in (one["id"], two["id"], "resp_none", "no id at all\x00"):
        answer = server.http.post("/v1/responses", json={"input": "Go on", "previous_response_id": id_})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")
    missing = server.http.post("/v1/responses", json={"input": [{"type": "item_reference", "id": "rs_none"}]})
    assert missing.status_code == 404 and "rs_none" in missing.json()["error"]["message"]
    lost = server.http.post("/v1/responses", json={"input": [output_for({"call_id": "call_none"})]})
    assert lost.status_code == 400 and "call_none" in lost.json()["error"]["message"]


def test_keys_do_not_see_each_others_responses(start: Start, tmp_path: Any) -> None:
    keys = {"ann": "sk-of-ann", "bob": "sk-of-bob"}
    with start(api_keys=keys, store=tmp_path / "store.db") as server:
        ann, bob = ({"Authorization": f"Bearer {key}"} for key in keys.values())
        made = server.http.post("/v1/responses", json={"input": "Hi"}, headers=ann).json()
        there = f"/v1/responses/{made['id']}"
        assert server.http.get(there, headers=ann).json() == made
        assert server.http.get(there, headers=bob).status_code == 404
        assert server.http.delete(there, headers=bob).status_code == 404
        body = {"input": "Hi", "previous_response_id": made["id"]}
        assert server.http.post("/v1/responses", json=body, headers=bob).status_code == 400
        assert server.http.post("/v1/responses", json=body, headers=ann).status_code == 200
