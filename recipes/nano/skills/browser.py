"""The builtin browser: search, open a result where its summary does not tell, answer with a citation.

Everything looked up is invented (or, for real countries, given an invented figure), so that the answer can only be read
from the page. A search's query is a function of the question: the attribute's English name and the thing's. A question
about two things needs two searches, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harmonium.harmony.messages import Channel, Message
from recipes.nano.countries import COUNTRIES, of_country
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, Scene, pick_language, roughen, scene
from recipes.nano.skills.bases import uncalled
from recipes.nano.skills.browser_pages import Entry, citation, page, results
from recipes.nano.wordings import load
from recipes.nano.words import ADJECTIVES, NOUNS, is_held_out, person_name, place_name, pseudo_word

_WORDS = load("browser")
_VOWELS = "AEIOUÉÈÖÄÜY"


@dataclass(frozen=True)
class _Thing:
    """names and genitives by language; the English name without its article is what queries and pages say."""

    kind: str
    english: str
    names: dict[str, str]
    genitives: dict[str, str]


def _invented(kind: str, name: str) -> _Thing:
    """A thing that has one name in every language."""
    french = f"d'{name}" if name[0] in _VOWELS else f"de {name}"
    genitives = {"en": f"of {name}", "ja": name, "fr": french, "de": f"von {name}", "es": f"de {name}"}
    return _Thing(kind, name, dict.fromkeys(genitives, name), genitives)


def _country(random: Random) -> _Thing:
    country = random.choice(COUNTRIES)
    genitives = {language: of_country(name, language) for language, name in country.names.items()}
    return _Thing("country", country.names["en"].removeprefix("the "), country.names, genitives)


def _named(random: Random) -> str:
    return pseudo_word(random, "en", 3, 8).capitalize()


_NAMES: dict[str, Callable[[Random], str]] = {
    "town": place_name,
    "museum": lambda random: f"{_named(random)} Museum",
    "product": lambda random: f"{_named(random)} {random.randint(1, 999)}",
    "tower": lambda random: f"{_named(random)} {random.choice(('Tower', 'Bridge', 'Cathedral'))}",
    "river": lambda random: f"{_named(random)} {random.choice(('River', 'Canal', 'Tunnel'))}",
    "book": lambda random: f"The {random.choice(ADJECTIVES).capitalize()} {random.choice(NOUNS).capitalize()}",
    "company": lambda random: f"{_named(random)} {random.choice(('Motors', 'Foods', 'Software', 'Bank', 'Toys'))}",
}
_ATTRIBUTES = {
    "country": (
        "highest temperature",
        "highest temperature",
        "lowest temperature",
        "coastline length",
        "number of lakes",
    ),
    "town": ("population", "population", "mayor", "elevation", "founding year"),
    "museum": ("opening year", "ticket price", "opening time"),
    "product": ("price", "weight"),
    "tower": ("height", "founding year"),
    "river": ("length", "opening year"),
    "book": ("author", "number of pages"),
    "company": ("number of employees", "founder", "founding year"),
}
_KINDS = (*("country",) * 4, *("town",) * 3, "museum", "product", "tower", "river", "book", "company")


def _year(random: Random) -> str:
    return str(random.randint(1100, 2024))


def _degrees(random: Random) -> str:
    return f"{random.randint(200, 560) / 10} °C"


def _person(random: Random) -> str:
    return f"{person_name(random)} {person_name(random, 'de')}"


def _amount(random: Random) -> str:
    amount = f"{random.randint(2, 999)}" + random.choice(("", ".50", ".90", ".99"))
    return random.choice(("${}", "€{}", "{} euros")).format(amount)


_VALUES: dict[str, Callable[[Random], str]] = {
    "highest temperature": _degrees,
    "lowest temperature": lambda random: "-" + _degrees(random),
    "coastline length": lambda random: f"{random.randint(100, 30000):,} km",
    "number of lakes": lambda random: f"{random.randint(12, 90000):,}",
    "population": lambda random: f"{random.randint(200, 10 ** random.randint(3, 6)):,}",
    "mayor": _person,
    "elevation": lambda random: f"{random.randint(2, 3200):,} m",
    "founding year": _year,
    "opening year": _year,
    "ticket price": _amount,
    "opening time": lambda random: f"{random.randint(7, 11)}:{random.choice(('00', '15', '30', '45'))}",
    "price": _amount,
    "weight": lambda random: f"{random.randint(2, 990)} {random.choice(('g', 'kg'))}",
    "height": lambda random: f"{random.randint(20, 900)} m",
    "length": lambda random: f"{random.randint(2, 4000):,} km",
    "author": _person,
    "number of pages": lambda random: str(random.randint(60, 1400)),
    "number of employees": lambda random: f"{random.randint(20, 90000):,}",
    "founder": _person,
}


def _thing(random: Random, kind: str) -> _Thing:
    return _country(random) if kind == "country" else _invented(kind, _NAMES[kind](random))


def _draw(random: Random, *, held_out: bool, n: int) -> tuple[str, list[_Thing]]:
    """An attribute and the things it is asked for: with their attribute, all on the asked side of the split."""
    kind = random.choice(_KINDS)
    attribute = random.choice(_ATTRIBUTES[kind])
    things: list[_Thing] = []
    while len(things) < n:
        thing = _thing(random, kind)
        key = f"{attribute} {thing.english}" if kind == "country" else thing.english
        if is_held_out(key) == held_out and thing.english not in [one.english for one in things]:
            things.append(thing)
    return attribute, things


def _others(random: Random, attribute: str, thing: _Thing, n: int) -> list[Entry]:
    """Distractors: the same attribute of other things, other attributes of the same thing."""
    entries: list[Entry] = []
    rest = [name for name in _ATTRIBUTES[thing.kind] if name != attribute]
    for _ in range(n):
        if rest and random.random() < 0.5:
            name = rest.pop(random.randrange(len(rest)))
            rest = [other for other in rest if other != name]
            entries.append(Entry(thing.english, name, _VALUES[name](random)))
            continue
        other = _thing(random, thing.kind)
        if other.english != thing.english:
            entries.append(Entry(other.english, attribute, _VALUES[attribute](random)))
    return entries


def _phrase(attribute: str, thing: _Thing, language: str) -> str:
    """The attribute of a thing: "the population of Bramford", 「ブラムの人口」."""
    noun = _WORDS[attribute][language][0]
    if language == "ja":
        return f"{thing.names['ja']}の{noun}"
    return f"{noun} {thing.genitives[language]}"


def _question(random: Random, attribute: str, things: list[_Thing], language: str) -> str:
    noun, *direct = _WORDS[attribute][language]
    names = [thing.names[language] for thing in things]
    if len(things) == 2:
        of = [thing.genitives[language] for thing in things]
        slots = {
            "n": noun,
            "m": _accusative(noun),
            "N": _upper(noun),
            "x": names[0],
            "y": names[1],
            "ox": of[0],
            "oy": of[1],
        }
        return random.choice(_WORDS["pairs"][language]).format(**slots)
    if direct and random.random() < 0.35:
        article = names[0].startswith(("The ", "the ")) and language == "en"
        wording = random.choice(direct)
        return (wording.replace("the {x}", "{x}") if article else wording).format(x=names[0])
    phrase = _phrase(attribute, things[0], language)
    return random.choice(_WORDS["frames"][language]).format(a=phrase, b=_accusative(phrase), A=_upper(phrase))


def _accusative(phrase: str) -> str:
    """The phrase as the object of a German verb; other languages and genders have one form."""
    return "den " + phrase[4:] if phrase.startswith("der ") else phrase


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


@dataclass
class _Session:
    """The turn as it grows: what is said and shown, thoughts not yet said, and the cursor of the next page."""

    random: Random
    place: Scene
    messages: list[Message]
    thoughts: list[str]
    cursor: int = 0

    def think(self, thought: str, **slots: object) -> None:
        """A thought at this effort, if the effort has one for the occasion."""
        section = _WORDS.get(thought) or _WORDS.get(f"{self.place.effort}: {thought}")
        if section is not None:
            self.thoughts.append(section[self.place.thinking][0].format(**slots))

    def say_thoughts(self) -> None:
        """What was thought since the last call, as one message."""
        if self.thoughts:
            between = "" if self.place.thinking == "ja" else " "
            self.messages.append(Message.analysis(between.join(self.thoughts)))
            self.thoughts.clear()

    def call(self, name: str, arguments: dict[str, object], shown: str) -> None:
        self.say_thoughts()
        recipient = f"browser.{name}"
        self.messages.append(Message.builtin_call(recipient, json.dumps(arguments, ensure_ascii=False)))
        self.messages.append(Message.tool(recipient, shown, channel=Channel.ANALYSIS))
        self.cursor += 1

    def look_up(self, attribute: str, thing: _Thing, *, tells: bool) -> tuple[str, str]:
        """Search, open if needed; the value and the citation."""
        entry = Entry(thing.english, attribute, _VALUES[attribute](self.random))
        query = f"{attribute} {thing.english}"
        others = _others(self.random, attribute, thing, self.random.choice((1, 1, 2)))
        display, wanted, title, host = results(self.random, self.cursor, query, entry, others, tells=tells)
        self.call("search", {"query": query}, display.text)
        if not tells:
            self.think("open", id=wanted, x=thing.english)
            about = [one for one in _others(self.random, attribute, thing, 2) if one.thing == thing.english]
            display = page(self.random, self.cursor, title, host, entry, about)
            self.call("open", {"id": wanted}, display.text)
        self.think("read", lines=display.lines, value=entry.value)
        return entry.value, citation(self.cursor - 1, display.lines)


def browser(random: Random, *, held_out: bool) -> Drill:
    """A question to look up, or two of a kind; now and then one that needs no look-up."""
    language = pick_language(random)
    tools = ("browser",) if random.random() < 0.85 else ("browser", "python")
    if random.random() < 0.05:
        return uncalled(random, "browser", language, tools, held_out=held_out)
    n = 2 if random.random() < 0.4 else 1
    attribute, things = _draw(random, held_out=held_out, n=n)
    while (question := roughen(random, _question(random, attribute, things, language), language)) in FIRST_QUESTIONS:
        pass
    place = scene(random, builtin_tools=tools)
    names = [thing.names[place.thinking] for thing in things]
    session = _Session(random, place, [], [])
    said, values = [], []
    for i, thing in enumerate(things):
        if i == 1:
            session.think("next", y=names[1])
        else:
            session.think("both" if n == 2 else "look", x=names[0], y=names[-1])
        value, cited = session.look_up(attribute, thing, tells=random.random() < (0.85 if n == 2 else 0.5))
        phrase = _phrase(attribute, thing, language)
        phrase = phrase if i else _upper(phrase)
        said.append(_WORDS["reply"][language][0].format(a=phrase, value=value, cite=cited))
        values += [value, cited]
    final = _WORDS["comma"][language][0].join(said) + _WORDS["stop"][language][0]
    session.say_thoughts()
    learned = [*session.messages, Message.final(final)]
    return place.drill("browser", language, [Message.user(question)], learned, _judge(values))


def _judge(values: list[str]) -> Callable[[Answer], bool]:
    """Right when every value and its citation are in the answer, in order."""

    def judge(given: Answer) -> bool:
        at = 0
        for value in values:
            at = given.final.find(value, at)
            if at < 0:
                return False
            at += len(value)
        return True

    return judge


SKILLS: dict[str, Skill] = {"browser": browser}
