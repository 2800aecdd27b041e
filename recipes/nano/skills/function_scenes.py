"""The scene of a drill with functions: which are declared, what else the developer says, how the question is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

from harmonium.cli.demo_functions import get_current_weather, get_price
from harmonium.harmony.messages import DeveloperContent
from harmonium.harmony.signature import tool_spec
from recipes.nano.scene import FIRST_QUESTIONS, Scene, casual, roughen, scene
from recipes.nano.skills.function_inventions import invent
from recipes.nano.skills.function_library import FAMILIES, Family, Function, Request, declare
from recipes.nano.skills.function_words import SHORT_CITIES
from recipes.nano.words import is_held_out, person_name

_ALL = tuple(FAMILIES.values())
_OF_TOPIC = {topic: [family for family in _ALL if family.topic == topic] for topic in {f.topic for f in _ALL}}
_INSTRUCTIONS = (
    "You are a helpful assistant.",
    "Use the functions when they help.",
    "Answer in a friendly way.",
    "Be brief.",
    "Use a friendly tone.",
    "Call a function only when it is needed.",
    "You help customers of a shop.",
    "You are an assistant with tools.",
    "Always be polite.",
    "Use a friendly tone. Answer in short sentences.",
    "You are {name}, a helpful assistant.",
    "You work for {name} and help with everyday tasks.",
    "The user is called {name}.",
    "Do not guess: use the tools.",
    "You have access to the following tools. Use them when you need them.",
    "Never invent a function.",
)
_DEMO_TOPICS = frozenset({"weather", "shop"})
_ASKED_FIRST = FIRST_QUESTIONS | {"What's the weather in Paris right now?", "What is the weather in Paris right now?"}


def pick_language(random: Random) -> str:
    """Mostly English."""
    return "en" if random.random() < 0.72 else random.choice(("fr", "de", "es", "ja"))


def open_scene(random: Random, tools: Sequence[Function], instructions: str | None = None) -> Scene:
    """System and developer messages with the tools, and now and then instructions that change no answer."""
    if instructions is None and random.random() < 0.2:
        instructions = random.choice(_INSTRUCTIONS).format(name=person_name(random))
    return scene(random, developer=DeveloperContent(instructions, tuple(tool.spec for tool in tools)))


@cache
def demo() -> tuple[Function, Function]:
    """The functions of `--tools demo`, to the letter: the weather in a city and the price of a product."""
    return (
        Function(FAMILIES["weather.now"], tool_spec(get_current_weather), {"location": "city"}),
        Function(FAMILIES["shop.price"], tool_spec(get_price), {"product": "product"}),
    )


def _siblings(random: Random, family: Family) -> tuple[Family, ...]:
    """What is often declared beside a function: another one of its topic, and for the weather where the user is."""
    found = []
    others = [other for other in _OF_TOPIC.get(family.topic, ()) if other is not family]
    if others and random.random() < 0.3:
        found.append(random.choice(others))
    if family.topic == "weather" and random.random() < 0.3:
        found.append(FAMILIES["location"])
    return tuple(found)


def toolbox(
    random: Random, used: Sequence[Function], *, held_out: bool, avoid: frozenset[str] = frozenset()
) -> list[Function]:
    """The used functions among others, at most four in all, in any order. The others are of other topics, but that a
    single one may stand beside its siblings; now and then they are those of `--tools demo`."""
    luck = random.random()
    if (len(used) == 1 and used[0] in demo() and luck < 0.7) or (not used and luck < 0.1 and not avoid & _DEMO_TOPICS):
        return random.sample(demo(), 2)
    tools = list(used)
    n_tools = max(len(tools), random.choice((1, 2, 2, 3, 3, 4)))
    wanted = _siblings(random, used[0].family) if len(used) == 1 else ()
    for family in wanted:
        _add(tools, declare(random, family, held_out=held_out))
    topics = {function.family.topic for function in tools} | avoid
    while len(tools) < n_tools:
        is_invented = random.random() < 0.2
        if is_invented:
            other = invent(random, held_out=held_out)
        else:
            other = declare(random, random.choice(_ALL), held_out=held_out)
        if other.family.topic not in topics and _add(tools, other):
            topics.add(other.family.topic)
    random.shuffle(tools)
    return tools


def _add(tools: list[Function], other: Function) -> bool:
    """Append it unless its name is taken."""
    is_new = all(tool.spec.name != other.spec.name for tool in tools)
    if is_new:
        tools.append(other)
    return is_new


def as_typed(random: Random, question: str, said: Sequence[str], language: str) -> str:
    """The question as people type it, unless that would change a value in it."""
    typed = roughen(random, question, language)
    return typed if all(text in typed for text in said) else question


def hasty(request: Request, language: str) -> Request:
    """The request as it is typed in haste, its values copied as they are typed; unchanged where that cannot be."""
    about, said, changed = request.subject, tuple(text.lower() for text in request.said), dict(request.arguments)
    properties = (request.function.spec.parameters or {}).get("properties", {})
    for name, value in request.arguments.items():
        if not isinstance(value, str) or "enum" in properties[name] or value in SHORT_CITIES.values():
            continue
        if not any(value in text for text in request.said):
            return request
        changed[name] = value.lower()
        about = about.replace(value, value.lower())
    question = casual(request.question, language)
    if any(isinstance(value, list) for value in changed.values()) or not all(text in question for text in said):
        return request
    return replace(request, question=question, arguments=changed, subject=about, said=said)


def is_on_side(question: str, functions: Sequence[Function], held_out: bool) -> bool:
    """Questions are split together with the functions they call; those that people ask first are never trained."""
    names = " ".join(function.spec.name for function in functions)
    return question not in _ASKED_FIRST and is_held_out(f"{question} {names}") == held_out
