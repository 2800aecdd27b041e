"""Questions of other skills taken apart: the answer alone, the sentence in every language, what a riddle needs.

Skills that reshape an answer or continue a conversation build on these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from harmonium.harmony.messages import Effort, Message
from recipes.nano.countries import COUNTRIES, Country, of_country
from recipes.nano.drill import Answer, Drill
from recipes.nano.scene import FIRST_QUESTIONS, roughen, scene
from recipes.nano.skills import arithmetic, capitals, counting
from recipes.nano.skills.beyond import beyond, cities, fallback_analysis, fallback_reply
from recipes.nano.skills.problem import Analysis, last_number
from recipes.nano.wordings import load
from recipes.nano.words import LANGUAGES, is_held_out

_WORDS = load("instructions")


@dataclass(frozen=True)
class Base:
    """kind: "capital", "number", "letter", "beyond" or "weather". finals: the sentence that answers, by language; only
    the question's own where others were not made. answer: its heart alone. slots: what riddles and JSON are made of.
    """

    kind: str
    language: str
    question: str
    analysis: Analysis
    finals: dict[str, str]
    answer: str
    slots: dict[str, str]
    is_held_out: bool

    @property
    def final(self) -> str:
        return self.finals[self.language]

    def is_told(self, text: str, expected: str) -> bool:
        """Whether a final text tells the answer; where that is not known, whether it is the expected text."""
        if self.kind in ("beyond", "weather"):
            return text == expected
        if self.kind in ("number", "letter"):
            return last_number(text) == int(self.answer)
        return any(name.casefold() in text.casefold() for name in self.slots["cities"].split("|"))


def _country_of(final: str, language: str) -> Country:
    """The country whose capital an answer tells."""
    return next(
        country
        for country in COUNTRIES
        if country.capitals[language] in final and of_country(country.names[language], language) in final
    )


def capital_base(random: Random, language: str, *, held_out: bool) -> Base:
    """What is the capital of a country?"""
    problem = capitals.capital_problem(random, language, held_out=held_out)
    country = _country_of(problem.final, language)
    finals = {
        name: _WORDS["capital reply"][name][0].format(
            of=of_country(country.names[name], name), city=country.capitals[name]
        )
        for name in LANGUAGES
    }
    city = country.capitals[language]
    slots = {
        "country": country.names[language],
        "of": of_country(country.names[language], language),
        "city": city,
        "cities": "|".join(country.capitals.values()),
    }
    return Base("capital", language, problem.question, problem.analysis, finals, city, slots, held_out)


def sum_base(random: Random, language: str, *, held_out: bool) -> Base:
    """What does a short expression come to?"""
    while True:
        problem = arithmetic.whole_problem(random, language, held_out=held_out)
        expression, _, result = problem.final.rpartition(" = ")
        if len(expression) <= 8:
            break
    finals = dict.fromkeys(LANGUAGES, problem.final)
    slots = {"e": expression, "n": result}
    return Base("number", language, problem.question, problem.analysis, finals, result, slots, held_out)


def letter_base(random: Random, language: str, *, held_out: bool) -> Base:
    """How often is a letter in a short word?"""
    while True:
        problem = counting.problem(random, language, held_out=held_out)
        word, _, letter = problem.key.rpartition(" ")
        if len(letter) == 1 and len(word) <= 9:
            break
    (number,) = re.findall(r"\d+", problem.final)
    slots = {"w": word, "l": letter, "n": number}
    return Base(
        "letter", language, problem.question, problem.analysis, {language: problem.final}, number, slots, held_out
    )


def beyond_base(random: Random, language: str, *, held_out: bool) -> Base:
    """A question that nano cannot answer."""
    question = beyond(random, language, held_out=held_out)
    while question in FIRST_QUESTIONS:
        question = beyond(random, language, held_out=held_out)
    finals = {name: fallback_reply(name) for name in LANGUAGES}
    return Base("beyond", language, question, fallback_analysis, finals, _WORDS["unknown"][language][0], {}, held_out)


def _weather_analysis(thinking: str, effort: Effort) -> str:
    cannot = _WORDS["weather thought"][thinking][0]
    if effort is Effort.LOW:
        return cannot
    space = "" if thinking == "ja" else " "
    return f"{cannot}{space}{fallback_analysis(thinking, effort)}" if effort is Effort.HIGH else cannot


def weather_base(random: Random, language: str, *, held_out: bool) -> Base:
    """A question for the weather, with nothing to see it by."""
    while True:
        question = random.choice(_WORDS["weather"][language]).format(city=random.choice(cities(language)))
        if (is_held_out(question) or question in FIRST_QUESTIONS) == held_out:
            break
    finals = {name: fallback_reply(name) for name in LANGUAGES}
    answer = _WORDS["unknown"][language][0]
    return Base(
        "weather", language, roughen(random, question, language), _weather_analysis, finals, answer, {}, held_out
    )


def uncalled(random: Random, skill: str, language: str, builtin_tools: tuple[str, ...], *, held_out: bool) -> Drill:
    """A question answered from the head although builtin tools stand ready."""
    base = random.choice((capital_base, sum_base, letter_base))(random, language, held_out=held_out)
    place = scene(random, builtin_tools=builtin_tools)
    learned = [Message.analysis(base.analysis(place.thinking, place.effort)), Message.final(base.final)]

    def judge(given: Answer) -> bool:
        return not given.calls and base.is_told(given.final.strip(), base.final)

    return place.drill(skill, language, [Message.user(base.question)], learned, judge)
