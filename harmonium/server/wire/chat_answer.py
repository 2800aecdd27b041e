"""Events to /v1/chat/completions: deltas, chunks as JSON, and a whole completion, which is its deltas joined."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_core import to_json

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
    Usage,
)
from harmonium.server import plain_json
from harmonium.server.wire.logprobs import reported

FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.TOOL_ROUNDS: "tool_calls",
    FinishReason.LENGTH: "length",
}
CHUNK = b'%b"choices":[{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}%b'
Delta = dict[str, Any]
Logprobs = dict[str, list[dict[str, Any]]]


class Piece(NamedTuple):
    """What a choice says next. logprobs: of its text's tokens, by the field that the text belongs to."""

    delta: Delta
    logprobs: Logprobs | None = None


class Choice:
    """One answer as it grows. `take` gives what an event adds; finish_reason and usage are there at the end, and
    the error that cut it while others went on.

    shows_reasoning: reasoning is sent, under both of the names that clients read. has_format: the answer follows one,
    so what is said before it would spoil it and counts as reasoning. is_legacy: the client knows one function_call
    and no tool_calls.
    """

    def __init__(
        self, functions: Collection[str | None], *, shows_reasoning: bool, has_format: bool, is_legacy: bool = False
    ) -> None:
        self.finish_reason: str | None = None
        self.error: dict[str, Any] | None = None
        self.usage = Usage()
        self.repairs: list[str] = []
        self.reasoning_cut: str | None = None
        self._functions, self._shows_reasoning, self._has_format = functions, shows_reasoning, has_format
        self._is_legacy = is_legacy
        self._calls: dict[str, int] = {}
        self._spoken: str | None = None  # the channel of the text so far

    def take(self, event: Event) -> Sequence[Piece]:
        match event:
            case ReasoningDelta(text, tokens):
                return self._reasoning(text, tokens)
            case TextDelta(text, channel, tokens):
                return self._text(text, channel, tokens)
            case ToolCallDelta(id_, name, text) if name in self._functions:
                return (*self._call(id_, name), self._arguments(id_, text))
            case ToolCall(id_, name, arguments) if name in self._functions:
                begun = self._call(id_, name)
                return begun if arguments else (*begun, self._arguments(id_, "{}"))
            case Repair(kind):
                self.repairs.append(kind)
            case Done(reason, usage) as done:
                self.finish_reason, self.usage = FINISH.get(reason), usage
                if done.is_reasoning_cut:
                    self.reasoning_cut = "loop" if done.is_reasoning_loop else "budget"
                if self._is_legacy and self.finish_reason == "tool_calls":
                    self.finish_reason = "function_call"
        return ()

    def fail(self, error: dict[str, Any]) -> None:
        """It ends here, as one that is cut does."""
        self.finish_reason, self.error = "length", error

    def _reasoning(self, text: str, tokens: Sequence[TokenLogprob]) -> Sequence[Piece]:
        if not self._shows_reasoning:
            return ()
        logprobs = {"reasoning": reported(tokens)} if tokens else None
        return (Piece({"reasoning": text, "reasoning_content": text}, logprobs),)

    def _text(self, text: str, channel: str, tokens: Sequence[TokenLogprob]) -> Sequence[Piece]:
        if self._has_format and channel != "final":
            return self._reasoning(text, tokens)
        said = Piece({"content": text}, {"content": reported(tokens)} if tokens else None)
        is_new, self._spoken = self._spoken not in (None, channel), channel
        return (Piece({"content": "\n\n"}), said) if is_new else (said,)

    def _call(self, id_: str, name: str) -> Sequence[Piece]:
        """The beginning of a call that has not begun."""
        if id_ in self._calls:
            return ()
        index = self._calls[id_] = len(self._calls)
        function = {"name": name, "arguments": ""}
        if self._is_legacy:
            return (Piece({"function_call": function}),)
        return (Piece({"tool_calls": [{"index": index, "id": id_, "type": "function", "function": function}]}),)

    def _arguments(self, id_: str, text: str) -> Piece:
        if self._is_legacy:
            return Piece({"function_call": {"arguments": text}})
        return Piece({"tool_calls": [{"index": self._calls[id_], "function": {"arguments": text}}]})


@dataclass
class Message:
    """Pieces, joined."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    function_call: dict[str, str] | None = None
    logprobs: Logprobs | None = None

    def add(self, piece: Piece) -> None:
        delta = piece.delta
        if "content" in delta:
            self.content = (self.content or "") + delta["content"]
        if "reasoning" in delta:
            self.reasoning = (self.reasoning or "") + delta["reasoning"]
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                self.tool_calls.append({"id": call["id"], "type": "function", "function": dict(call["function"])})
            else:
                self.tool_calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
        if "function_call" in delta:
            said = self.function_call or {"name": delta["function_call"]["name"], "arguments": ""}
            self.function_call = said | {"arguments": said["arguments"] + delta["function_call"]["arguments"]}
        for name, tokens in (piece.logprobs or {}).items():
            self.logprobs = self.logprobs or {}
            self.logprobs.setdefault(name, []).extend(tokens)

    def as_dict(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "role": "assistant",
            "content": self.content or (None if self.tool_calls or self.function_call else ""),
            "refusal": None,
        }
        if self.reasoning is not None:
            said |= {"reasoning": self.reasoning, "reasoning_content": self.reasoning}
        if self.function_call is not None:
            said["function_call"] = self.function_call
        return said | ({"tool_calls": self.tool_calls} if self.tool_calls else {})


@dataclass(frozen=True)
class Head:
    """What every object of one answer begins with."""

    id: str
    created: int
    model: str

    def completion(
        self, choices: list[tuple[Choice, Message]], usage: CompletionUsage, extra: dict[str, Any]
    ) -> dict[str, Any]:
        """A whole answer."""
        told = [
            {
                "index": index,
                "message": message.as_dict(),
                "logprobs": message.logprobs,
                "finish_reason": choice.finish_reason,
                **({} if choice.error is None else {"error": choice.error}),
            }
            for index, (choice, message) in enumerate(choices)
        ]
        fields = {"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model}
        made = ChatCompletion.model_validate(fields | {"choices": told, "usage": usage} | extra)
        return made.model_dump(exclude_unset=True)


class Chunks:
    """Chunks of one stream as JSON. What they share is written once, for a server writes thousands a second."""

    def __init__(self, head: Head, *, has_usage: bool) -> None:
        fields = {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}
        self._empty = ChatCompletionChunk.model_validate(fields | {"choices": []})
        before, _, after = self._empty.model_dump_json(exclude_unset=True).encode().rpartition(b'"choices":[]')
        self._before, self._after = before, b"]%b%b" % (b',"usage":null' if has_usage else b"", after)

    def piece(self, index: int, piece: Piece) -> bytes:
        logprobs = b"null" if piece.logprobs is None else to_json(piece.logprobs)
        return CHUNK % (self._before, index, to_json(piece.delta), logprobs, b"null", self._after)

    def finish(self, index: int, choice: Choice, extra: dict[str, Any]) -> bytes:
        """The last of a choice."""
        reason = to_json(choice.finish_reason)
        told = reason if choice.error is None else b'%b,"error":%b' % (reason, to_json(choice.error))
        end = CHUNK % (self._before, index, b"{}", b"null", told, self._after)
        return b"%b,%b" % (end[:-1], plain_json.dump(extra)[1:]) if extra else end

    def usage(self, usage: CompletionUsage) -> str:
        """The very last, where it was asked for."""
        return self._empty.model_copy(update={"usage": usage}).model_dump_json(exclude_none=True)
