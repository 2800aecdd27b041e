"""A model on a server: requests as they are sent, streams as servers write them, functions that run here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from harmonium.chat.remote import ApiName, RemoteLLM
from harmonium.chat.remote_completions import ChatCompletions
from harmonium.chat.remote_responses import Responses
from harmonium.chat.reply import Reply
from harmonium.errors import BadRequest, RequestFailed, ServerUnreachable
from harmonium.harmony.messages import Message
from tests.chat.other_server import Answer, document, events, other_server

CALL = {"id": "call_a", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}


def weather(city: str) -> str:
    """Tells the weather."""
    return f"Rain in {city}."


def chunks(*deltas: dict[str, Any], end: str = "stop", usage: Sequence[int] = (10, 5, 2, 4)) -> list[dict[str, Any]]:
    """An answer of the chat API. usage: prompt, completion, reasoning and cached tokens."""
    prompt, completion, reasoning, cached = usage
    counted = {"prompt_tokens": prompt, "completion_tokens": completion}
    counted |= {"completion_tokens_details": {"reasoning_tokens": reasoning}}  # type: ignore[dict-item]
    counted |= {"prompt_tokens_details": {"cached_tokens": cached}}  # type: ignore[dict-item]
    said = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*said, {"choices": [{"index": 0, "delta": {}, "finish_reason": end}]}, {"choices": [], "usage": counted}]


def items(*said: dict[str, Any], status: str = "completed", **response: Any) -> list[dict[str, Any]]:
    """An answer of the Responses API, each item's text in one delta."""
    stream: list[dict[str, Any]] = [{"type": "response.created", "response": {"status": "in_progress"}}]
    for item in said:
        kind, text = item["type"], item.get("arguments", "")
        if kind == "reasoning":
            delta, text = "response.reasoning_text.delta", item["content"][0]["text"]
        elif kind == "message":
            delta, text = "response.output_text.delta", item["content"][0]["text"]
        else:
            delta = "response.function_call_arguments.delta"
        stream.append({"type": "response.output_item.added", "item": item | {"content": [], "arguments": ""}})
        stream += [{"type": delta, "delta": text}, {"type": "response.output_item.done", "item": item}]
    usage = {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
    return [*stream, {"type": f"response.{status}", "response": {"status": status, "usage": usage, **response}}]


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def spoken(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **more}


def called(**more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "call_a", **CALL["function"], **more}  # type: ignore[dict-item]


ROUNDS: dict[ApiName, list[Answer]] = {
    "chat": [
        events(
            chunks(
                {"reasoning": "I ask."}, {"tool_calls": [CALL | {"index": 0}]}, end="tool_calls", usage=(10, 5, 2, 0)
            )
        ),
        events(chunks({"reasoning": "Rain."}, {"content": "It rains."}, usage=(20, 6, 3, 15))),
    ],
    "responses": [events(items(thought("I ask."), called())), events(items(thought("Rain."), spoken("It rains.")))],
}


@pytest.mark.parametrize("api", list(ROUNDS))
def test_a_function_runs_here_and_the_server_goes_on(api: ApiName) -> None:
    with other_server(*ROUNDS[api]) as server, RemoteLLM(server.url, api=api) as llm:
        said = list(llm.stream("Is it raining in Bonn?", tools=[weather], tool_choice="weather", max_tokens=50))
        first, second = server.bodies
    call, result = ToolCall("call_a", "weather", '{"city": "Bonn"}'), ToolResult("call_a", "weather", "Rain in Bonn.")
    arguments = ToolCallDelta(call.id, call.name, call.arguments)
    thoughts = [ReasoningDelta("\n"), ReasoningDelta("Rain.")]
    assert said[:-1] == [ReasoningDelta("I ask."), arguments, call, result, *thoughts, TextDelta("It rains.")]
    assert isinstance(said[-1], Done) and said[-1].finish_reason is FinishReason.STOP
    assert said[-1].messages == (
        Message.analysis("I ask."),
        Message.call("weather", call.arguments),
        Message.tool("functions.weather", result.text),
        Message.analysis("Rain."),
        Message.final("It rains."),
    )
    key, limit = ("messages", "max_tokens") if api == "chat" else ("input", "max_output_tokens")
    assert (first[limit], second[limit]) == (50, 45), "the limit is the turn's"
    assert first["tool_choice"] != "auto" and second["tool_choice"] == "auto", "the call that had to be was made"
    assert second[key][: len(first[key])] == first[key]
    added = second[key][len(first[key]) :]
    if api == "chat":
        assert added == [
            {"role": "assistant", "content": None, "reasoning": "I ask.", "tool_calls": [CALL | {"type": "function"}]},
            {"role": "tool", "tool_call_id": "call_a", "content": "Rain in Bonn."},
        ]
        assert said[-1].usage == Usage(prompt=15, completion=11, reasoning=5, cached=0), "15 + 11 are the context"
    else:
        output = {"type": "function_call_output", "call_id": "call_a", "output": "Rain in Bonn."}
        assert added == [thought("I ask."), called(), output], "the server's own items, as they came"


def test_calls_are_handed_out_refused_or_too_many() -> None:
    lone = [{"index": 0, "id": "b", "function": {"name": "wether", "arguments": "{}"}}]
    both = [CALL | {"index": 0}, {"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{}"}}]
    call, nonsense, twice = (
        events(chunks({"tool_calls": calls}, end="tool_calls")) for calls in ([CALL | {"index": 0}], lone, both)
    )
    end = events(chunks({"content": "Done."}))
    with other_server(call, nonsense, end, twice, end, call, call) as server, RemoteLLM(server.url) as llm:
        handed = llm.chat("Weather?", tools=[weather], run_tools=False)
        assert handed.finish_reason is FinishReason.TOOL_CALLS and [c.id for c in handed.pending_calls] == ["call_a"]
        assert handed.messages == (Message.call("weather", '{"city": "Bonn"}'),)
        refused = llm.chat("Weather?", tools=[weather])
        assert refused.tool_results[0].is_error and "There are: weather." in refused.tool_results[0].text
        several = llm.chat("Weather?", tools=[weather])
        first, second = (result.text for result in several.tool_results)
        assert first == "Rain in Bonn." and "missing a required argument" in second
        assert [message.role for message in several.messages] == ["assistant", "tool", "assistant", "tool", "assistant"]
        assert [message["tool_call_id"] for message in server.bodies[4]["messages"][2:]] == ["call_a", "b"]
        stopped = llm.chat("Weather?", tools=[weather], max_tool_rounds=0)
        assert stopped.finish_reason is FinishReason.TOOL_ROUNDS and stopped.tool_results == ()
        cut = llm.chat("Weather?", tools=[weather], max_tokens=5)
        assert cut.finish_reason is FinishReason.LENGTH and cut.tool_results == ()


HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "reasoning": "A greeting.", "content": "Hi."},
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "reasoning": "I ask.", "content": "A moment.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_a", "content": "Rain."},
]
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": {"type": "object"}}}


def test_a_request_of_the_chat_api() -> None:
    with other_server(events(chunks({"content": "Rain."}))) as server, RemoteLLM(server.url) as llm:
        llm.chat(HISTORY, tools=[weather], effort="low", temperature=0.5, seed=7, response_format=FORMAT)
        [body] = server.bodies
    function = body["tools"][0].pop("function")
    assert (function["name"], function["description"]) == ("weather", "Tells the weather.")
    call = {"id": "call_1", "type": "function", "function": CALL["function"]}
    assert body == {
        "model": "m",
        "messages": [
            *HISTORY[:2],
            {"role": "assistant", "content": "Hi."},
            HISTORY[3],
            {"role": "assistant", "content": "A moment.", "reasoning": "I ask.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "Rain."},
        ],
        "tools": [{"type": "function"}],
        "reasoning_effort": "low",
        "response_format": FORMAT,
        "temperature": 0.5,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_request_of_the_responses_api() -> None:
    with other_server(events(items(spoken("Rain.")))) as server, RemoteLLM(server.url, api="responses") as llm:
        llm.chat(HISTORY, effort="high", reasoning_budget=9, tool_choice="none", response_format=FORMAT, top_p=0.5)
        [body] = server.bodies
    assert body == {
        "model": "m",
        "input": [
            {"type": "message", "role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": "Hello"},
            {"type": "message", "role": "assistant", "content": "Hi."},
            {"type": "message", "role": "user", "content": "Weather?"},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "I ask."}]},
            {"type": "message", "role": "assistant", "content": "A moment.", "phase": "commentary"},
            {"type": "function_call", "call_id": "call_1", **CALL["function"]},  # type: ignore[dict-item]
            {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
        ],
        "tool_choice": "none",
        "reasoning": {"effort": "high", "max_tokens": 9},
        "text": {"format": {"type": "json_schema", "name": "place", "schema": {"type": "object"}}},
        "top_p": 0.5,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }


