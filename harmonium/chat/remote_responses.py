"""The Responses API from the client's side: /v1/responses, with nothing stored on the server.

Within a turn the server's own items go back to it as they came, reasoning with ids and encrypted content included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harmonium.chat.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from harmonium.chat.remote_api import Ask, Object, Reader, Round, chat_dicts, chosen, described, given
from harmonium.chat.remote_reading import count_in, object_in, text_in
from harmonium.errors import RequestFailed
from harmonium.harmony.messages import Message

_REASONING_DELTAS = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


class Responses:
    path = "/responses"

    def history(self, messages: Sequence[Message]) -> list[Object]:
        return [item for message in chat_dicts(messages) for item in _items(message)]

    def body(self, said: Sequence[Object], ask: Ask) -> Object:
        kept = {"store": False, "include": ["reasoning.encrypted_content"], "stream": True}
        reasoning = given({"effort": ask.effort, "max_tokens": ask.reasoning_budget})
        settings = {
            "tools": [{"type": "function", **described(tool)} for tool in ask.tools] or None,
            "tool_choice": chosen(ask.tool_choice, lambda name: {"type": "function", "name": name}),
            "reasoning": reasoning or None,
            "max_output_tokens": ask.max_tokens,
            "text": None if ask.response_format is None else {"format": _flat(ask.response_format)},
            **ask.sampling,
        }
        return {"model": ask.model, "input": list(said), **given(settings), **kept}

    def result(self, result: ToolResult) -> Object:
        return {"type": "function_call_output", "call_id": result.call_id, "output": result.text}

    def reader(self, has_reasoned: bool) -> Reader:
        return _Reader(has_reasoned)


def _items(message: Object) -> Iterator[Object]:
    """The items of one message of the chat API."""
    if message["role"] == "tool":
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
        return
    if text := message.get("reasoning"):
        yield {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}
    if message["content"] is not None:
        phase = {"phase": "commentary"} if "channel" in message or "tool_calls" in message else {}
        yield {"type": "message", "role": message["role"], "content": message["content"], **phase}
    for call in message.get("tool_calls", ()):
        yield {"type": "function_call", "call_id": call["id"], **call["function"]}


def _flat(response_format: Mapping[str, Any]) -> Object:
    """A format of the chat API as text.format has it, where the schema stands beside the type."""
    inner = response_format.get("json_schema")
    return {"type": "json_schema", **inner} if isinstance(inner, Mapping) else dict(response_format)


class _Reader:
    def __init__(self, has_reasoned: bool) -> None:
        self._has_reasoned = has_reasoned
        self._open: Mapping[str, Any] = {}  # the item that is being said
        self._reasoning_kind: str | None = None  # which of _REASONING_DELTAS tells the open item's reasoning
        self._reasoning: list[str] = []
        self._messages: list[Message] = []
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._said: list[Object] = []
        self._end: Mapping[str, Any] | None = None

    def feed(self, data: Mapping[str, Any]) -> Iterator[Event]:
        kind = data.get("type")
        if kind == "response.output_item.added":
            self._open, self._reasoning_kind = object_in(data, "item"), None
            self._reasoning, self._text = [], []
        elif kind in _REASONING_DELTAS:
            yield from self._read_reasoning(str(kind), text_in(data, "delta"))
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            text = text_in(data, "delta")
            self._text.append(text)
            yield TextDelta(text, "commentary" if self._is_preamble else "final")
        elif kind == "response.function_call_arguments.delta":
            name, call_id = text_in(self._open, "name"), text_in(self._open, "call_id")
            yield ToolCallDelta(call_id, name, text_in(data, "delta"))
        elif kind == "response.output_item.done":
            yield from self._end_item(dict(object_in(data, "item")))
        elif kind in _ENDS:
            self._end = object_in(data, "response")
        elif kind == "error":
            raise RequestFailed(f"The server failed in the middle of its answer: {data.get('message') or data}")
        elif kind is None and data.get("object") == "response":
            raise RequestFailed("The server does not stream its responses; --api chat may do.")

    def finish(self) -> Iterator[Event]:
        if self._end is None:
            raise RequestFailed("The server's answer broke off before its end. Ask again.")
        status = self._end.get("status")
        reason = object_in(self._end, "incomplete_details").get("reason")
        is_cut = status == "incomplete" and reason == "max_output_tokens"
        if status not in ("completed", "cancelled") and not is_cut:
            told = object_in(self._end, "error").get("message") or reason or "it gave no reason."
            raise RequestFailed(f"The server did not finish the answer: {told}")
        yield from ()

    @property
    def round(self) -> Round:
        assert self._end is not None, "finish was called"
        reasons = {"completed": FinishReason.STOP, "incomplete": FinishReason.LENGTH, "cancelled": FinishReason.ABORT}
        reason = FinishReason.TOOL_CALLS if self._calls else reasons[str(self._end.get("status"))]
        usage = _usage(object_in(self._end, "usage"))
        return Round(reason, usage, tuple(self._calls), tuple(self._messages), tuple(self._said))

    @property
    def _is_preamble(self) -> bool:
        return self._open.get("phase") == "commentary"

    def _read_reasoning(self, kind: str, text: str) -> Iterator[Event]:
        """Of an item that has a summary beside the reasoning, what came first is shown."""
        if self._reasoning_kind is None:
            self._reasoning_kind = kind
            if self._has_reasoned:
                yield ReasoningDelta("\n")
            self._has_reasoned = True
        if kind == self._reasoning_kind:
            self._reasoning.append(text)
            yield ReasoningDelta(text)

    def _end_item(self, item: Object) -> Iterator[Event]:
        kind = item.get("type")
        if kind == "function_call":
            if item.get("status") == "incomplete":
                return
            call = ToolCall(text_in(item, "call_id"), text_in(item, "name"), text_in(item, "arguments"))
            self._calls.append(call)
            yield call
        elif kind == "reasoning" and self._reasoning:
            self._messages.append(Message.analysis("".join(self._reasoning)))
        elif kind == "message":
            text = "".join(self._text)
            self._messages.append(Message.commentary(text) if self._is_preamble else Message.final(text))
        self._said.append(item)


def _usage(usage: Mapping[str, Any]) -> Usage:
    output, prompt = object_in(usage, "output_tokens_details"), object_in(usage, "input_tokens_details")
    return Usage(
        prompt=count_in(usage, "input_tokens"),
        completion=count_in(usage, "output_tokens"),
        reasoning=count_in(output, "reasoning_tokens"),
        cached=count_in(prompt, "cached_tokens"),
    )
