"""The values that questions put into calls and that tools give back: what they are, how they are said, their JSON type.

A Kind draws slots. Open kinds (names, cities, ids, texts, long numbers) are split by value, so that a value of the
held-out side is never seen in training; closed kinds (enums, booleans, small numbers) are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from recipes.nano.skills.function_words import (
    CITIES,
    CITIES_JA,
    DAYS,
    MONTHS,
    NAMES,
    PRODUCTS,
    PRODUCTS_ELSEWHERE,
    SHORT_CITIES,
)
from recipes.nano.words import ADJECTIVES, NOUNS, VERBS, is_held_out, place_name, pseudo_word, random_letters, words_of


@dataclass(frozen=True)
class Slot:
    """value: as JSON has it. said: as the question says it."""

    value: Any
    said: str


Draw = Callable[[Random, bool, str], Slot]  # (random, held_out, language)


@dataclass(frozen=True)
class Kind:
    """schema: the JSON Schema of the values, without a description. draw(random, held_out, language) makes one."""

    schema: Mapping[str, Any]
    draw: Draw
    is_open: bool = False


_TAILS = ("com", "org", "net", "io", "dev", "example", "test", "edu")
NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_ID_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def open_kind(make: Callable[[Random, str], Slot | str], schema: Mapping[str, Any] | None = None) -> Kind:
    """A kind split by how its values are said. make(random, language) gives a slot, or a text that is its own value.

    Days of the week are on both sides: there are too few to learn from some what the others are.
    """

    def draw(random: Random, held_out: bool, language: str) -> Slot:
        while True:
            made = make(random, language)
            slot = Slot(made, made) if isinstance(made, str) else made
            if slot.value in DAYS or is_held_out(str(slot.value)) == held_out:
                return slot

    return Kind(schema or {"type": "string"}, draw, True)


def either(*words: str) -> Kind:
    """A free string out of a closed list: said as it is."""
    return Kind({"type": "string"}, lambda random, held_out, language: _same(random.choice(words)))


def _ways(said: Mapping[Any, str], schema: Mapping[str, Any]) -> Kind:
    """A closed kind: each value with the ways it is said, separated by bars."""
    ways = [(value, tuple(text.split("/"))) for value, text in said.items()]

    def draw(random: Random, held_out: bool, language: str) -> Slot:
        value, texts = random.choice(ways)
        return Slot(value, random.choice(texts))

    return Kind(schema, draw)


def choice(said: Mapping[str, str]) -> Kind:
    """An enum: value -> how the question says it (alternatives after a slash)."""
    return _ways(said, {"type": "string", "enum": list(said)})


def flag(true: str, false: str) -> Kind:
    """A boolean said by one phrase or the other (alternatives after a slash)."""
    return _ways({True: true, False: false}, {"type": "boolean"})


def integer(low: int, high: int) -> Kind:
    """Whole numbers low..high; in English small ones are now and then said as words. Split when the range is long."""
    schema = {"type": "integer"}

    def make(random: Random, language: str) -> Slot:
        value = random.randint(low, high)
        if language == "en" and 1 < value <= 12 and random.random() < 0.2:
            return Slot(value, NUMBER_WORDS[value])
        return Slot(value, str(value))

    if high - low >= 200:
        return open_kind(make, schema)
    return Kind(schema, lambda random, held_out, language: make(random, language))


def number(low: float, high: float, places: int = 2) -> Kind:
    """Numbers with up to `places` decimals, whole ones among them."""

    def make(random: Random, language: str) -> Slot:
        value: float = round(random.uniform(low, high), random.randint(0, places))
        if value == int(value):
            value = int(value)
        return Slot(value, str(value))

    return open_kind(make, {"type": "number"})


def several(kind: Kind, low: int = 2, high: int = 4) -> Kind:
    """An array of different values, said as a list."""

    def draw(random: Random, held_out: bool, language: str) -> Slot:
        slots: dict[str, Slot] = {}
        for _ in range(random.randint(low, high)):
            slot = kind.draw(random, held_out, language)
            slots[str(slot.value)] = slot
        while len(slots) < low:
            slot = kind.draw(random, held_out, language)
            slots[str(slot.value)] = slot
        return Slot([slot.value for slot in slots.values()], listed([slot.said for slot in slots.values()], language))

    return Kind({"type": "array", "items": dict(kind.schema)}, draw, kind.is_open)


_AND = {"en": " and ", "fr": " et ", "de": " und ", "es": " y ", "ja": "と"}


def listed(parts: list[str], language: str) -> str:
    """a, b and c, in the language."""
    comma = "、" if language == "ja" else ", "
    return _AND[language].join([comma.join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _same(text: str) -> Slot:
    return Slot(text, text)


def _city(random: Random, language: str) -> str:
    luck = random.random()
    if language == "ja" and luck < 0.8:
        return random.choice(CITIES_JA)
    if luck < 0.5:
        return random.choice(CITIES)
    return place_name(random) if luck < 0.7 else pseudo_word(random).capitalize()


def _city_or_short(random: Random, held_out: bool, language: str) -> Slot:
    """Short forms are knowledge, the same on both sides of the split."""
    if language == "en" and random.random() < 0.08:
        short = random.choice(tuple(SHORT_CITIES))
        return Slot(SHORT_CITIES[short], short)
    return _CITY.draw(random, held_out, language)


def _made_up(random: Random, language: str) -> str:
    return pseudo_word(random, "en" if language == "ja" else language)


def _noun(random: Random, language: str) -> str:
    """A listed word, in the question's language more often than not."""
    return random.choice(words_of(language) if language != "en" and random.random() < 0.6 else NOUNS)


