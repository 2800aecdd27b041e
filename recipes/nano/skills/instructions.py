"""Developer instructions that shape an answer: its case, length, first or last word, language, riddles, JSON.

The questions are those of other skills (capitals, sums, letters, things beyond nano); the analysis is theirs, with a
note of the wish behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from harmonium.harmony.messages import DeveloperContent, Message, ResponseFormat
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import Scene, pick_language, scene
from recipes.nano.skills.bases import Base, beyond_base, capital_base, letter_base, sum_base, weather_base
from recipes.nano.skills.language import wish
from recipes.nano.wordings import load
from recipes.nano.words import LANGUAGES, held_out_words, identifier, train_words

_WORDS = load("instructions")
_FORMATS = ("answer", "reply", "result", "response", "output", "final_answer", "my_schema")


@dataclass(frozen=True)
class _Shaped:
    """final: the answer in the wanted shape. is_shaped: does a final text keep the instruction (its content aside)?"""

    developer: DeveloperContent
    final: str
    is_shaped: Callable[[str], bool]
    note: str
    slots: Mapping[str, str] = field(default_factory=dict)


def _instruction(random: Random, section: str, language: str, **slots: object) -> str:
    """The instruction in the question's language, or half of the time in English."""
    spoken = "en" if random.random() < 0.5 else language
    return random.choice(_WORDS[section][spoken]).format(**slots)


