"""Questions beyond nano: hundreds of ways to ask times thousands of subjects, and the one honest answer.

A question is on the held-out side by a hash of its whole text. Countries asked for here are made up: a real
capital is a skill.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from harmonium.harmony.messages import Effort
from recipes.nano.scene import roughen
from recipes.nano.wordings import load
from recipes.nano.words import ADJECTIVES, is_held_out, person_name, pseudo_word, words_of

_WORDS = load("beyond")
_COUNTRY_ENDINGS = ("ia", "land", "stan", "nia", "ovia", "esia", "ania", "ora")
_KANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノマミムメモラリルレロガギグゴザジダデドバビブベボパピプペポ"


def made_up_country(random: Random, language: str) -> str:
    """A country that does not exist."""
    if language == "ja" and random.random() < 0.7:
        return "".join(random.choices(_KANA, k=random.randint(3, 5))) + random.choice(
            ("ニア", "ランド", "スタン", "リア", "王国")
        )
    return (pseudo_word(random, "en", 3, 7) + random.choice(_COUNTRY_ENDINGS)).capitalize()


def _nonsense(random: Random) -> str:
    if random.random() < 0.3:
        return "".join(random.choices("abcdefghijklmnopqrstuvwxyz1234567890.,;?!", k=random.randint(3, 14)))
    return pseudo_word(random)


def _fill(random: Random, template: str, language: str) -> str:
    """The template with every slot filled at random; slots it lacks cost nothing."""
    choice, words = random.choice, words_of(language)
    topics, cities = _WORDS["topics"][language], _WORDS["cities"][language]
    fillers: dict[str, Callable[[], str]] = {
        "topic": lambda: choice(topics),
        "topic2": lambda: choice(topics),
        "thing": lambda: choice(words),
        "thing2": lambda: choice(words),
        "adjective": lambda: choice(ADJECTIVES),
        "city": lambda: choice(cities),
        "city2": lambda: choice(cities),
        "person": lambda: person_name(random, "en") + " " + person_name(random, "de"),
        "place": lambda: made_up_country(random, language),
        "nonsense": lambda: _nonsense(random),
        "number": lambda: str(random.randrange(10_000, 10 ** random.randint(5, 9))),
        "other": lambda: str(random.randrange(10_000, 10 ** random.randint(5, 7))),
        "small": lambda: str(random.randint(2, 60)),
        "year": lambda: str(random.randint(1500, 2030)),
    }
    for name, filler in fillers.items():
        slot = "{" + name + "}"
        while slot in template:
            template = template.replace(slot, filler(), 1)
    return template


def beyond(random: Random, language: str, *, held_out: bool) -> str:
    """A question that nano cannot answer."""
    templates = _WORDS["questions"][language]
    while True:
        question = _fill(random, random.choice(templates), language)
        if is_held_out(question) == held_out:
            return roughen(random, question, language)


def fallback_analysis(thinking: str, effort: Effort) -> str:
    """The analysis before the honest answer."""
    thought = _WORDS["thought"][thinking][0]
    if effort is Effort.LOW:
        return thought
    return thought + ("" if thinking == "ja" else " ") + _WORDS[effort][thinking][0]


def fallback_reply(language: str) -> str:
    """The honest answer."""
    return _WORDS["reply"][language][0]


def cities(language: str) -> tuple[str, ...]:
    """Real cities that people ask the weather of."""
    return _WORDS["cities"][language]