def _name(random: Random, language: str) -> str:
    return random.choice(NAMES) if random.random() < 0.4 else _made_up(random, language).capitalize()


def _full_name(random: Random, language: str) -> str:
    name = _name(random, language)
    return f"{name} {_made_up(random, language).capitalize()}" if random.random() < 0.4 else name


def _email(random: Random, language: str) -> str:
    number = random.randint(1, 99) if random.random() < 0.3 else ""
    return f"{_name(random, 'en').lower()}{number}@{pseudo_word(random)}.{random.choice(_TAILS)}"


def _code(random: Random, language: str) -> str:
    letters = "".join(random.choices(_ID_LETTERS, k=random.randint(1, 3)))
    digits = str(random.randint(10, 99999))
    forms = (f"{letters}{digits}{random.choice(_ID_LETTERS)}-{random.randint(10, 99)}", f"{letters}-{digits}", digits)
    return random.choice((*forms, letters + digits))


def _date(random: Random, language: str) -> str:
    luck = random.random()
    if luck < 0.55 or language != "en":
        return f"{random.randint(2019, 2034)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
    return f"{random.choice(MONTHS)} {random.randint(1, 28)}" if luck < 0.75 else random.choice(DAYS)


def _time(random: Random, language: str) -> str:
    if random.random() < 0.7 or language != "en":
        return f"{random.randint(0, 23):02}:{random.randrange(0, 60, 5):02}"
    return f"{random.randint(1, 12)} {random.choice(('am', 'pm'))}"


def _title(random: Random, language: str) -> str:
    """A thing of one to three words."""
    adjective, noun, luck = random.choice(ADJECTIVES), _noun(random, language), random.random()
    if language != "en":
        return noun if luck < 0.5 else f"{_made_up(random, language)} {noun}"
    if luck < 0.2:
        return noun
    if luck < 0.4:
        return f"{adjective} {noun}"
    if luck < 0.55:
        return f"{noun} {random.choice(NOUNS)}"
    if luck < 0.7:
        return f"{pseudo_word(random)} {noun}"
    return f"The {adjective} {noun}".title() if luck < 0.85 else f"{adjective} {random.choice(NOUNS)} {noun}"


_UNCOUNTED = ("olive oil", "ice cream")


