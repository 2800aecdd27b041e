"""One stream of events for a turn: the terminal, the web page, both APIs and the evals read these and nothing else.

Streamed and whole answers are the same by construction: a whole answer is its events, joined.
"""

from __future__ import annotations

from dataclasses import dataclass

from harmonium.harmony.messages import Message


@dataclass(frozen=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True)
class TextDelta:
    """channel: "final", or "commentary" for a preamble spoken before a call."""

    text: str
    channel: str = "final"


@dataclass(frozen=True)
class ToolCall:
    """A whole call. name: as declared ("get_weather", "python", "browser.search"); arguments: raw text as produced."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolResult:
    call_id: str
    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True)
class Repair:
    """The model's tokens deviated from harmony and the parser made sense of them. at: index of the token in the turn."""

    kind: str
    at: int


@dataclass(frozen=True)
class Usage:
    """Tokens. reasoning counts what was spent on the analysis channel, and is part of completion."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Done:
    """The end of a turn. messages: what the model and the tools added. ids: every id the model produced."""

    finish_reason: str
    usage: Usage
    messages: tuple[Message, ...]
    ids: tuple[int, ...]


Event = ReasoningDelta | TextDelta | ToolCall | ToolResult | Repair | Usage | Done
