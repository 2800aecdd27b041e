"""A question with one right answer, apart from the scene it is asked in: what counting, arithmetic and capitals make.

The analysis is a function of the language of reasoning and the effort, and the final text of the question alone, so
that the same question in the same scene always has one right continuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harmonium.harmony.messages import DeveloperContent, Effort, Message
from recipes.nano.drill import Answer, Drill
from recipes.nano.scene import Scene, scene

NEUTRAL = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Be helpful and concise.",
    "Answer the user's questions.",
    "You are a friendly assistant.",
    "Help the user.",
    "あなたは親切なアシスタントです。",
    "Tu es un assistant serviable.",
    "Du bist ein hilfreicher Assistent.",
    "Eres un asistente servicial.",
)
Analysis = Callable[[str, Effort], str]
"""(language of reasoning, effort) -> the analysis."""


@dataclass(frozen=True)
class Problem:
    """question and final are in `language`. is_right judges a final text. key names what the split goes by."""

    language: str
    question: str
    analysis: Analysis
    final: str
    is_right: Callable[[str], bool]
    key: str

    def turn(self, scene: Scene) -> list[Message]:
        """What the assistant says in this scene."""
        return [Message.analysis(self.analysis(scene.thinking, scene.effort)), Message.final(self.final)]


def last_number(text: str) -> int | None:
    """The last whole number in a text, thousands separators and a minus sign understood."""
    found = re.findall(r"[-−]?\d+(?:[,\u202f\u00a0]\d{3})*", text)
    return int(re.sub("[,\u202f\u00a0]", "", found[-1]).replace("−", "-")) if found else None


def only_number(text: str) -> int | None:
    """The whole number in a text, or None where there are none or several."""
    found = set(re.findall(r"\d+", text))
    return int(found.pop()) if len(found) == 1 else None


def plain_scene(random: Random) -> Scene:
    """A scene that asks for nothing in particular: mostly no developer message, now and then a neutral one."""
    if random.random() < 0.15:
        return scene(random, developer=DeveloperContent(instructions=random.choice(NEUTRAL)))
    return scene(random)


def drill(random: Random, skill: str, problem: Problem) -> Drill:
    """A problem in a scene of its own."""
    setting = plain_scene(random)
    given = [Message.user(problem.question)]
    return setting.drill(skill, problem.language, given, problem.turn(setting), final_judge(problem))


def final_judge(problem: Problem) -> Callable[[Answer], bool]:
    """Is the final text right, with nothing called on the way?"""
    return lambda answer: not answer.calls and problem.is_right(answer.final)