def read(api: ChatCompletions | Responses, stream: Sequence[dict[str, Any]]) -> list[Event]:
    reader = api.reader(has_reasoned=False)
    said = [event for data in stream for event in reader.feed(data)] + list(reader.finish())
    answer = reader.round
    return [*said, Done(answer.finish_reason, answer.usage, answer.messages, ())]


def test_dialects_of_the_chat_api() -> None:
    """Reasoning under either key or both, calls without index or id, a refusal, an answer without usage."""
    [first, *_] = read(ChatCompletions(), chunks({"reasoning": "a", "reasoning_content": "a"}))
    assert first == ReasoningDelta("a")
    reader = ChatCompletions().reader(has_reasoned=False)
    _ = [event for data in chunks({"reasoning_content": "a"}, {"content": "b"}) for event in reader.feed(data)]
    assert [*reader.finish()] == []
    assert reader.round.said == ({"role": "assistant", "content": "b", "reasoning_content": "a"},), "as it came"
    bare = {"tool_calls": [{"function": CALL["function"]}]}
    reply = Reply.of(read(ChatCompletions(), chunks(bare, end="stop")))
    assert reply.tool_calls[0].id.startswith("call_") and reply.finish_reason is FinishReason.TOOL_CALLS
    assert Reply.of(read(ChatCompletions(), chunks({"refusal": "No."})[:-1])).text == "No."
    cut = read(ChatCompletions(), chunks({"tool_calls": [CALL | {"index": 0}]}, end="length"))
    assert Reply.of(cut).tool_calls == () and Reply.of(cut).finish_reason is FinishReason.LENGTH


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    message = {"role": "assistant", "content": "Lima.", "reasoning_content": "Peru.", "tool_calls": None}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "eos"}], "usage": {"prompt_tokens": 7}}
    with other_server(document(whole), document({"object": "response"})) as server:
        reply = RemoteLLM(server.url).chat("What is the capital of Peru?")
        assert (reply.text, reply.reasoning, reply.usage.prompt) == ("Lima.", "Peru.", 7)
        assert reply.finish_reason is FinishReason.STOP, "whatever its word for that is"
        with pytest.raises(RequestFailed, match="does not stream its responses; --api chat may do"):
            RemoteLLM(server.url, api="responses").chat("What is the capital of Peru?")


ODD: list[Any] = [5, "x", True, [7], {"x": 1}, [{"x": [1]}]]


@pytest.mark.parametrize("api", list(ROUNDS))
@given(data=st.data())
def test_whatever_a_server_sends_instead_is_its_failure(api: ApiName, data: st.DataObject) -> None:
    """A stream of which any part is something else is read, or is a failure that says so; nothing breaks here."""
    stream = chunks({"content": "a", "tool_calls": [CALL | {"index": 0}]}, end="tool_calls")
    if api == "responses":
        stream = items(thought("a"), spoken("b"), called())
    broken = replaced(stream, data.draw)
    with suppress(RequestFailed):
        Reply.of(read(ChatCompletions() if api == "chat" else Responses(), broken))


