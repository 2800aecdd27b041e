"""Developer instructions that shape an answer: its case, length, first or last word, language, riddles, JSON.

The questions are those of other skills (capitals, sums, letters, things beyond nano); the analysis is theirs, with a
note of the wish behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from harmonium.harmony.messages import DeveloperContent, Message, ResponseFormat
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import Scene, pick_language, scene
from recipes.nano.skills.bases import Base, beyond_base, capital_base, letter_base, sum_base, weather_base
from recipes.nano.skills.function_limits import BESIDE_PLAIN
from recipes.nano.skills.function_scenes import toolbox
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


def instruction(random: Random, section: str, language: str, **slots: object) -> str:
    """The instruction in the question's language, or half of the time in English; now and then typed in haste."""
    spoken = "en" if random.random() < 0.5 else language
    text, luck = random.choice(_WORDS[section][spoken]).format(**slots), random.random()
    if slots or luck > 0.25:
        return text
    return text.upper() if luck < 0.1 else text.lower().rstrip(".")


def _upper(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(instruction(random, "upper", base.language))
    return _Shaped(content, base.final.upper(), lambda text: text == text.upper(), "upper")


def _lower(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(instruction(random, "lower", base.language))
    return _Shaped(content, base.final.lower(), lambda text: text == text.lower(), "lower")


def _one_word(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(instruction(random, "one word", base.language))
    answer = base.answer
    return _Shaped(content, answer, lambda text: text.rstrip(".!") == answer, "one word")


def _few_words(random: Random, base: Base) -> _Shaped:
    limit = random.randint(max(2, len(base.answer.split())), 9)
    content = DeveloperContent(instruction(random, "few words", base.language, n=limit))
    return _Shaped(content, base.answer, lambda text: len(text.split()) <= limit, "few words")


def _word(random: Random, language: str, held_out: bool) -> str:
    return random.choice((held_out_words if held_out else train_words)(language))


def _end(random: Random, base: Base) -> _Shaped:
    word = _word(random, base.language, base.is_held_out)
    content = DeveloperContent(instruction(random, "end", base.language, w=word))
    return _Shaped(content, f"{base.final} {word}", lambda text: text.rstrip(".!").endswith(word), "end", {"w": word})


def _begin(random: Random, base: Base) -> _Shaped:
    word = _word(random, base.language, base.is_held_out)
    content = DeveloperContent(instruction(random, "begin", base.language, w=word))
    return _Shaped(content, f"{word} {base.final}", lambda text: text.startswith(word), "begin", {"w": word})


def _answer_in(random: Random, base: Base) -> _Shaped:
    wanted = random.choice(LANGUAGES)
    section = f"answer in {wanted}"
    content = DeveloperContent(instruction(random, section, base.language if random.random() < 0.5 else wanted))
    final = base.finals[wanted]
    return _Shaped(content, final, lambda text: text.strip() == final, section)


def _riddle(random: Random, base: Base) -> _Shaped:
    content = DeveloperContent(instruction(random, "riddles", base.language))
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
    asked = instruction(random, "json", base.language)
    if random.random() < 0.6:
        formats = (ResponseFormat(random.choice(_FORMATS), schema),)
        content = DeveloperContent(asked if random.random() < 0.7 else None, response_formats=formats)
    else:
        spoken = instruction(random, "schema", base.language, schema=json.dumps(schema)).replace("\\n", "\n")
        content = DeveloperContent(f"{asked} {spoken}")
    return _Shaped(content, final, lambda text: _is_json(text, value), "json")


def _bare_json(random: Random, base: Base) -> _Shaped:
    """JSON without a schema: one object that holds the answer alone, or the sentence where there is none."""
    content = DeveloperContent(instruction(random, "bare json", base.language))
    final = bare_json(base.final if base.kind == "beyond" else base.answer)
    return _Shaped(content, final, lambda text: _is_json(text, json.loads(final)), "json")


def bare_json(answer: str) -> str:
    """What nano says where JSON is wanted and no schema given."""
    return json.dumps({"answer": int(answer) if answer.lstrip("-").isdecimal() else answer}, ensure_ascii=False)


def _is_json(text: str, wanted: object) -> bool:
    try:
        return bool(json.loads(text) == wanted)
    except ValueError:
        return False


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
    (_bare_json, 8, (*_KNOWN, *_KNOWN, beyond_base)),
)
_LASTING = (_upper, _lower, _one_word, _end, _begin, _answer_in, _bare_json)
"""Shapes whose instruction does not depend on the question: the same one for several."""
_WEIGHTS = [weight for _, weight, _ in _SHAPERS]


def _base(random: Random, shape: _Shaper, makers: tuple[_BaseMaker, ...], language: str, *, held_out: bool) -> Base:
    while True:
        base = random.choice(makers)(random, language, held_out=held_out)
        if shape is not _one_word or " " not in base.answer:
            return base


def _thinking_in(random: Random, developer: DeveloperContent) -> tuple[DeveloperContent, str]:
    """Now and then, in front of the instruction, a wish for a language of reasoning."""
    if not developer.instructions or random.random() > 0.1:
        return developer, "en"
    thinking = random.choice(LANGUAGES)
    return replace(developer, instructions=f"{wish(random, thinking)}\n\n{developer.instructions}"), thinking


def _with_functions(random: Random, developer: DeveloperContent, *, held_out: bool) -> DeveloperContent:
    """Functions beside the instruction, none of which is needed."""
    tools = toolbox(random, [], held_out=held_out, avoid=BESIDE_PLAIN)
    return replace(developer, tools=tuple(tool.spec for tool in tools))


def instructions(random: Random, *, held_out: bool) -> Drill:
    """A question of another skill under a developer's instruction, now and then after others under the same one."""
    shape, _, makers = random.choices(_SHAPERS, _WEIGHTS)[0]
    language = pick_language(random)
    if language == "ja" and shape in (_upper, _lower, _few_words):
        language = "en"
    has_functions = random.random() < 0.12
    if has_functions:
        makers = tuple(make for make in makers if make in _KNOWN)
    n_turns = random.choice((1, 1, 1, 1, 2, 3)) if shape in _LASTING else 1
    bases = [_base(random, shape, makers, language, held_out=held_out) for _ in range(n_turns)]
    seed = random.random()
    *before, shaped = [shape(Random(seed), base) for base in bases]
    base = bases[-1]
    developer, thinking = _thinking_in(random, shaped.developer)
    if has_functions:
        developer = _with_functions(random, developer, held_out=held_out)
    opening = scene(random, developer=developer)
    place = Scene(opening.opening, opening.effort, thinking)
    note = _WORDS[f"{shaped.note}: note"][thinking][0].format(**shaped.slots)
    space = "" if thinking == "ja" else " "
    learned = [Message.analysis(base.analysis(thinking, place.effort) + space + note), Message.final(shaped.final)]
    given: list[Message] = []
    for asked, answered in zip(bases, before, strict=False):
        given += [Message.user(asked.question), Message.final(answered.final)]

    def judge(said: Answer) -> bool:
        final = said.final.strip()
        is_told = shape in (_json, _bare_json) or base.is_told(final, shaped.final)
        return not said.calls and shaped.is_shaped(final) and is_told

    return place.drill("instructions", language, [*given, Message.user(base.question)], learned, judge)


SKILLS: dict[str, Skill] = {"instructions": instructions}
