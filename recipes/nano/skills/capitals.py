"""Capitals of countries, in both directions and five languages.

The facts are to be known, so all of them are trained in every language; held out are combinations of country, language
and wording.
"""

from __future__ import annotations

from functools import partial
from random import Random

from harmonium.harmony.messages import Effort
from recipes.nano.countries import COUNTRIES, Country, aliases, of_country, without_article
from recipes.nano.drill import Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, hurried, pick_language, plain_key, roughen
from recipes.nano.skills import problem as problems
from recipes.nano.skills.problem import Analysis, Problem
from recipes.nano.words import is_held_out

_CAPITAL_OF = {
    # of: the country after "capital"; name: the country; bare: without its article.
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
        "What is the capital city {of}?",
        "What is {name}'s capital?",
        "capital {of}",
        "capital {of}?",
        "capital city {of}",
        "whats the capital {of}",
        "what is the capital {of}",
        "{bare} capital",
        "capital {bare}",
        "the capital {of}?",
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
        "{name}の首都",
        "{name} 首都",
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
        "c'est quoi la capitale {of}",
        "capitale {of}",
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
        "hauptstadt {of}",
        "was ist die hauptstadt {of}",
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
        "capital {of}",
        "cual es la capital {of}",
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
_IS_IT = {
    "en": (
        "Is {claim} the capital {of}?",
        "Is the capital {of} {claim}?",
        "{claim} is the capital {of}, right?",
        "Is it true that {claim} is the capital {of}?",
        "is {claim} capital {of}",
    ),
    "ja": (
        "{name}の首都は{claim}ですか?",
        "{claim}は{name}の首都ですか?",
        "{name}の首都は{claim}ですよね?",
    ),
    "fr": (
        "{claim} est-elle la capitale {of} ?",
        "Est-ce que {claim} est la capitale {of} ?",
        "{claim} est bien la capitale {of} ?",
    ),
    "de": (
        "Ist {claim} die Hauptstadt {of}?",
        "Ist die Hauptstadt {of} {claim}?",
        "{claim} ist die Hauptstadt {of}, oder?",
    ),
    "es": (
        "¿Es {claim} la capital {of}?",
        "¿La capital {of} es {claim}?",
        "{claim} es la capital {of}, ¿verdad?",
    ),
}
_VERDICT = {
    # Of the analysis; then how an answer begins.
    "en": (" Asked: {claim}, so no.", " Asked: {claim}, so yes."),
    "ja": ("質問は{claim}、よっていいえ。", "質問は{claim}、よってはい。"),
    "fr": (" Demandé : {claim}, donc non.", " Demandé : {claim}, donc oui."),
    "de": (" Gefragt: {claim}, also nein.", " Gefragt: {claim}, also ja."),
    "es": (" Preguntado: {claim}, así que no.", " Preguntado: {claim}, así que sí."),
}
_YES = {"en": ("No", "Yes"), "ja": ("いいえ", "はい"), "fr": ("Non", "Oui"), "de": ("Nein", "Ja"), "es": ("No", "Sí")}
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


def _called(random: Random, country: Country, language: str) -> str:
    """The country as somebody calls it: mostly by its name."""
    others = aliases(country.names[language], language)
    return random.choice(others) if others and random.random() < 0.5 else country.names[language]


def capital_questions(random: Random, name: str, language: str) -> str:
    """One way to ask for the capital of a country that is called so."""
    of, bare = of_country(name, language), without_article(name, language)
    return random.choice(_CAPITAL_OF[language]).format(of=of, name=name, bare=bare)


def _typed(random: Random, plain: str, language: str, held_out: bool) -> str | None:
    """The question as it is typed, or None where it is on the other side of the split."""
    if (is_held_out(plain_key(plain)) or plain in FIRST_QUESTIONS) != held_out:
        return None
    typed = hurried(random, roughen(random, plain, language), language)
    return None if typed in FIRST_QUESTIONS and not held_out else typed


def capital_problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """A country whose capital is asked for."""
    question = None
    while question is None:
        country = random.choice(COUNTRIES)
        plain = capital_questions(random, _called(random, country, language), language)
        question = _typed(random, plain, language, held_out)
    names = _names(country, language)
    return _problem(language, question, partial(analysis, country, 0), names, 0, plain)


def _country_problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """A capital whose country is asked for."""
    question = None
    while question is None:
        country = random.choice(COUNTRIES)
        names = _names(country, language)
        plain = random.choice(_COUNTRY_OF[language]).format(**names)
        question = _typed(random, plain, language, held_out)
    return _problem(language, question, partial(analysis, country, 1), names, 1, plain)


def _problem(
    language: str, question: str, analysis: Analysis, names: dict[str, str], backwards: int, plain: str
) -> Problem:
    asked_for, told = (names["of"], names["city"]) if backwards else (names["city"], names["of"])
    n_mentions = 2 if asked_for in told else 1
    final = _FINAL[language][backwards].format(**names)
    return Problem(language, question, analysis, final, lambda text: text.count(asked_for) >= n_mentions, plain)


def _verdict(country: Country, claimed: Country, thinking: str, effort: Effort) -> str:
    """The fact, then whether it is what was asked."""
    claim = claimed.capitals[thinking]
    return analysis(country, 0, thinking, effort) + _VERDICT[thinking][country is claimed].format(claim=claim)


def _claim_problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """Is this city the capital of that country? As often as not it is another's."""
    question = None
    while question is None:
        country = random.choice(COUNTRIES)
        claimed = country if random.random() < 0.5 else random.choice(COUNTRIES)
        name = _called(random, country, language)
        fields = {"name": name, "of": of_country(name, language), "claim": claimed.capitals[language]}
        plain = random.choice(_IS_IT[language]).format(**fields)
        question = _typed(random, plain, language, held_out)
    begins, names = _YES[language][country is claimed], _names(country, language)
    fact = _FINAL[language][0].format(**names)
    n_mentions = 2 if names["city"] in names["of"] else 1
    stop = "。" if language == "ja" else ". "
    return Problem(
        language,
        question,
        partial(_verdict, country, claimed),
        f"{begins}{stop}{fact}",
        lambda text: text.startswith(begins) and text.count(names["city"]) >= n_mentions,
        plain,
    )


_KINDS = (capital_problem, _country_problem, _claim_problem)


def problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """A capital, or the country that it belongs to, or whether a city is one."""
    (make,) = random.choices(_KINDS, (66, 18, 16))
    return make(random, language, held_out=held_out)


def capitals(random: Random, *, held_out: bool) -> Drill:
    """What is the capital of a country, which country has that capital, or is this its capital."""
    return problems.drill(random, "capitals", problem(random, pick_language(random), held_out=held_out))


SKILLS: dict[str, Skill] = {"capitals": capitals}