def _upper(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(_instruction(random, "upper", base.language))
    return _Shaped(content, base.final.upper(), lambda text: text == text.upper(), "upper")


def _lower(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(_instruction(random, "lower", base.language))
    return _Shaped(content, base.final.lower(), lambda text: text == text.lower(), "lower")


def _one_word(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(_instruction(random, "one word", base.language))
    answer = base.answer
    return _Shaped(content, answer, lambda text: text.rstrip(".!") == answer, "one word")


def _few_words(random: Random, base: Base) -> _Shaped:
    limit = random.randint(max(2, len(base.answer.split())), 9)
    content = DeveloperContent(_instruction(random, "few words", base.language, n=limit))
    return _Shaped(content, base.answer, lambda text: len(text.split()) <= limit, "few words")


def _word(random: Random, language: str, held_out: bool) -> str:
    return random.choice((held_out_words if held_out else train_words)(language))


def _end(random: Random, base: Base) -> _Shaped:
    word = _word(random, base.language, base.is_held_out)
    content = DeveloperContent(_instruction(random, "end", base.language, w=word))
    return _Shaped(content, f"{base.final} {word}", lambda text: text.rstrip(".!").endswith(word), "end", {"w": word})


def _begin(random: Random, base: Base) -> _Shaped:
    word = _word(random, base.language, base.is_held_out)
    content = DeveloperContent(_instruction(random, "begin", base.language, w=word))
    return _Shaped(content, f"{word} {base.final}", lambda text: text.startswith(word), "begin", {"w": word})


def _answer_in(random: Random, base: Base) -> _Shaped:
    wanted = random.choice(LANGUAGES)
    section = f"answer in {wanted}"
    content = DeveloperContent(_instruction(random, section, base.language if random.random() < 0.5 else wanted))
    final = base.finals[wanted]
    return _Shaped(content, final, lambda text: text.strip() == final, section)


def _riddle(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(_instruction(random, "riddles", base.language))
    final = _WORDS[f"{base.kind} riddle"][base.language][0].format(**base.slots)
    return _Shaped(content, final, lambda text: "?" in text and text.strip() != base.final, "riddles")


_NAMES_OF_ANSWERS = ("answer", "result", "reply", "response", "value", "solution", "output", "final", "text", "data")
_NAMES_BY_KIND = {
    "capital": ("capital", "city", "capital_city", "name"),
    "number": ("result", "total", "number"),
    "letter": ("count", "n_letters", "times", "occurrences"),
}
_FURTHER = {
    "capital": (("country", "country"), ("nation", "country")),
    "number": (("expression", "e"), ("task", "e"), ("formula", "e")),
    "letter": (("word", "w"), ("letter", "l")),
}
"""Properties that repeat a part of the question: their name, and the base's slot that fills them."""
_NAMES_OF_YES = ("ok", "done", "success", "is_final", "valid", "finished", "complete")
_NAMES_OF_KINDS = ("kind", "topic", "category", "type", "subject")
_KINDS = {"capital": "geography", "number": "math", "letter": "spelling"}


def _schema(random: Random, base: Base) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema of one to four properties, and the object that answers with it."""
    is_number = base.answer.lstrip("-").isdigit()
    as_number = is_number and random.random() < 0.7
    chance = random.random()
    name = f"{identifier(random, 1)}_answer" if chance > 0.7 else random.choice(_NAMES_OF_ANSWERS)
    if chance < 0.35:
        name = random.choice(_NAMES_BY_KIND[base.kind])
    kind = random.choice(("integer", "number")) if as_number else "string"
    properties: list[tuple[str, dict[str, Any], Any]] = [
        (name, {"type": kind}, int(base.answer) if as_number else base.answer)
    ]
    if random.random() < 0.35:
        properties.append((random.choice(_NAMES_OF_YES), {"type": "boolean"}, True))
    if random.random() < 0.35:
        choices = list(_KINDS.values())
        properties.append((random.choice(_NAMES_OF_KINDS), {"type": "string", "enum": choices}, _KINDS[base.kind]))
    if random.random() < 0.35:
        further, slot = random.choice(_FURTHER[base.kind])
        properties.append((further, {"type": "string"}, base.slots[slot]))
    random.shuffle(properties)
    schema: dict[str, Any] = {"type": "object", "properties": {name: shape for name, shape, _ in properties}}
    schema["required"] = [name for name, _, _ in properties]
    if random.random() < 0.4:
        schema["additionalProperties"] = False
    return schema, {name: value for name, _, value in properties}


def _json(random: Random, base: Base) -> _Shaped:
    schema, value = _schema(random, base)
    final = json.dumps(value, ensure_ascii=False)
    asked = _instruction(random, "json", base.language)
    if random.random() < 0.6:
        formats = (ResponseFormat(random.choice(_FORMATS), schema),)
        content = DeveloperContent(asked if random.random() < 0.7 else None, response_formats=formats)
    else:
        spoken = _instruction(random, "schema", base.language, schema=json.dumps(schema)).replace("\\n", "\n")
        content = DeveloperContent(f"{asked} {spoken}")

    def is_shaped(text: str) -> bool:
        try:
            return bool(json.loads(text) == value)
        except ValueError:
            return False

    return _Shaped(content, final, is_shaped, "json")


_Shaper = Callable[[Random, Base], _Shaped]
_BaseMaker = Callable[..., Base]
_KNOWN: tuple[_BaseMaker, ...] = (capital_base, capital_base, sum_base, sum_base, letter_base)
_SHAPERS: tuple[tuple[_Shaper, int, tuple[_BaseMaker, ...]], ...] = (
    (_upper, 12, (capital_base, capital_base, sum_base, beyond_base)),
    (_lower, 5, (capital_base, sum_base, letter_base, beyond_base)),
    (_one_word, 14, (*_KNOWN, *_KNOWN, beyond_base)),
    (_few_words, 6, _KNOWN),
    (_end, 6, _KNOWN),
    (_begin, 5, _KNOWN),
    (_answer_in, 10, (capital_base, capital_base, beyond_base)),
    (_riddle, 20, (*_KNOWN, *_KNOWN, beyond_base, weather_base, weather_base, weather_base)),
    (_json, 22, _KNOWN),
)
_WEIGHTS = [weight for _, weight, _ in _SHAPERS]


def instructions(random: Random, *, held_out: bool) -> Drill:
    """A question of another skill under a developer's instruction."""
    shape, _, makers = random.choices(_SHAPERS, _WEIGHTS)[0]
    language = pick_language(random)
    if language == "ja" and shape in (_upper, _lower, _few_words):
        language = "en"
    make = random.choice(makers)
    base = make(random, language, held_out=held_out)
    while shape is _one_word and " " in base.answer:
        base = make(random, language, held_out=held_out)
    shaped = shape(random, base)
    developer, thinking = shaped.developer, "en"
    if developer.instructions and random.random() < 0.1:
        thinking = random.choice(LANGUAGES)
        text = f"{wish(random, thinking)}\n\n{developer.instructions}"
        developer = DeveloperContent(text, response_formats=developer.response_formats)
    opening = scene(random, developer=developer)
    place = Scene(opening.opening, opening.effort, thinking)
    note = _WORDS[f"{shaped.note}: note"][thinking][0].format(**shaped.slots)
    space = "" if thinking == "ja" else " "
    learned = [Message.analysis(base.analysis(thinking, place.effort) + space + note), Message.final(shaped.final)]

    def judge(given: Answer) -> bool:
        final = given.final.strip()
        is_told = shape is _json or base.is_told(final, shaped.final)
        return not given.calls and shaped.is_shaped(final) and is_told

    return place.drill("instructions", language, [Message.user(base.question)], learned, judge)


SKILLS: dict[str, Skill] = {"instructions": instructions}
