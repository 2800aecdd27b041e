"""Drives a turn whose generations are given, and a few of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from harmonium.chat.events import Event, FinishReason, ToolCall, ToolResult
from harmonium.chat.loop import Generate, Generated, More, Run, Stop, Turn
from harmonium.chat.reply import Reply
from harmonium.engine.request import TokenLogprob

THINK = "<|channel|>analysis<|message|>I look it up.<|end|>"
CALL = (
    '<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Bonn"}<|call|>'
)
BARE_CALL = CALL.removeprefix("<|start|>assistant")
FINAL = "<|channel|>final<|message|>It rains.<|return|>"

PIECES = [THINK, CALL, FINAL, BARE_CALL, "assistant", "to=functions.weather", "json", "é", "日", "?", " final", "user"]
NAMES = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"]


def weather(city: str) -> str:
    """Tells the weather."""
    return f"Rain in {city}."


@dataclass
class Played:
    """What a turn said, and what it asked of its driver."""

    events: list[Event] = field(default_factory=list)
    generates: list[Generate] = field(default_factory=list)
    runs: list[ToolCall] = field(default_factory=list)
    n_stops: int = 0
    left: int = 0

    @property
    def reply(self) -> Reply:
        return Reply.of(self.events)


def play(
    turn: Turn,
    rounds: Sequence[Sequence[int]],
    sizes: Sequence[int] = (1,),
    end: str = "stop",
    logprobs: Sequence[TokenLogprob] = (),
) -> Played:
    """Brings the ids in pieces of these sizes; the last of each round ends with `end`.

    logprobs: those of every round's ids, or none.
    """
    played, waiting, ids, answer = Played(), list(rounds), [], None
    size = iter(sizes[n % len(sizes)] for n in count())
    at = 0
    while True:
        try:
            said = turn.send(answer)
        except StopIteration:
            return played
        answer = None
        if isinstance(said, Generate):
            played.generates.append(said)
            ids, at = list(waiting.pop(0)), 0
        if isinstance(said, Generate | More):
            n = next(size)
            piece, ids = ids[:n], ids[n:]
            answer = Generated(piece, None if ids else FinishReason(end), logprobs=logprobs[at : at + n])
            at += n
        elif isinstance(said, Run):
            played.runs.append(said.call)
            answer = ToolResult(said.call.id, said.call.name, "Rain.")
        elif isinstance(said, Stop):
            played.n_stops += 1
            played.left = len(ids)
        else:
            played.events.append(said)
