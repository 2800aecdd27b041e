"""Functions nobody has heard of: names and parameters of random words, asked for by name or by what the name says."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from harmonium.harmony.messages import ToolSpec
from recipes.nano.skills.function_library import Family, Function, Request, styled
from recipes.nano.skills.function_values import KINDS, Kind, Slot, flag, integer, kind, listed, number, several
from recipes.nano.words import ADJECTIVES, NOUNS, VERBS, is_held_out, pseudo_word


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORD = KINDS["WORD"]
_KINDS: tuple[Kind, ...] = (
    *(_WORD, _WORD, _WORD, integer(2, 99), integer(2, 9000), number(0.1, 99), several(_WORD), several(integer(2, 900))),
    *(KINDS[name] for name in ("CODE", "CITY", "PERSON", "TITLE", "TEXT", "DATE")),
    flag("true", "false"),
)
_RESULTS = (*_KINDS[:8], KINDS["STATE"], KINDS["REMARK"], KINDS["CODE"], KINDS["LINE"])
_NAMES = _listed("""
size color name mode level count speed depth target source label key value width angle limit index rate tag kind shape
start end ratio step owner region layer seed
""")


def _word(random: Random) -> str:
    return random.choice(NOUNS) if random.random() < 0.6 else pseudo_word(random, "en", 3, 8)


def _parts(random: Random) -> tuple[str, str]:
    """A verb and a noun, of lists or made up; the noun may be of two words."""
    verb = random.choice(VERBS) if random.random() < 0.7 else pseudo_word(random, "en", 3, 8)
    luck = random.random()
    noun = _word(random)
    if luck < 0.2:
        noun = f"{random.choice(ADJECTIVES)} {noun}"
    elif luck < 0.3:
        noun = f"{noun} {_word(random)}"
    return verb, noun


def _parameters(random: Random) -> dict[str, tuple[Kind, bool]]:
    """Declared name -> its kind and whether it is required."""
    found: dict[str, tuple[Kind, bool]] = {}
    for _ in range(random.choice((0, 1, 1, 2, 2, 3))):
        name = random.choice(_NAMES) if random.random() < 0.5 else _word(random)
        if random.random() < 0.1:
            values = {random.choice((*NOUNS, *ADJECTIVES)) for _ in range(3)}
            found[name] = (kind(f"enum {', '.join(sorted(values))}"), random.random() < 0.7)
        else:
            found[name] = (random.choice(_KINDS), random.random() < 0.75)
    return found


def _fields(random: Random) -> list[tuple[tuple[str, ...], Kind]]:
    """What the function gives: one to three fields of any name."""
    names = {
        random.choice(_NAMES) if random.random() < 0.5 else _word(random): None for _ in range(random.randint(1, 3))
    }
    return [((name,), random.choice(_RESULTS)) for name in names]


def _name(random: Random, held_out: bool) -> tuple[str, str, str]:
    while True:
        verb, noun = _parts(random)
        name = styled(random, verb, noun.replace(" ", "_"))
        if is_held_out(name) == held_out:
            return name, verb, noun


def invent(random: Random, *, held_out: bool) -> Function:
    """A function of an invented name and invented parameters."""
    name, verb, noun = _name(random, held_out)
    parameters = _parameters(random)
    properties: dict[str, Any] = {}
    for key, (what, _) in parameters.items():
        properties[key] = dict(what.schema)
        if random.random() < 0.25:
            properties[key]["description"] = f"The {key} of the {noun}."
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required := [key for key, (_, is_required) in parameters.items() if is_required]:
        schema["required"] = required
    about = random.choice((f"{verb.capitalize()} the {noun}.", f"To {verb} a {noun}.", "", noun.capitalize()))
    family = Family(f"invented {name}", f"to {verb} the {noun}", gives=_fields(random))
    return Function(family, ToolSpec(name, about, schema), {key: key for key in parameters})


def _slots(random: Random, function: Function, held_out: bool) -> dict[str, Slot]:
    slots = {}
    properties = (function.spec.parameters or {})["properties"]
    for key in function.names:
        if key in function.required or random.random() < 0.5:
            slots[key] = _draw(random, properties[key], held_out)
    return slots


def _draw(random: Random, schema: dict[str, Any], held_out: bool) -> Slot:
    """A value of the declared type; strings are of any open kind."""
    if "enum" in schema:
        value = random.choice(schema["enum"])
        return Slot(value, value)
    same = [what for what in _KINDS if what.schema["type"] == schema["type"]]
    if schema["type"] == "array":
        same = [what for what in same if what.schema["items"] == schema["items"]]
    return random.choice(same).draw(random, held_out, "en")


def _listing(random: Random, slots: dict[str, Slot]) -> str:
    form = random.choice(("{} {}", "{} {}", "{} = {}", "{}: {}", "{} set to {}"))
    return listed([form.format(key, slot.said) for key, slot in slots.items()], "en")


def _literally(slots: dict[str, Slot]) -> str:
    return ", ".join(f"{key}={json.dumps(slot.value, ensure_ascii=False)}" for key, slot in slots.items())


def ask_for_invention(random: Random, function: Function, *, held_out: bool) -> Request:
    """A question that names the invented function, or says what it does."""
    slots = _slots(random, function, held_out)
    name, wants = function.spec.name, function.family.wants
    doing = wants.removeprefix("to ")
    doing = doing[0].upper() + doing[1:]
    if random.random() < 0.12:
        return _request(function, slots, f"{random.choice(('Run', 'Call', 'Execute'))} {name}({_literally(slots)})")
    by_name = (f"Call {name}", f"Use {name}", f"Run {name}", f"Please call {name}", f"I need {name}")
    by_purpose = (doing, f"Please {doing[0].lower()}{doing[1:]}", f"I want {wants}", f"{doing} for me")
    start = random.choice(by_name if random.random() < 0.5 else by_purpose)
    if not slots:
        return _request(function, slots, f"{start}.")
    question = f"{start} {random.choice(('with', 'with', 'using', 'and take'))} {_listing(random, slots)}."
    return _request(function, slots, question)


def _request(function: Function, slots: dict[str, Slot], question: str) -> Request:
    values = {key: slot.value for key, slot in slots.items()}
    noun = function.family.wants.partition(" the ")[2]
    said = tuple(slot.said for slot in slots.values())
    return Request(function, question, values, function.family.wants, f"the {noun}", said)
