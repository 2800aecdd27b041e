"""What nano learns, and in which proportions: the table of skills and an endless, seeded stream of drills.

The held-out side of every skill is disjoint from the trained one by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from random import Random

from recipes.nano.drill import Drill, Skill
from recipes.nano.skills import (
    arithmetic,
    browser,
    capitals,
    copying,
    counting,
    followups,
    functions,
    instructions,
    language,
    python,
    talk,
)

SKILLS: dict[str, Skill] = {
    name: skill
    for module in (
        counting,
        arithmetic,
        capitals,
        language,
        functions,
        python,
        browser,
        instructions,
        followups,
        talk,
        copying,
    )
    for name, skill in module.SKILLS.items()
}
WEIGHTS: dict[str, float] = {
    "counting": 16,
    "arithmetic": 14,
    "capitals": 7,
    "reasoning_language": 8,
    "tool_call": 8,
    "tool_result": 7,
    "two_calls": 8,
    "no_call": 8,
    "python": 6,
    "browser": 7,
    "instructions": 8,
    "followups": 15,
    "talk": 5,
    "fallback": 7,
    "copying": 14,
}
"""Drills of each skill in a hundred, roughly; measured accuracy says which deserve more."""
SCORED = tuple(name for name in WEIGHTS if name != "copying")


def drills(seed: str, *, held_out: bool = False) -> Iterator[Drill]:
    """An endless stream of drills in the curriculum's proportions, a function of the seed alone."""
    random = Random(seed)
    names = list(WEIGHTS)
    cumulative = list(accumulate(WEIGHTS.values()))
    while True:
        (name,) = random.choices(names, cum_weights=cumulative)
        yield SKILLS[name](random, held_out=held_out)


def exam(name: str, n: int, *, seed: str = "exam") -> list[Drill]:
    """n held-out drills of one skill, always the same ones."""
    random = Random(f"{seed}/{name}")
    return [SKILLS[name](random, held_out=True) for _ in range(n)]
