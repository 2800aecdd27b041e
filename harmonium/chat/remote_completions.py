"""The chat completions API from the client's side: /v1/chat/completions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from harmonium.chat.remote_reading import count_in, object_in, objects_in, text_in
from harmonium.errors import RequestFailed
from harmonium.harmony.messages import Message

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
}
_FAILURES = ("content_filter", "error", "abort")
_REASONING_KEYS = ("reasoning", "reasoning_content")


class ChatCompletions:
    """Reasoning goes back to the server under the key that it came in.

    What a model says before a call is told apart from its answer only once the call is there: its events say "final".
    """

    path = "/chat/completions"

    def history(self, messages: Sequence[Message]) -> list[Object]:
        return [_known_everywhere(message) for message in chat_dicts(messages)]

    def body(self, said: Sequence[Object], ask: Ask) -> Object:
        choice = chosen(ask.tool_choice, lambda name: {"type": "function", "function": {"name": name}})
        settings = {
            "tools": [{"type": "function", "function": described(tool)} for tool in ask.tools] or None,
            "tool_choice": choice,
            "reasoning_effort": ask.effort,
            "max_tokens": ask.max_tokens,
            "reasoning_budget": ask.reasoning_budget,
            "response_format": ask.response_format,
            **ask.sampling,
        }
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": ask.model, "messages": list(said), **given(settings), **stream}

    def result(self, result: ToolResult) -> Object:
        return {"role": "tool", "tool_call_id": result.call_id, "content": result.text}

    def reader(self, has_reasoned: bool) -> Reader:
        return _Reader(has_reasoned)


def _known_everywhere(message: Object) -> Object:
    """Not every server knows the role developer, nor our mark of what was said before a call."""
    role = "system" if message["role"] == "developer" else message["role"]
    return {name: value for name, value in message.items() if name != "channel"} | {"role": role}


@dataclass
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    is_whole: bool = False

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments))


class _Reader:
    def __init__(self, has_reasoned: bool) -> None:
        self._has_reasoned = has_reasoned
        self._reasoning: dict[str, list[str]] = {}
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finish: FinishReason | None = None
        self._usage = Usage()

    def feed(self, data: Mapping[str, Any]) -> Iterator[Event]:
        if usage := object_in(data, "usage"):
            self._usage = _usage(usage)
        for choice in objects_in(data, "choices"):
            delta = object_in(choice, "delta") or object_in(choice, "message")  # the latter where nothing streams
            yield from self._read_reasoning(delta)
            for key in ("content", "refusal"):
                if text := text_in(delta, key):
                    self._text.append(text)
                    yield TextDelta(text)
            for number, call in enumerate(objects_in(delta, "tool_calls")):
                yield from self._read_call(call, number if call.get("index") is None else count_in(call, "index"))
            if reason := text_in(choice, "finish_reason"):
                self._finish = _finish_reason(reason)

    def finish(self) -> Iterator[Event]:
        if self._finish is None:
            raise RequestFailed("The server's answer broke off before its end. Ask again.")
        if self._finish is not FinishReason.LENGTH:
            yield from self._end_calls()

    @property
    def round(self) -> Round:
        assert self._finish is not None, "finish was called"
        calls = tuple(call.whole() for call in self._calls.values() if call.is_whole)
        text = "".join(self._text)
        reasoning = next(("".join(pieces) for pieces in self._reasoning.values()), "")
        messages = [Message.analysis(reasoning)] if reasoning else []
        if text or not (calls or reasoning):
            messages.append(Message.commentary(text) if calls else Message.final(text))
        reason = FinishReason.TOOL_CALLS if calls else self._finish
        return Round(reason, self._usage, calls, tuple(messages), (self._said(text, calls),))

    def _said(self, text: str, calls: Sequence[ToolCall]) -> Object:
        said: Object = {"role": "assistant", "content": text or None}
        said |= {key: "".join(pieces) for key, pieces in self._reasoning.items()}
        if calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        return said

    def _read_reasoning(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        """A server that sends it under both keys says the same in both."""
        pieces = {key: text for key in _REASONING_KEYS if isinstance(text := delta.get(key), str) and text}
        for key, text in pieces.items():
            self._reasoning.setdefault(key, []).append(text)
        for text in list(pieces.values())[:1]:
            if self._has_reasoned:
                self._has_reasoned = False
                yield ReasoningDelta("\n")
            yield ReasoningDelta(text)

    def _read_call(self, piece: Mapping[str, Any], index: int) -> Iterator[Event]:
        function = object_in(piece, "function")
        call = self._calls.get(index)
        if call is None:
            yield from self._end_calls()
            call = _Call(text_in(piece, "id") or f"call_{secrets.token_hex(12)}", text_in(function, "name"))
            self._calls[index] = call
        if text := text_in(function, "arguments"):
            call.arguments.append(text)
            yield ToolCallDelta(call.id, call.name, text)

    def _end_calls(self) -> Iterator[Event]:
        """Those that the stream has gone past."""
        for call in self._calls.values():
            if not call.is_whole:
                call.is_whole = True
                yield call.whole()


def _finish_reason(word: str) -> FinishReason:
    """Servers have words of their own for an answer that ended by itself: eos, end_turn, stop_sequence."""
    if word in _FAILURES:
        raise RequestFailed(f"The server ended the answer before its end: {word}.")
    return _FINISH_REASONS.get(word, FinishReason.STOP)


def _usage(usage: Mapping[str, Any]) -> Usage:
    completion, prompt = object_in(usage, "completion_tokens_details"), object_in(usage, "prompt_tokens_details")
    return Usage(
        prompt=count_in(usage, "prompt_tokens"),
        completion=count_in(usage, "completion_tokens"),
        reasoning=count_in(completion, "reasoning_tokens"),
        cached=count_in(prompt, "cached_tokens"),
    )
