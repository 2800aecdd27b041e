"""A turn's events as a response's: whatever is said in whatever order, the stream is valid and adds up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonium import LLM
from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    Repair,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from harmonium.chat.loading import Loaded
from harmonium.engine.request import SamplingParams
from harmonium.errors import RequestFailed
from harmonium.harmony.messages import Message
from harmonium.harmony.signature import tool_spec
from harmonium.server.exact_messages import from_json
from harmonium.server.sealing import load_seal
from harmonium.server.settings import Settings
from harmonium.server.wire.response_events import Writer
from harmonium.server.wire.response_object import Head, Notes
from harmonium.server.wire.response_request import ResponseRequest
from tests.server.response_streams import check_stream

WEATHER = {"type": "function", "name": "get_current_weather", "parameters": {"type": "object", "properties": {}}}


def writer(has_format: bool = False, **asked: Any) -> Writer:
    request = ResponseRequest.model_validate({"input": "Hi", "tools": [WEATHER, {"type": "web_search"}], **asked})
    tools, choice = request.offered
    head = Head.new("nano", request.said_back(SamplingParams(), Settings()), request.metadata)
    assert request.options(tools, choice, Settings())["tools"] == [tool_spec(WEATHER, unsaid_strict=None)]
    notes = Notes(not_offered=tools.others)
    return Writer(head, notes, {WEATHER["name"]}, summarizes=request.summarizes, has_format=has_format)  # type: ignore[arg-type]


def stream(one: Writer, events: Sequence[Event]) -> list[dict[str, Any]]:
    return [*one.begin(), *(fields for event in events for fields in one.take(event))]


texts = st.text(max_size=4)
logprobs = st.sampled_from([(), (TokenLogprob(5, -0.5, b"a", (TokenLogprob(6, -1.5, b"\xff"),)),)])
calls = st.sampled_from(["get_current_weather", "unknown"])
events = st.one_of(
    st.builds(ReasoningDelta, texts, logprobs),
    st.builds(ReasoningDelta, st.just("\n")),
    st.builds(TextDelta, texts, st.sampled_from(["final", "commentary"]), logprobs),
    st.builds(ToolCallDelta, st.sampled_from(["call_1", "call_2"]), calls, texts),
    st.builds(Repair, st.just("missing_end"), st.integers(0, 9)),
    st.builds(ToolResult, st.just("call_3"), st.just("unknown"), texts),
)
messages = st.lists(
    st.sampled_from(
        [
            Message.analysis("a"),
            Message.commentary("b"),
            Message.final("c"),
            Message.call("get_current_weather", "{}"),
            Message.call("unknown", "{}"),
            Message.tool("functions.unknown", "?"),
        ]
    ),
    max_size=6,
)


@given(
    st.lists(events, max_size=12),
    messages,
    st.sampled_from(FinishReason),
    st.booleans(),
    st.sampled_from([{}, {"reasoning": {"summary": "auto"}}]),
)
def test_any_events_make_a_valid_stream(
    said: list[Event], messages: list[Message], reason: FinishReason, has_format: bool, asked: dict[str, Any]
) -> None:
    one = writer(has_format, **asked)
    done = Done(reason, Usage(9, 5, 2, 4), tuple(messages), ())
    response = check_stream(stream(one, [*said, done]))
    assert response == one.response and response["output"] == one.output
    kept = [message for item in one.items("nano") for message in from_json(item.said or (), "nano")]
    assert kept == (messages if response["output"] else [])


@given(st.lists(events, max_size=6))
def test_a_stream_that_breaks_off_says_so(said: list[Event]) -> None:
    failed = writer()
    told = [*stream(failed, said), *failed.fail(RequestFailed("The engine has stopped."))]
    response = check_stream(told)
    assert (response["status"], response["error"]["message"]) == ("failed", "The engine has stopped.")
    cancelled = writer()
    assert check_stream([*stream(cancelled, said), *cancelled.cancel()])["status"] == "cancelled"


def test_items_are_what_was_said_in_its_order() -> None:
    one = writer()
    said = [
        ReasoningDelta("think"),
        TextDelta("I look it up.", "commentary"),
        ReasoningDelta("\n"),
        ReasoningDelta("more"),
        ToolCallDelta("call_1", "get_current_weather", '{"location"'),
        ToolCallDelta("call_1", "get_current_weather", ': "Oslo"}'),
        ToolCall("call_1", "get_current_weather", '{"location": "Oslo"}'),
    ]
    texts = ("think", "I look it up.", "more", '{"location": "Oslo"}')
    messages = (Message.analysis(texts[0]), Message.commentary(texts[1]), Message.analysis(texts[2]))
    call = Message.call("get_current_weather", texts[3])
    response = check_stream(stream(one, [*said, Done(FinishReason.TOOL_CALLS, Usage(), (*messages, call), ())]))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "reasoning", "function_call"]
    assert response["output"][1]["phase"] == "commentary"
    assert response["output"][3]["call_id"] == "call_1" and response["status"] == "completed"
    assert [from_json(item.said or (), "nano") for item in one.items("nano")] == [(one,) for one in (*messages, call)]


def test_a_preamble_does_not_spoil_a_format() -> None:
    one = writer(has_format=True)
    said = [TextDelta("Here:", "commentary"), TextDelta("{}"), Done(FinishReason.STOP, Usage(), (), ())]
    response = check_stream(stream(one, said))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][1]["content"][0]["text"] == "{}"


@pytest.mark.parametrize(
    ("reason", "status", "incomplete"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.LENGTH, "incomplete", "max_output_tokens"),
        (FinishReason.ABORT, "cancelled", None),
        (FinishReason.ERROR, "failed", None),
    ],
)
def test_the_status_tells_how_it_ended(reason: FinishReason, status: str, incomplete: str | None) -> None:
    one = writer()
    response = check_stream(stream(one, [TextDelta("Wel"), Done(reason, Usage(), (), ())]))
    assert response["status"] == status
    assert (response["incomplete_details"] or {}).get("reason") == incomplete
    assert response["output"][0]["status"] == ("completed" if status == "completed" else "incomplete")
    assert (response["error"] is None) == (status != "failed")
    assert (response["completed_at"] is None) == (status != "completed")


def test_what_a_client_should_know_stands_in_the_metadata() -> None:
    one = writer(metadata={"mine": "kept"})
    said = [Repair("missing_end", 3), ToolCall("call_1", "unknown", "{}"), ToolResult("call_1", "unknown", "?")]
    done = Done(FinishReason.STOP, Usage(), (), (), is_reasoning_cut=True)
    assert check_stream(stream(one, [*said, done]))["metadata"] == {
        "mine": "kept",
        "harmony_not_offered": "web_search",
        "harmony_repairs": "missing_end@3",
        "harmony_refused_calls": "unknown",
        "harmony_reasoning_cut": "budget",
    }


def test_usage_counts_what_was_cached_and_what_was_thought() -> None:
    usage = check_stream(stream(writer(), [Done(FinishReason.STOP, Usage(100, 30, 20, 64), (), ())]))["usage"]
    assert usage == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 36},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 130,
    }


def test_sealed_reasoning_is_there_when_the_item_is_done(tmp_path: Path) -> None:
    seal = load_seal(tmp_path / "key")
    one = writer()
    one = Writer(one._head, Notes(), (), seal=seal)
    told = stream(one, [ReasoningDelta("think"), TextDelta("Hi"), Done(FinishReason.STOP, Usage(), (), ())])
    response = check_stream(told)
    assert seal.open(response["output"][0]["encrypted_content"]) == "think"


def test_nano_says_the_same_as_it_does_to_python(weights: Loaded) -> None:
    nano = LLM(weights)
    said = list(nano.stream("What is the capital of France?"))
    one = writer()
    response = check_stream(stream(one, said))
    reply = nano.chat("What is the capital of France?")
    assert [item["content"][0]["text"] for item in response["output"]] == [reply.reasoning, reply.text]
    kept = [message for item in one.items("nano") for message in from_json(item.said or (), "nano")]
    assert [message.ids for message in kept] == [message.ids for message in reply.messages]
