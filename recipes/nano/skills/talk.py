"""Small talk (greetings, thanks, who are you, what can you do, goodbyes), and the honest answer to everything else.

Both answer with one fixed text per kind and language, in the language of the question, and call no tool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from harmonium.harmony.messages import Effort, Message
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, KNOWN_BY_HEART, in_small, pick_language, roughen, scene
from recipes.nano.skills.beyond import beyond, fallback_analysis, fallback_reply
from recipes.nano.skills.problem import plain_scene
from recipes.nano.wordings import load
from recipes.nano.words import is_held_out

_WORDS = load("talk")
_KINDS = ("greeting", "thanks", "who", "skills", "feeling", "farewell", "maker", "languages", "okay", "joke")
_SHORT = ("greeting", "thanks", "farewell", "okay")
"""Kinds that no "Hello, " is put before and no "Thanks!" after."""


@cache
def _sayings(language: str) -> tuple[tuple[str, str], ...]:
    """(kind, what people say); kinds weigh by how many ways there are to say them."""
    return tuple((kind, text) for kind in _KINDS for text in _WORDS[kind][language])


def _typed(random: Random, kind: str, text: str, language: str) -> str:
    """A saying as somebody types it."""
    if kind not in _SHORT:
        typed = roughen(random, text, language)
        return in_small(typed) if language != "ja" and random.random() < 0.3 else typed
    bare = text.rstrip("!.。 ")
    forms = (text, text, bare, f"{bare}!", f"{bare}。" if language == "ja" else f"{bare}.", bare.lower(), bare.upper())
    return random.choice(forms)


def small_talk(random: Random, language: str, *, held_out: bool) -> tuple[str, str]:
    """A kind of small talk and what the user says.

    Held out is the very string: what a greeting means cannot be known from other greetings. The commonest are never.
    """
    while True:
        kind, text = random.choice(_sayings(language))
        said = _typed(random, kind, text, language)
        if (is_held_out(said) and in_small(said) not in KNOWN_BY_HEART) == held_out:
            return kind, said


def talk_analysis(kind: str, thinking: str, effort: Effort) -> str:
    """The analysis of small talk."""
    thought = _WORDS[f"{kind}: thought"][thinking][0]
    if effort is Effort.LOW:
        return thought
    return thought + ("" if thinking == "ja" else " ") + _WORDS[effort][thinking][0]


def talk_reply(kind: str, language: str) -> str:
    """The answer to small talk."""
    return _WORDS[f"{kind}: reply"][language][0]


def is_exactly(text: str) -> Callable[[Answer], bool]:
    """A judge that wants this final text and no call."""

    def judge(given: Answer) -> bool:
        return given.final.strip() == text and not given.calls

    return judge


def _builtin_tools(random: Random) -> tuple[str, ...]:
    return ("python",) if random.random() < 0.05 else ()


def talk(random: Random, *, held_out: bool) -> Drill:
    """A greeting, a question about nano itself, thanks or a goodbye."""
    language = pick_language(random)
    kind, said = small_talk(random, language, held_out=held_out)
    tools = ("browser",) if random.random() < 0.03 else _builtin_tools(random)
    place = scene(random, builtin_tools=tools) if tools else plain_scene(random)
    reply = talk_reply(kind, language)
    learned = [Message.analysis(talk_analysis(kind, place.thinking, place.effort)), Message.final(reply)]
    return place.drill("talk", language, [Message.user(said)], learned, is_exactly(reply))


def fallback(random: Random, *, held_out: bool) -> Drill:
    """A question beyond nano: an honest answer in its language."""
    language = pick_language(random)
    while True:
        question = beyond(random, language, held_out=held_out)
        if question not in FIRST_QUESTIONS:
            break
    place = plain_scene(random)
    reply = fallback_reply(language)
    learned = [Message.analysis(fallback_analysis(place.thinking, place.effort)), Message.final(reply)]
    return place.drill("fallback", language, [Message.user(question)], learned, is_exactly(reply))


SKILLS: dict[str, Skill] = {"talk": talk, "fallback": fallback}
