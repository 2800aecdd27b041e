"""Questions beyond nano: hundreds of ways to ask times thousands of subjects, and the one honest answer.

A question is on the held-out side by a hash of its whole text. Countries asked for here are made up or not in
countries.py: a capital in there is a skill. What is in no language (keys struck at random, marks, emoji) is answered in
English.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from harmonium.harmony.messages import Effort
from recipes.nano.countries import COUNTRIES
from recipes.nano.scene import FIRST_QUESTIONS, hurried, in_small, plain_key, roughen
from recipes.nano.skills.capitals import capital_questions
from recipes.nano.wordings import load
from recipes.nano.words import ADJECTIVES, KATAKANA, is_held_out, is_rude, person_name, pseudo_word, words_of

_WORDS = load("beyond")
_COUNTRY_ENDINGS = ("ia", "land", "stan", "nia", "ovia", "esia", "ania", "ora")
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertz", "azerty", "1234567890")
_EMOJI = "😀😂😍😊😉😎😢😭😡👍👎🙏👋🎉🔥❤🚀🤔🤖🐶🐱🍓🍌🍎🌞🌧⭐💡📚🎵⚽🏠🚗✅❌💯🙂🤷😴👀"
MARKS = (
    *(
        "?",
        "??",
        "???",
        "!",
        "!!",
        "...",
        "…",
        ".",
        "..",
        ",",
        "-",
        "--",
        "_",
        "/",
        "*",
        "#",
        "?!",
        "!?",
        ":)",
        ":(",
        ";)",
    ),
    *(":D", "<3", "^^", "=", "+", "%", "&", "()", "[]", "{}", "test", "Test", "testing", "test 123", "foo", "foo bar"),
    *("lorem ipsum", "Lorem ipsum dolor sit amet", "blah", "blah blah", "qwerty", "asdf", "asdfasdf", "asdfgh", "aaaa"),
    *(
        "abc",
        "abcdef",
        "xyz",
        "a",
        "b",
        "x",
        "1",
        "0",
        "42",
        "123",
        "1234",
        "12345",
        "what",
        "why",
        "how",
        "who",
        "when",
    ),
    *("where", "what?", "why?", "how?", "who?", "huh", "huh?"),
)
"""Fixed strings, known by heart like small talk: never held out."""
_KANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノマミムメモラリルレロガギグゴザジダデドバビブベボパピプペポ"


@cache
def _known_countries() -> frozenset[str]:
    return frozenset(name for country in COUNTRIES for name in country.names.values())


def made_up_country(random: Random, language: str) -> str:
    """A country that does not exist."""
    if language == "ja" and random.random() < 0.7:
        endings = ("ニア", "ランド", "スタン", "リア", "王国")
        return "".join(random.choices(_KANA, k=random.randint(3, 5))) + random.choice(endings)
    while True:
        name = (pseudo_word(random, "en", 3, 7) + random.choice(_COUNTRY_ENDINGS)).capitalize()
        if name not in _known_countries() and not is_rude(name):
            return name


def _gibberish(random: Random) -> str:
    """What is in no language: keys struck at random, letters, emoji, numbers."""
    chance = random.random()
    if chance < 0.35:
        row = random.choice(_KEY_ROWS)
        start, length = random.randrange(len(row) - 2), random.randint(3, 7)
        return "".join(random.choices(row, k=length)) if random.random() < 0.6 else row[start : start + length]
    if chance < 0.5:
        return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 12)))
    if chance < 0.7:
        return "".join(random.choices(_EMOJI, k=random.choice((1, 1, 1, 2, 3))))
    if chance < 0.8:
        return str(random.randrange(10 ** random.randint(1, 8)))
    word = pseudo_word(random, random.choice(("en", "de", "fr", "es", "ja")))
    return random.choice((word, word, f"{word}?", f"{word} {pseudo_word(random)}", word.capitalize(), word.upper()))


@cache
def _lone_words(language: str) -> tuple[str, ...]:
    """Words of a language that can be told from English and are no small talk."""
    talk = load("talk")
    said = {in_small(text) for section in talk.values() for text in section[language]}
    english = {word.lower() for word in words_of("en")} if language != "en" else set()
    listed = (*words_of(language), *(KATAKANA if language == "ja" else ()))
    return tuple(word for word in listed if word.lower() not in english and word.lower() not in said)


def _unknown_capital(random: Random, language: str) -> str:
    """The capital of a place that has none, or of a country that is not known."""
    chance = random.random()
    if chance < 0.55:
        place = random.choice(_WORDS["places"][language])
    elif chance < 0.9:
        place = made_up_country(random, language)
    else:
        place = random.choice(_WORDS["cities"][language])
    return capital_questions(random, place, language)


def _stray(random: Random, *, held_out: bool) -> str:
    """Something in no language, as it is."""
    if not held_out and random.random() < 0.4:
        return random.choice(MARKS)
    while True:
        typed = _gibberish(random)
        if (
            is_held_out(typed) == held_out
            and typed not in MARKS
            and typed not in FIRST_QUESTIONS
            and not is_rude(typed)
        ):
            return typed


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
        "decimal": lambda: f"{random.randint(0, 99)}.{random.randint(1, 99)}",
        "exponent": lambda: str(random.randint(13, 99)),
    }
    for name, filler in fillers.items():
        slot = "{" + name + "}"
        while slot in template:
            template = template.replace(slot, filler(), 1)
    return template


def _lone_word(random: Random, language: str) -> str:
    word = random.choice(_lone_words(language))
    return random.choice((word, word, word.lower(), word.capitalize(), f"{word}?", f"{word}."))


def beyond(random: Random, language: str, *, held_out: bool) -> str:
    """A question that nano cannot answer."""
    chance = random.random()
    if language == "en" and chance < 0.14:
        return _stray(random, held_out=held_out)
    templates = _WORDS["questions"][language]
    while True:
        if chance > 0.9:
            question = _unknown_capital(random, language)
        elif chance > 0.83:
            question = _lone_word(random, language)
        else:
            question = _fill(random, random.choice(templates), language)
        if is_held_out(plain_key(question)) != held_out:
            continue
        if not 0.83 < chance <= 0.9:
            question = hurried(random, roughen(random, question, language), language)
        if held_out or question not in FIRST_QUESTIONS:
            return question


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
