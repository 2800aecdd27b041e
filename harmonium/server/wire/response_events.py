"""A turn's events to those of a response: created, in_progress, the items one after the other, and how it ended.

    writer = Writer(head, ...)
    for event in writer.begin(): ...
    for said in turn:
        for event in writer.take(said): ...

Every stream ends in exactly one of completed, incomplete and failed; `response` is the object as it is now. A whole
response is the object at the end of the same events, so streamed and whole ones cannot differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

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
)
from harmonium.chat.said import NO_TOOLS
from harmonium.errors import HarmoniumError
from harmonium.harmony.messages import Channel, Message, Role
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.server.exact_messages import Said, to_json
from harmonium.server.sealing import Seal
from harmonium.server.store_responses import Item
from harmonium.server.wire.response_object import Head, Notes, error_of
from harmonium.server.wire.response_output import CallOutput, Fields, Output, ReasoningOutput, TextOutput


class Writer:
    """functions: names of those that the client runs; calls of others were refused, and are told in the notes alone.

    namespaced: the namespaces and own names of some of them. seal: seals reasoning for clients that keep it.
    summarizes: reasoning is told as its own summary, too. shows_reasoning: it is told at all, and not only sealed.
    has_format: the answer follows one, so what is said before it would spoil it and counts as reasoning.
    """

    def __init__(
        self,
        head: Head,
        notes: Notes,
        functions: Collection[str],
        *,
        namespaced: Mapping[str, tuple[str, str]] | None = None,
        seal: Seal | None = None,
        summarizes: bool = False,
        shows_reasoning: bool = True,
        has_format: bool = False,
    ) -> None:
        self.response = head.object("in_progress", notes=notes)
        self.done: Done | None = None
        self._head, self._notes, self._functions = head, notes, functions
        self._namespaced = namespaced or {}
        self._seal, self._has_format = seal, has_format
        self._summarizes, self._shows_reasoning = summarizes, shows_reasoning
        self._outputs: list[Output] = []
        self._open: Output | None = None
        self._n_events = 0

    def begin(self) -> Iterator[Fields]:
        yield self._event({"type": "response.created", "response": self.response})
        yield self._event({"type": "response.in_progress", "response": self.response})

    def take(self, event: Event) -> Iterator[Fields]:
        """What an event of the turn adds; Done ends the response."""
        for fields in self._events(event):
            yield self._event(fields)

    def fail(self, error: HarmoniumError) -> Iterator[Fields]:
        """The end of a response that could not go on, or whose end, just told, does not count."""
        if self.done is not None:
            self._n_events -= 1
        yield from self._close("incomplete")
        self.response = self._head.object("failed", self.output, notes=self._notes, error=error_of(error))
        yield self._event({"type": "response.failed", "response": self.response})

    def cancel(self) -> Iterator[Fields]:
        """The end of a response that nobody wants any more, or wanted when its end was just told. OpenAI has no event
        for it: the object says it."""
        if self.done is not None:
            self._n_events -= 1
        yield from self._close("incomplete")
        self.response = self._head.object("cancelled", self.output, notes=self._notes)
        yield self._event({"type": "response.failed", "response": self.response})

    @property
    def has_begun(self) -> bool:
        """The first event is out."""
        return self._n_events > 0

    @property
    def output(self) -> list[Fields]:
        """The items so far."""
        return [dict(output.item) for output in self._outputs]

    def items(self, model: str) -> list[Item]:
        """The items with the messages behind them, once the turn is done. model: whose ids these are."""
        messages = () if self.done is None else self.done.messages
        kinds = [self._kind(message) for message in messages]
        said = _attributed([output.kind for output in self._outputs], messages, kinds)
        return [Item(output.item, _kept(group, model)) for output, group in zip(self._outputs, said, strict=True)]

    def _kind(self, message: Message) -> str:
        """The kind of item that shows a message; empty where none does."""
        if message.role is not Role.ASSISTANT:
            return ""
        if message.recipient is not None and message.recipient not in NO_TOOLS:
            return "call" if message.recipient.removeprefix(f"{FUNCTIONS}.") in self._functions else ""
        is_reasoning = message.channel == Channel.ANALYSIS or (self._has_format and message.channel != Channel.FINAL)
        return "reasoning" if is_reasoning else str(message.channel)

    def _event(self, fields: Fields) -> Fields:
        fields["sequence_number"] = self._n_events
        self._n_events += 1
        return fields

    def _events(self, event: Event) -> Iterator[Fields]:
        match event:
            case ReasoningDelta(text, logprobs):
                yield from self._reasoning(text, logprobs)
            case TextDelta(text, channel, logprobs):
                if self._has_format and channel != Channel.FINAL:
                    yield from self._reasoning(text, logprobs)
                else:
                    yield from self._into(channel, text, logprobs)
            case ToolCallDelta(call_id, name, text) if name in self._functions:
                yield from self._call(call_id, name)
                assert self._open is not None, "a call has begun"
                yield from self._open.add(text)
            case ToolCall(call_id, name):
                if name in self._functions:
                    yield from self._call(call_id, name)
                    yield from self._end_item("completed")
                else:
                    self._notes.refused.append(name)
            case Repair():
                self._notes.repairs.append(event)
            case Done():
                yield from self._finish(event)
            case ToolCallDelta() | ToolResult():
                pass  # of a call that was refused: what became of it the model reads, not the client

    def _reasoning(self, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[Fields]:
        is_first = not any(output.kind == "reasoning" for output in self._outputs)
        is_open = self._open is not None and self._open.kind == "reasoning"
        if text == "\n" and not (is_first or is_open):
            return  # stands between two analyses, and here they are two items
        yield from self._into("reasoning", text, logprobs)

    def _into(self, kind: str, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[Fields]:
        """Text for an item of that kind: the one that is open, or a new one."""
        if self._open is None or self._open.kind != kind:
            yield from self._begin_item(self._new(kind))
        assert self._open is not None, "an item has begun"
        yield from self._open.add(text, logprobs)

    def _new(self, kind: str) -> Output:
        index = len(self._outputs)
        if kind == "reasoning":
            return ReasoningOutput(index, summarizes=self._summarizes, seal=self._seal, is_shown=self._shows_reasoning)
        return TextOutput(kind, index)

    def _call(self, call_id: str, name: str) -> Iterator[Fields]:
        if self._open is None or self._open.item.get("call_id") != call_id:
            namespace, own = self._namespaced.get(name, (None, name))
            yield from self._begin_item(CallOutput(call_id, own, namespace, len(self._outputs)))

    def _begin_item(self, output: Output) -> Iterator[Fields]:
        yield from self._end_item("completed")
        self._outputs.append(output)
        self._open = output
        yield from output.begin()

    def _end_item(self, status: str) -> Iterator[Fields]:
        if self._open is not None:
            output, self._open = self._open, None
            yield from output.end(status)

    def _close(self, status: str) -> Iterator[Fields]:
        for fields in self._end_item(status):
            yield self._event(fields)

    def _finish(self, done: Done) -> Iterator[Fields]:
        self.done = done
        is_whole = done.finish_reason in (FinishReason.STOP, FinishReason.TOOL_CALLS)
        if done.finish_reason is FinishReason.STOP and all(output.kind == "reasoning" for output in self._outputs):
            yield from self._begin_item(self._new(str(Channel.FINAL)))  # an answer without a word is one, too
        yield from self._end_item("completed" if is_whole else "incomplete")
        if done.is_reasoning_cut:
            self._notes.reasoning_cut = "loop" if done.is_reasoning_loop else "budget"
        self.response = self._head.finished(done, self.output, self._notes)
        status = self.response["status"]
        name = status if status in ("completed", "incomplete") else "failed"
        yield {"type": f"response.{name}", "response": self.response}


def _attributed(shown: Sequence[str], messages: Sequence[Message], kinds: Sequence[str]) -> list[list[Message]]:
    """The messages behind each item, in order; those that show nothing go with the item before them, or the first.

    shown: the items' kinds; kinds: those of the items that show the messages.
    """
    groups: list[list[Message]] = [[] for _ in shown]
    at = -1
    for message, kind in zip(messages, kinds, strict=True):
        is_same = at >= 0 and shown[at] == kind and kind != "call"
        if not is_same and at + 1 < len(shown) and shown[at + 1] == kind:
            at += 1
        if groups:
            groups[max(at, 0)].append(message)
    return groups


def _kept(messages: Sequence[Message], model: str) -> Said | None:
    return to_json(messages, model) if messages else None
