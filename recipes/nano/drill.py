"""One drill of the curriculum: a whole conversation as it should go, and how an answer to it is judged.

Training renders `conversation` and learns every message the assistant says after `n_given`. Evaluation gives the model
the first `n_given` messages and lets it speak; each time it calls a tool, the call must match the conversation's, and
the conversation's next tool message is the oracle's answer; then `judge` reads the final text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from harmonium.harmony.messages import Conversation


@dataclass(frozen=True)
class Answer:
    """What evaluation saw: the analysis and final texts of the turn and its calls (recipient, arguments)."""

    analysis: str
    final: str
    calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Drill:
    """skill: the name its accuracy is reported under. n_given: messages given before the model speaks.

    Assistant messages among the given, in earlier turns, are context and not learned. judge: is this answer right? It
    sees the last turn whole; calls are compared exactly by the evaluation itself before judge is asked.
    """

    skill: str
    language: str
    conversation: Conversation
    n_given: int
    judge: Callable[[Answer], bool]


class Skill(Protocol):
    """A family of drills. held_out chooses which side of the split, disjoint by construction (by word, by operands,
    by name), the drill is drawn from."""

    def __call__(self, random: Random, *, held_out: bool) -> Drill: ...