def _product(random: Random, language: str) -> Slot:
    """A thing that is sold, in English with an article where it takes one."""
    if language != "en":
        name = random.choice(PRODUCTS_ELSEWHERE[language]) if random.random() < 0.5 else _noun(random, language)
        return _same(name)
    luck = random.random()
    name = random.choice(PRODUCTS) if luck < 0.5 else random.choice(NOUNS) if luck < 0.7 else pseudo_word(random)
    if luck > 0.85 or 0.1 < luck < 0.15:
        name = f"{random.choice(ADJECTIVES)} {random.choice(NOUNS)}"
    if name in _UNCOUNTED or random.random() < 0.12:
        return _same(name)
    is_vowel = name[0] in "aeiou" and not name.startswith(("uni", "use"))
    article = random.choice(("an" if is_vowel or name.startswith("honest") else "a",) * 4 + ("the", "one", "this"))
    return Slot(name, f"{article} {name}")


_SENTENCES: tuple[Callable[[Random, str, str], str], ...] = (
    lambda random, noun, name: f"Meet {name} at {_time(random, 'en')}",
    lambda random, noun, name: f"Buy {random.randint(2, 40)} {noun}s",
    lambda random, noun, name: f"Call {name} about the {noun}",
    lambda random, noun, name: f"The {noun} is {random.choice(ADJECTIVES)}",
    lambda random, noun, name: f"I will be {random.randint(2, 59)} minutes late",
    lambda random, noun, name: f"Bring the {random.choice(ADJECTIVES)} {noun} to {name}",
    lambda random, noun, name: f"{random.choice(VERBS).capitalize()} the {noun}",
    lambda random, noun, name: f"{noun} and {random.choice(NOUNS)}",
    lambda random, noun, name: f"Thanks for the {noun}, {name}",
    lambda random, noun, name: f"Do not forget the {pseudo_word(random)}",
    lambda random, noun, name: " ".join(random.choices(NOUNS, k=random.randint(2, 5))),
    lambda random, noun, name: f"Is the {noun} {random.choice(ADJECTIVES)}?",
    lambda random, noun, name: f"See you on {random.choice(DAYS)}",
)


def _sentence(random: Random, language: str) -> str:
    if language != "en" and random.random() < 0.7:
        space = random.choice(("と", "の", "、")) if language == "ja" else " "
        return space.join(_noun(random, language) for _ in range(random.randint(1, 4)))
    return random.choice(_SENTENCES)(random, random.choice(NOUNS), _name(random, "en"))


def _quoted(random: Random, text: str, language: str) -> Slot:
    if language == "ja":
        return Slot(text, f"「{text}」")
    if language == "fr" and random.random() < 0.5:
        return Slot(text, f"« {text} »")
    return Slot(text, f'"{text}"' if random.random() < 0.6 else f"'{text}'")


def _path(random: Random, language: str) -> str:
    folder = random.choice(("", "", f"{random.choice(NOUNS)}/", f"src/{pseudo_word(random)}/"))
    stem = random.choice(NOUNS) if random.random() < 0.5 else pseudo_word(random)
    return f"{folder}{stem}.{random.choice(_SUFFIXES)}"


def _url(random: Random, language: str) -> str:
    return f"https://{pseudo_word(random)}.{random.choice(_TAILS)}/{random.choice(NOUNS)}"


def _word(random: Random, language: str) -> str:
    luck = random.random()
    if luck < 0.4:
        return _noun(random, language)
    return _made_up(random, language) if luck < 0.8 else random_letters(random, 3, 8)


def _expression(random: Random, language: str) -> str:
    """What people hand to a calculator."""
    a, b = random.randint(2, 9999), random.randint(2, 999)
    forms = (f"{a} {random.choice('+-*/')} {b}", f"({a} + {b}) * {a % 9 + 2}", f"sqrt({a})", f"{a / 100} * {b}")
    return random.choice((*forms, f"{b} ** {a % 9 + 2}", f"{b}% of {a}"))


def _remark(random: Random, language: str) -> str:
    adjective = random.choice(ADJECTIVES)
    words = (
        pseudo_word(random),
        adjective,
        f"{adjective} {pseudo_word(random)}",
        f"{adjective} {random.choice(NOUNS)}",
    )
    return f"{random.choice(words).capitalize()}{random.choice(('.', '.', '!', ''))}"


