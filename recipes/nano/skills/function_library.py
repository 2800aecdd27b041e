"""Functions as developers declare them and questions that need them, from the families of wordings/functions.txt.

A family is one purpose (the weather, a timer): verbs and nouns that make names, parameters, ways to ask in several
languages, fields of its result. Each drill declares it anew, with other names, other optional parameters and other
descriptions, so that names and values have to be read off the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from harmonium.harmony.messages import ToolSpec
from recipes.nano.skills.function_values import Kind, Slot, kind
from recipes.nano.words import is_held_out, pseudo_word

_FOLDER = Path(__file__).parent.parent / "wordings"


@dataclass(frozen=True)
class Parameter:
    """names: the first is also its key in wordings. cue: how an optional one is mentioned, around what is said."""

    names: tuple[str, ...]
    kind: Kind
    abouts: tuple[str, ...]
    is_required: bool
    cue: str

    @property
    def key(self) -> str:
        return self.names[0]


@dataclass
class Wording:
    """asks: questions with {key} for each parameter. pairs: questions with {a} and {b} for two values of the first one.
    subject: what an answer is about."""

    asks: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    subject: str = ""


@dataclass
class Family:
    """topic: families of one topic are never declared side by side. gives: the fields of a result, names and kind."""

    topic: str
    wants: str
    verbs: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    abouts: tuple[str, ...] = ()
    parameters: list[Parameter] = field(default_factory=list)
    wordings: dict[str, Wording] = field(default_factory=dict)
    gives: list[tuple[tuple[str, ...], Kind]] = field(default_factory=list)


@dataclass(frozen=True)
class Function:
    """A family as one developer declares it. names: key -> declared name, in the order declared."""

    family: Family
    spec: ToolSpec
    names: Mapping[str, str]

    @property
    def required(self) -> tuple[str, ...]:
        return tuple((self.spec.parameters or {}).get("required", ()))


@dataclass(frozen=True)
class Request:
    """A question and the call it needs. wants: what it is about, in English; subject: in the question's language."""

    function: Function
    question: str
    arguments: Mapping[str, Any]
    wants: str
    subject: str
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """Two calls in which a field of the first result becomes an argument of the second."""

    first: Family
    given: str
    second: Family
    taken: str
    asks: tuple[str, ...]


def _parameter(text: str, is_required: bool) -> Parameter:
    names, what, *rest = text.split(" : ")
    abouts = tuple(rest[0].split("|")) if rest else ()
    return Parameter(tuple(names.split("|")), kind(what), abouts, is_required, rest[1] if len(rest) > 1 else "{}")


def _read(family: Family, line: str) -> None:
    """One line of a family: a keyword, then its text."""
    word, _, text = line.partition(" ")
    word, _, language = word.partition(".")
    wording = family.wordings.setdefault(language or "en", Wording())
    if word == "name":
        verbs, nouns = text.split(" ")
        family.verbs, family.nouns = tuple(verbs.split("|")), tuple(nouns.split("|"))
    elif word == "about":
        family.abouts = tuple(text.split("|"))
    elif word in ("need", "may"):
        family.parameters.append(_parameter(text, word == "need"))
    elif word == "gives":
        names, what = text.split(" : ")
        family.gives.append((tuple(names.split("|")), kind(what)))
    elif word == "ask":
        wording.asks.append(text)
    elif word == "pair":
        wording.pairs.append(text)
    else:
        assert word == "for", line
        wording.subject = text


def _families(text: str) -> dict[str, Family]:
    families: dict[str, Family] = {}
    for block in text.strip().split("\n\n"):
        header, *lines = block.splitlines()
        name, wants = header.removeprefix("[").split("] ")
        families[name] = family = Family(name.partition(".")[0], wants)
        for line in lines:
            _read(family, line)
    return families


def _chains(text: str) -> tuple[Chain, ...]:
    chains = []
    for block in text.strip().split("\n\n"):
        header, *lines = block.splitlines()
        first, given, _, second, taken = header.strip("[]").split(" ")
        asks = tuple(line.removeprefix("ask ") for line in lines)
        chains.append(Chain(FAMILIES[first], given, FAMILIES[second], taken, asks))
    return tuple(chains)


FAMILIES = _families((_FOLDER / "functions.txt").read_text("utf-8"))
CHAINS = _chains((_FOLDER / "function_chains.txt").read_text("utf-8"))
SPOKEN = {
    language: tuple(family for family in FAMILIES.values() if language in family.wordings)
    for language in ("en", "ja", "fr", "de", "es")
}
"""The families that have wordings in a language."""
PAIRED = {
    language: tuple(family for family in families if family.wordings["en"].pairs)
    for language, families in SPOKEN.items()
}
"""Those among them that can be asked for two things of a kind."""


def styled(random: Random, *parts: str) -> str:
    """Words as one name of a program: mostly snake_case, else camelCase, now and then kebab-case."""
    words = "_".join(parts).split("_")
    luck = random.random()
    if luck < 0.68:
        return "_".join(words)
    return words[0] + "".join(word.capitalize() for word in words[1:]) if luck < 0.96 else "-".join(words)


def _name(random: Random, family: Family) -> str:
    verb, noun, luck = random.choice(family.verbs), random.choice(family.nouns), random.random()
    if luck < 0.7:
        return styled(random, verb, noun)
    if luck < 0.8:
        return styled(random, noun, verb)
    return styled(random, *((verb, noun, pseudo_word(random)) if luck < 0.9 else (pseudo_word(random), verb, noun)))


