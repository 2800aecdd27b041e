"""Capitals of countries, in both directions and five languages.

The facts are to be known, so all of them are trained in every language; held out are combinations of country, language
and wording.
"""

from __future__ import annotations

from functools import partial
from random import Random

from harmonium.harmony.messages import Effort
from recipes.nano.countries import COUNTRIES, Country, of_country
from recipes.nano.drill import Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, pick_language, roughen
from recipes.nano.skills import problem as problems
from recipes.nano.skills.problem import Problem
from recipes.nano.words import is_held_out

_CAPITAL_OF = {
    # of: the country after "capital"; name: the bare country.
    "en": (
        "What is the capital {of}?",
        "What is the capital {of}?",
        "What's the capital {of}?",
        "What's the capital city {of}?",
        "Which city is the capital {of}?",
        "Name the capital {of}.",
        "Tell me the capital {of}.",
        "The capital {of} is which city?",
        "Capital {of}?",
        "Do you know the capital {of}?",
        "What city is the capital {of}?",
        "I would like to know the capital {of}.",
        "{name}: what is its capital?",
    ),
    "ja": (
        "{name}の首都は何ですか?",
        "{name}の首都はどこですか?",
        "{name}の首都は?",
        "{name}の首都を教えてください。",
        "{name}の首都の名前は何ですか?",
        "{name}の首都はどの都市ですか?",
        "{name}の首都はどこ?",
        "{name}の首都を答えてください。",
        "{name}の首都を知っていますか?",
    ),
    "fr": (
        "Quelle est la capitale {of}?",
        "Quelle est la capitale {of} ?",
        "Quelle ville est la capitale {of} ?",
        "Donne-moi la capitale {of}.",
        "Dis-moi quelle est la capitale {of}.",
        "La capitale {of}, c'est quelle ville ?",
        "Comment s'appelle la capitale {of} ?",
        "Connais-tu la capitale {of} ?",
        "Capitale {of} ?",
        "J'aimerais connaître la capitale {of}.",
    ),
    "de": (
        "Was ist die Hauptstadt {of}?",
        "Wie heißt die Hauptstadt {of}?",
        "Welche Stadt ist die Hauptstadt {of}?",
        "Nenne die Hauptstadt {of}.",
        "Nenne mir die Hauptstadt {of}.",
        "Sag mir, wie die Hauptstadt {of} heißt.",
        "Hauptstadt {of}?",
        "Kennst du die Hauptstadt {of}?",
        "Ich möchte die Hauptstadt {of} wissen.",
    ),
    "es": (
        "¿Cuál es la capital {of}?",
        "¿Cuál es la capital {of}?",
        "¿Qué ciudad es la capital {of}?",
        "Dime la capital {of}.",
        "Dime cuál es la capital {of}.",
        "¿Cómo se llama la capital {of}?",
        "¿Sabes cuál es la capital {of}?",
        "¿Capital {of}?",
        "Me gustaría saber la capital {of}.",
    ),
}
_COUNTRY_OF = {
    "en": (
        "Which country has {city} as its capital?",
        "{city} is the capital of which country?",
        "What country's capital is {city}?",
        "Of which country is {city} the capital?",
    ),
    "ja": ("{city}はどの国の首都ですか?", "{city}はどこの国の首都ですか?", "首都が{city}の国はどこですか?"),
    "fr": (
        "De quel pays {city} est la capitale ?",
        "{city} est la capitale de quel pays ?",
        "Quel pays a pour capitale {city} ?",
    ),
    "de": (
        "Welches Land hat {city} als Hauptstadt?",
        "{city} ist die Hauptstadt von welchem Land?",
        "Von welchem Land ist {city} die Hauptstadt?",
    ),
    "es": (
        "¿De qué país es {city} la capital?",
        "¿{city} es la capital de qué país?",
        "¿Qué país tiene como capital {city}?",
    ),
}
_LOW = {
    "en": ("The capital: {city}.", "The country: {name}."),
    "ja": ("首都: {city}。", "国: {name}。"),
    "fr": ("La capitale : {city}.", "Le pays : {name}."),
    "de": ("Die Hauptstadt: {city}.", "Das Land: {name}."),
    "es": ("La capital es {city}.", "El país: {name}."),
}
_MEDIUM = {
    "en": ("The country is {name}. Its capital is {city}.", "The capital is {city}. Its country is {name}."),
    "ja": ("国は{name}。首都は{city}。", "首都は{city}。国は{name}。"),
    "fr": ("Le pays est {name}. Sa capitale est {city}.", "La capitale est {city}. Son pays est {name}."),
    "de": ("Das Land ist {name}. Die Hauptstadt ist {city}.", "Die Hauptstadt ist {city}. Das Land ist {name}."),
    "es": ("El país es {name}. Su capital es {city}.", "La capital es {city}. Su país es {name}."),
}
_CHECK = {
    "en": " Check: {city} is the capital {of}. That is right.",
    "ja": "確認: {city}は{of}の首都。正しい。",
    "fr": " Vérification : {city} est la capitale {of}. C'est juste.",
    "de": " Probe: {city} ist die Hauptstadt {of}. Das stimmt.",
    "es": " Comprobación: {city} es la capital {of}. Es correcto.",
}
_FINAL = {
    "en": ("The capital {of} is {city}.", "{city} is the capital {of}."),
    "ja": ("{of}の首都は{city}です。", "{city}は{of}の首都です。"),
    "fr": ("La capitale {of} est {city}.", "{city} est la capitale {of}."),
    "de": ("Die Hauptstadt {of} ist {city}.", "{city} ist die Hauptstadt {of}."),
    "es": ("La capital {of} es {city}.", "{city} es la capital {of}."),
}


def _names(country: Country, language: str) -> dict[str, str]:
    """What the templates name: the country, bare and after "capital", and the city."""
    name = country.names[language]
    return {"name": name, "of": of_country(name, language), "city": country.capitals[language]}


def analysis(country: Country, backwards: int, thinking: str, effort: Effort) -> str:
    """Low names the fact, medium the country and its capital, high says it again the other way round."""
    names = _names(country, thinking)
    if effort is Effort.LOW:
        return _LOW[thinking][backwards].format(**names)
    known = _MEDIUM[thinking][backwards].format(**names)
    return known + _CHECK[thinking].format(**names) if effort is Effort.HIGH else known


def problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """A country whose capital is asked for, or in one case of five the other way round."""
    while True:
        country = random.choice(COUNTRIES)
        backwards = int(random.random() < 0.2)
        wording = random.choice((_COUNTRY_OF if backwards else _CAPITAL_OF)[language])
        names = _names(country, language)
        plain = wording.format(**names)
        if (is_held_out(plain.rstrip(" ?.")) or plain in FIRST_QUESTIONS) == held_out:
            break
    asked_for, told = (names["of"], names["city"]) if backwards else (names["city"], names["of"])
    n_mentions = 2 if asked_for in told else 1
    return Problem(
        language,
        roughen(random, plain, language),
        partial(analysis, country, backwards),
        _FINAL[language][backwards].format(**names),
        lambda text: text.count(asked_for) >= n_mentions,
        plain,
    )


def capitals(random: Random, *, held_out: bool) -> Drill:
    """What is the capital of a country, or which country has that capital."""
    return problems.drill(random, "capitals", problem(random, pick_language(random), held_out=held_out))


SKILLS: dict[str, Skill] = {"capitals": capitals}