def replaced(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """A part of a value, at any depth, replaced; events stay objects, as the endpoint makes sure."""
    at = draw(st.integers(0, len(value) - 1))

    def within(inner: Any) -> Any:
        if not isinstance(inner, (dict, list)) or not inner or draw(st.integers(0, 3)) == 0:
            return draw(st.sampled_from(ODD))
        if isinstance(inner, list):
            place = draw(st.integers(0, len(inner) - 1))
            return [within(one) if number == place else one for number, one in enumerate(inner)]
        name = draw(st.sampled_from(sorted(inner)))
        return inner | {name: within(inner[name])}

    event = value[at]
    name = draw(st.sampled_from(sorted(event)))
    return [*value[:at], event | {name: within(event[name])}, *value[at + 1 :]]


def test_dialects_of_the_responses_api() -> None:
    """A preamble, a summary instead of the reasoning or beside it, a cut call, a failure."""
    reply = Reply.of(read(Responses(), items(spoken("One moment.", phase="commentary"), spoken("It rains."))))
    assert reply.text == "It rains." and reply.messages == (
        Message.commentary("One moment."),
        Message.final("It rains."),
    )
    summary = {"type": "response.reasoning_summary_text.delta", "delta": "Brief."}
    stream = items(thought("Long."))
    assert Reply.of(read(Responses(), [*stream[:3], summary, *stream[3:]])).reasoning == "Long."
    assert Reply.of(read(Responses(), [*stream[:2], summary, *stream[3:]])).reasoning == "Brief."
    cut = items(called(status="incomplete"), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert Reply.of(read(Responses(), cut)).finish_reason is FinishReason.LENGTH
    assert Reply.of(read(Responses(), cut)).tool_calls == ()
    for broken, words in (
        (items(status="failed", error={"message": "No memory."}), "No memory"),
        (items(status="incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        ([{"type": "error", "message": "Gone."}], "Gone"),
        (items(spoken("It"))[:-1], "broke off"),
    ):
        with pytest.raises(RequestFailed, match=words):
            read(Responses(), broken)


@st.composite
def cut_into_pieces(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str, str, list[ToolCall]]:
    """A turn of the chat API in pieces of any length, and what it says."""
    reasoning, text = draw(st.text(max_size=20)), draw(st.text(max_size=20))
    calls = [ToolCall(f"c{n}", f"f{n}", draw(st.text(max_size=20))) for n in range(draw(st.integers(0, 2)))]

    def pieces(whole: str) -> Iterator[str]:
        while whole:
            n = draw(st.integers(1, len(whole)))
            yield whole[:n]
            whole = whole[n:]

    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in pieces(reasoning)]
    deltas += [{"content": piece} for piece in pieces(text)]
    for n, call in enumerate(calls):
        deltas.append({"tool_calls": [{"index": n, "id": call.id, "function": {"name": call.name, "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": n, "function": {"arguments": p}}]} for p in pieces(call.arguments)]
    return chunks(*deltas, end="tool_calls" if calls else "stop"), reasoning, text, calls


@given(cut_into_pieces())
def test_pieces_of_any_length_say_the_same(turn: tuple[list[dict[str, Any]], str, str, list[ToolCall]]) -> None:
    stream, reasoning, text, calls = turn
    said = read(ChatCompletions(), stream)
    reply = Reply.of(said)
    assert (reply.reasoning, reply.text, list(reply.tool_calls)) == (reasoning, text, calls)
    for call in calls:
        assert "".join(e.text for e in said if isinstance(e, ToolCallDelta) and e.call_id == call.id) == call.arguments


def test_options_that_a_server_cannot_be_told_are_refused() -> None:
    with other_server() as server, RemoteLLM(server.url) as llm:
        with pytest.raises(BadRequest, match="There is no option 'identity'"):
            llm.stream("Hello", identity="A teacher")  # type: ignore[call-arg]
        with pytest.raises(BadRequest, match="no API 'completions'"):
            RemoteLLM(server.url, api="completions")  # type: ignore[arg-type]
        assert server.bodies == [], "before anything is sent"


def test_what_the_server_says_of_its_models() -> None:
    listed = document({"data": [{"id": "a", "max_model_len": 4096}, {"id": "b"}]})
    with other_server(models=listed) as server:
        assert [RemoteLLM(server.url, name).context for name in ("a", "b", "a:free")] == [4096, None, None]
    with other_server(models=document({"error": {"message": "Not found"}}, 404)) as server:
        assert RemoteLLM(server.url, "a").name == "a", "not every server lists them"
    with other_server(models=Answer(b"404 page not found", 404, "text/plain")) as server:
        assert RemoteLLM(server.url, "a").name == "a", "a gateway's own words for the same"
        with pytest.raises(ServerUnreachable, match="usually ends in /v1"):
            RemoteLLM(server.url)


def test_a_remote_model_needs_no_torch() -> None:
    code = "import sys, harmonium.chat.remote; print(json.dumps([m for m in ('torch', 'numba') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