def _reading(random: Random, language: str) -> str:
    """A short text with a number in it: "light rain, 16 degrees", "83 euros"."""
    unit = random.choice(("degrees", "degrees", "euros", "euros", "dollars", "km", "minutes", "points", "°C", "items"))
    amount = f"{random.randint(-15, 900)} {unit}"
    sky = random.choice(("clear", "sunny", "cloudy", "light rain", "heavy snow", "windy", "fog", *ADJECTIVES[:40]))
    return amount if random.random() < 0.4 else f"{sky}, {amount}"


def _listed(text: str) -> Kind:
    return either(*text.replace("\n", " ").split("|" if "|" in text else None))


_SUFFIXES = ("txt", "md", "py", "csv", "json", "pdf", "png", "log", "toml")
_CITY = open_kind(_city)
KINDS: dict[str, Kind] = {
    "CITY": Kind({"type": "string"}, _city_or_short, True),
    "PERSON": open_kind(_full_name),
    "EMAIL": open_kind(_email),
    "CODE": open_kind(_code),
    "DATE": open_kind(_date),
    "TIME": open_kind(_time),
    "TITLE": open_kind(lambda random, language: _quoted(random, _title(random, language), language)),
    "TEXT": open_kind(lambda random, language: _quoted(random, _sentence(random, language), language)),
    "THING": open_kind(_title),
    "LINE": open_kind(_sentence),
    "PRODUCT": open_kind(_product),
    "READING": open_kind(_reading),
    "EXPRESSION": open_kind(_expression),
    "HEX": open_kind(lambda random, _: f"#{random.randrange(16**6):06x}"),
    "PLACE": open_kind(lambda random, _: f"{random.choice(ADJECTIVES)} {random.choice(NOUNS)}".title()),
    "WORD": open_kind(_word),
    "PATH": open_kind(_path),
    "URL": open_kind(_url),
    "TICKER": open_kind(lambda random, _: random_letters(random, 3, 4).upper()),
    "REMARK": open_kind(_remark),
    "USER": open_kind(lambda random, _: f"{pseudo_word(random)}{random.choice(('', random.randint(1, 999)))}"),
    "COUNTRY": _listed("France Germany Spain Italy Japan Brazil Canada Mexico India China Kenya Egypt Norway Poland"),
    "CURRENCY": _listed("USD EUR GBP JPY CHF CAD AUD CNY INR BRL SEK NOK PLN KRW MXN ZAR"),
    "LANGUAGE": _listed("English French German Spanish Japanese Italian Portuguese Dutch Swedish Polish Greek Korean"),
    "ROOM": _listed("kitchen|bedroom|bathroom|office|garage|hallway|attic|cellar|garden|living room|dining room"),
    "SKY": _listed("sunny cloudy rainy snowy windy foggy clear stormy overcast hazy"),
    "STATE": _listed("sent|done|ok|saved|created|booked|confirmed|queued|accepted|success|scheduled|updated|deleted"),
}


def _value_and_ways(pair: str) -> tuple[str, str]:
    value, _, ways = pair.partition("=")
    return value, ways or value


def kind(text: str) -> Kind:
    """The kind that a text names.

    A key of KINDS; "integer 1 9"; "number 0.5 20"; "enum a=one way/another, b=said so"; "flag with it / without it"
    (either side may have alternatives, separated by ";"); "list KIND"; "one of a, b, c".
    """
    name, _, rest = text.partition(" ")
    if not rest:
        return KINDS[name]
    if name == "integer":
        low, high = rest.split()
        return integer(int(low), int(high))
    if name == "number":
        low, high = rest.split()
        return number(float(low), float(high))
    if name == "enum":
        return choice(dict(_value_and_ways(pair) for pair in rest.split(", ")))
    if name == "flag":
        true, false = rest.split(" / ")
        return flag(true.replace(";", "/"), false.replace(";", "/"))
    if name == "list":
        return several(kind(rest))
    assert text.startswith("one of "), text
    return either(*text.removeprefix("one of ").split(", "))
