"""What both of OpenAI's APIs are to a client: a request is written, its stream of objects read as our events.

`Api` is the contract, and holds no connection: remote_completions and remote_responses fulfil it,
remote.py drives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harmonium.chat.events import Event, FinishReason, ToolCall, ToolResult, Usage
from harmonium.chat.restraint import Named
from harmonium.harmony.convert import to_dicts
from harmonium.harmony.messages import Channel, Message, ToolSpec

Object = dict[str, Any]
"""A JSON object as it goes over the wire."""


@dataclass(frozen=True)
class Ask:
    """What a request says beside the messages. sampling: temperature, top_p and their like, by OpenAI's names.

    tool_choice: a word, or the tool to call; response_format: as the chat API has it.
    """

    model: str
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | Named | None = None
    effort: str | None = None
    max_tokens: int | None = None
    reasoning_budget: int | None = None
    response_format: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Round:
    """One answer of the server. said: it as the next request repeats it to the same server.

    messages: reasoning and text; calls: whole ones. A call that a limit cut is nowhere.
    """

    finish_reason: FinishReason
    usage: Usage
    calls: tuple[ToolCall, ...]
    messages: tuple[Message, ...]
    said: tuple[Object, ...]


class Reader(Protocol):
    """Reads one answer."""

    def feed(self, data: Mapping[str, Any]) -> Iterator[Event]:
        """The events of the stream's next object. Raises RequestFailed where it tells of a failure."""

    def finish(self) -> Iterator[Event]:
        """The events of the stream's end. Raises RequestFailed where it ended before the answer did."""

    @property
    def round(self) -> Round:
        """The whole answer, once it is finished."""


class Api(Protocol):
    path: str

    def history(self, messages: Sequence[Message]) -> list[Object]:
        """A conversation as a request has it."""

    def body(self, said: Sequence[Object], ask: Ask) -> Object:
        """A request for a stream. said: the conversation, rounds of the turn and their results included."""

    def result(self, result: ToolResult) -> Object:
        """A function's result, to be put behind the round that called it."""

    def reader(self, has_reasoned: bool) -> Reader:
        """has_reasoned: in earlier rounds of the turn; a line break then parts what follows from it."""


def chat_dicts(messages: Sequence[Message]) -> list[Object]:
    """Messages as the chat API has them, without the reasoning of finished turns, which gpt-oss is not shown again."""
    finals = [number for number, message in enumerate(messages) if message.channel == Channel.FINAL]
    last = finals[-1] if finals else -1
    return to_dicts(
        message
        for number, message in enumerate(messages)
        if number > last or message.channel != Channel.ANALYSIS or message.recipient is not None
    )


def given(values: Mapping[str, Any]) -> Object:
    """Those that are set."""
    return {name: value for name, value in values.items() if value is not None}


def described(tool: ToolSpec) -> Object:
    """A function as both APIs describe it."""
    parameters = {"type": "object", "properties": {}} if tool.parameters is None else dict(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parameters": parameters, "strict": tool.strict}


def chosen(tool_choice: str | Named | None, function: Callable[[str], Object]) -> str | Object | None:
    """tool_choice as it is sent. function: how the API names one that has to be called."""
    return function(tool_choice.name) if isinstance(tool_choice, Named) else tool_choice