def name_of_side(random: Random, family: Family, held_out: bool) -> str:
    """A name for the family's function: trained ones in training, in evaluation half of the time one never trained."""
    wanted = held_out and random.random() < 0.5
    for _ in range(60):
        name = _name(random, family)
        if is_held_out(name) == wanted:
            return name
    return name_of_side(random, family, held_out=False)


def _schema(random: Random, parameter: Parameter, described: float) -> dict[str, Any]:
    schema = dict(parameter.kind.schema)
    if parameter.abouts and random.random() < described:
        schema = {"type": schema.pop("type"), "description": random.choice(parameter.abouts), **schema}
    if not parameter.is_required and "enum" in schema and random.random() < 0.4:
        schema["default"] = random.choice(schema["enum"])
    return schema


def declare(random: Random, family: Family, *, held_out: bool, keep: tuple[str, ...] = ()) -> Function:
    """The family's function, declared at random; optional parameters may be missing but for those in keep."""
    described = random.choice((0.0, 0.5, 1.0, 1.0))
    parameters = [
        parameter
        for parameter in family.parameters
        if parameter.is_required or parameter.key in keep or random.random() < 0.65
    ]
    if random.random() < 0.15:
        random.shuffle(parameters)
    names: dict[str, str] = {}
    for parameter in parameters:
        name = random.choice(parameter.names)
        names[parameter.key] = parameter.key if name in names.values() else name
    camel = random.random() < 0.12
    if camel:
        names = {key: _camel(name) for key, name in names.items()}
    properties = {names[parameter.key]: _schema(random, parameter, described) for parameter in parameters}
    return Function(
        family,
        _spec(
            random,
            name_of_side(random, family, held_out),
            family.abouts,
            properties,
            [names[parameter.key] for parameter in parameters if parameter.is_required],
        ),
        names,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _spec(
    random: Random, name: str, abouts: tuple[str, ...], properties: dict[str, Any], required: list[str]
) -> ToolSpec:
    about = random.choice(abouts) if random.random() < 0.8 else ""
    if not properties and random.random() < 0.5:
        return ToolSpec(name, about)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    return ToolSpec(name, about, parameters)


def mention(parameter: Parameter, slot: Slot) -> str:
    """The slot as a question mentions it: a required one bare, an optional one with its cue and a space before."""
    if parameter.is_required:
        return slot.said
    text = parameter.cue.format(slot.said)
    return text if text.startswith(",") else f" {text}"


def fill(
    random: Random, function: Function, template: str, language: str, *, held_out: bool, prefix: str = ""
) -> dict[str, Slot]:
    """Slots for the parameters that the template names: every required one, and some of the optional ones."""
    slots = {}
    for parameter in function.family.parameters:
        is_named = f"{{{prefix}{parameter.key}}}" in template
        if parameter.key in function.names and is_named and (parameter.is_required or random.random() < 0.5):
            slots[parameter.key] = parameter.kind.draw(random, held_out, language)
    return slots


def mentions(function: Function, slots: Mapping[str, Slot], prefix: str = "") -> dict[str, str]:
    """What stands in a wording for each parameter of the family: nothing for those without a slot."""
    return {
        prefix + parameter.key: mention(parameter, slots[parameter.key]) if parameter.key in slots else ""
        for parameter in function.family.parameters
    }


def arguments(function: Function, slots: Mapping[str, Slot]) -> dict[str, Any]:
    """The call's arguments, in the order declared."""
    return {name: slots[key].value for key, name in function.names.items() if key in slots}


def subject(function: Function, slots: Mapping[str, Slot], language: str) -> str:
    """What the answer is about, with the values themselves instead of how they were said."""
    values = {key: slot.value if isinstance(slot.value, str) else slot.said for key, slot in slots.items()}
    return function.family.wordings[language].subject.format_map(values)


def ask(random: Random, function: Function, language: str, *, held_out: bool) -> Request:
    """A question that needs one call of the function."""
    template = random.choice(function.family.wordings[language].asks)
    slots = fill(random, function, template, language, held_out=held_out)
    question = template.format_map(mentions(function, slots))
    said = tuple(slot.said for slot in slots.values())
    about = subject(function, slots, language)
    return Request(function, question, arguments(function, slots), function.family.wants, about, said)


def ask_two(
    random: Random, function: Function, language: str, *, held_out: bool
) -> tuple[Request, Request, str | None]:
    """Two requests that differ in the first parameter's value, and a question for both where the language has one."""
    parameter = next(parameter for parameter in function.family.parameters if parameter.is_required)
    wording = function.family.wordings[language]
    one = parameter.kind.draw(random, held_out, language)
    other = one
    while other.value == one.value:
        other = parameter.kind.draw(random, held_out, language)
    template = random.choice(wording.asks)
    requests = []
    for slot in (one, other):
        slots = {parameter.key: slot}
        question = template.format_map(mentions(function, slots))
        about, given = subject(function, slots, language), arguments(function, slots)
        requests.append(Request(function, question, given, function.family.wants, about, (slot.said,)))
    together = random.choice(wording.pairs).format(a=one.said, b=other.said) if wording.pairs else None
    return requests[0], requests[1], together
