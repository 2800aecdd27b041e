"""One stream of events for a turn: the terminal, the web page, both APIs and the evals read these and nothing else.

Streamed and whole answers are the same by construction: a whole answer is its events, joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harmonium.harmony.messages import Channel, Message
from harmonium.harmony.namespaces import BUILTIN_NAMESPACES, FUNCTIONS


class FinishReason(StrEnum):
    """Why a turn ended."""

    STOP = "stop"
    """The model said all it had to say, or came to a stop string."""
    TOOL_CALLS = "tool_calls"
    """It calls a tool that the caller runs; the answer goes on once the result is in the conversation."""
    TOOL_ROUNDS = "tool_rounds"
    """It calls yet another tool after as many rounds as were allowed; that call was not run."""
    LENGTH = "length"
    """max_tokens or the context's end cut it."""
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True)
class TokenLogprob:
    """A token of a text and the natural logarithm of the chance that the model gave it; top: the likeliest in its
    place, as many as were asked for. The bytes of a delta's tokens, joined, are its text.
    """

    id: int
    logprob: float
    bytes: bytes
    top: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """U+FFFD stands for what is no whole character."""
        return self.bytes.decode("utf-8", "replace")


@dataclass(frozen=True)
class ReasoningDelta:
    """A piece of the analysis; between two analyses of a turn stands a line break of our own, which has no token.

    logprobs, here and below: of the tokens that the text is made of, where they were asked for.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class TextDelta:
    """channel: "final", or "commentary" for a preamble spoken before a call."""

    text: str
    channel: str = "final"
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class ToolCallDelta:
    """More of the arguments of a call that is being made. The whole ToolCall follows, unless the turn is cut here."""

    call_id: str
    name: str
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """A whole call. name: as declared ("get_weather", "python", "browser.search"); arguments: raw text as produced."""

    id: str
    name: str
    arguments: str

    def answer(self, text: str) -> Message:
        """The message that gives the model this call's result."""
        if self.name.partition(".")[0] in BUILTIN_NAMESPACES:
            return Message.tool(self.name, text, Channel.ANALYSIS)
        return Message.tool(f"{FUNCTIONS}.{self.name}", text)


@dataclass(frozen=True)
class ToolResult:
    call_id: str
    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True)
class Repair:
    """The model's tokens deviated from harmony and were made sense of. at: index of the token in Done.ids."""

    kind: str
    at: int


@dataclass(frozen=True)
class Usage:
    """Tokens of a turn. prompt: what the model was given, tools' results included, each token once; completion: what it
    produced, len(Done.ids). Together they fill the context. reasoning: the part of completion that is messages on the
    analysis channel, headers and ends included. cached: the part of prompt that was not computed anew.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Done:
    """The end of a turn. messages: what the model and the tools added. ids: every id the model produced.

    is_reasoning_cut: the reasoning was closed for the model, for it took all of its budget, to the last token too, or,
    then is_reasoning_loop too, went round in circles. stop: the stop string that ended the text; it is not shown,
    nor in messages, and ids go on to the token that completed it.
    """

    finish_reason: FinishReason
    usage: Usage
    messages: tuple[Message, ...]
    ids: tuple[int, ...]
    is_reasoning_cut: bool = False
    is_reasoning_loop: bool = False
    stop: str | None = None


Event = ReasoningDelta | TextDelta | ToolCallDelta | ToolCall | ToolResult | Repair | Done


def joined(one: object, other: object) -> Event | None:
    """Two pieces of the same text as one; None where they are anything else, or one is the line break between two
    analyses, which readers may leave out.
    """
    match one, other:
        case ReasoningDelta(), ReasoningDelta() if "\n" not in (one.text, other.text):
            return ReasoningDelta(one.text + other.text, one.logprobs + other.logprobs)
        case TextDelta(), TextDelta() if one.channel == other.channel:
            return TextDelta(one.text + other.text, one.channel, one.logprobs + other.logprobs)
        case ToolCallDelta(), ToolCallDelta() if one.call_id == other.call_id:
            return ToolCallDelta(one.call_id, one.name, one.text + other.text, one.logprobs + other.logprobs)
    return None
