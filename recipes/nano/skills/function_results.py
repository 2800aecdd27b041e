"""What tools answer and how it is read: plain texts, numbers with units, lists, JSON objects, lines of fields, errors.

One rule reads them all, so that it also reads the results of functions never seen: an object becomes "key value, key
value", a list its members, a text stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from recipes.nano.drill import Answer
from recipes.nano.skills.function_library import Family
from recipes.nano.skills.function_values import KINDS, Kind

_UNITS = (" km", " kg", " %", " m", " EUR", " points", " minutes", " items", " units", "°C")
_PROBLEMS = (
    *("not found", "timeout", "service unavailable", "permission denied", "invalid argument", "rate limit reached"),
    *("no data", "connection refused", "internal error", "quota exceeded", "unknown id", "not available"),
)
_ODD = ("REMARK", "REMARK", "LINE", "WORD", "CODE")
_REPLIES = {
    "en": "{subject}: {reading}.",
    "fr": "{subject} : {reading}.",
    "de": "{subject}: {reading}.",
    "es": "{subject}: {reading}.",
    "ja": "{subject}: {reading}。",
}
_FAILURES = {
    "en": "No result for {subject}: {reading}.",
    "fr": "Pas de résultat pour {subject} : {reading}.",
    "de": "Kein Ergebnis, {subject}: {reading}.",
    "es": "Sin resultado para {subject}: {reading}.",
    "ja": "{subject}の結果はありません: {reading}。",
}


@dataclass(frozen=True)
class Result:
    """text: what the tool says. reading: how it is read out. values: what a right answer must name."""

    text: str
    reading: str
    values: tuple[str, ...]
    failed: bool = False


def plain(value: Any) -> str:
    """A JSON value as it is read out."""
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _bare(value: Any, text: str | None = None) -> Result:
    parts = value if isinstance(value, list) else [value]
    if text is None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Result(text, plain(value), tuple(plain(part) for part in parts))


def _fields(fields: dict[str, Any], text: str) -> Result:
    reading = ", ".join(f"{key.replace('_', ' ')} {plain(value)}" for key, value in fields.items())
    values: list[str] = []
    for value in fields.values():
        values += [plain(item) for item in value] if isinstance(value, list) else [plain(value)]
    return Result(text, reading, tuple(values))


def _object(random: Random, fields: dict[str, Any]) -> Result:
    luck = random.random()
    if luck < 0.12:
        return _fields(fields, "\n".join(f"{key}: {plain(value)}" for key, value in fields.items()))
    wrapped = {random.choice(("result", "data")): fields} if luck < 0.2 else fields
    return _fields(fields, json.dumps(wrapped, ensure_ascii=False, indent=2 if luck > 0.93 else None))


def _rows(random: Random, family: Family, held_out: bool) -> Result:
    """Two or three objects of the same fields."""
    kinds = [(random.choice(names), kind) for names, kind in family.gives][:2]
    rows = [
        {name: kind.draw(random, held_out, "en").value for name, kind in kinds} for _ in range(random.choice((2, 2, 3)))
    ]
    parts = [_fields(row, "") for row in rows]
    values = tuple(value for part in parts for value in part.values)
    return Result(json.dumps(rows, ensure_ascii=False), "; ".join(part.reading for part in parts), values)


def _drawn(random: Random, family: Family, held_out: bool) -> dict[str, Any]:
    """Some of the family's result fields, the first one more often than not."""
    fields = [(random.choice(names), kind.draw(random, held_out, "en").value) for names, kind in family.gives]
    if len(fields) > 1 and random.random() < 0.4:
        fields = random.sample(fields, random.randint(1, len(fields)))
    return dict(fields)


def failure(random: Random) -> Result:
    """An error, as an object or a text."""
    problem = random.choice(_PROBLEMS)
    if random.random() < 0.6:
        return Result(json.dumps({"error": problem}), problem, (problem,), True)
    return Result(f"Error: {problem}", problem, (problem,), True)


def result_of(random: Random, family: Family, *, held_out: bool) -> Result:
    """A result of one of the family's functions, in one of many shapes."""
    luck = random.random()
    if luck < 0.07:
        return failure(random)
    if luck < 0.27:
        return _bare(KINDS[random.choice(_ODD)].draw(random, held_out, "en").value)
    if luck < 0.32:
        return _rows(random, family, held_out)
    fields = _drawn(random, family, held_out)
    if luck < 0.7:
        return _object(random, fields)
    value = next(iter(fields.values()))
    if isinstance(value, int | float) and not isinstance(value, bool) and random.random() < 0.5:
        return _bare(f"{value}{random.choice(_UNITS)}")
    return _bare(value)


def result_with(random: Random, family: Family, key: str, *, held_out: bool) -> tuple[Result, Any]:
    """A result that has the field whose first name is key, and the field's value."""
    kinds: dict[str, Kind] = {names[0]: kind for names, kind in family.gives}
    value = kinds[key].draw(random, held_out, "en").value
    if random.random() < 0.35:
        return _bare(value), value
    names = next(names for names, _ in family.gives if names[0] == key)
    others = {random.choice(names): kind.draw(random, held_out, "en").value for names, kind in family.gives}
    others = {name: other for name, other in others.items() if name not in names and random.random() < 0.5}
    fields = list({random.choice(names): value, **others}.items())
    random.shuffle(fields)
    return _object(random, dict(fields)), value


def sentence(subject: str, result: Result, language: str) -> str:
    """The answer: what it is about and the result read out, with one full stop."""
    template = (_FAILURES if result.failed else _REPLIES)[language]
    text = template.format(subject=subject, reading=result.reading)
    if result.reading[-1] in ".!?":
        text = text[:-1]
    is_name = re.match(r"\w*(_|[a-z][A-Z]|\d|\W)", text.partition(" ")[0])
    return text if is_name else text[0].upper() + text[1:]


def names_all(values: tuple[str, ...]) -> Callable[[Answer], bool]:
    """A judge that wants every value in the final text, not as a part of a longer word or number."""
    patterns = [re.compile(rf"(?<![\w.]){re.escape(value.rstrip('.!?'))}(?!\w|\.\d)") for value in values]

    def judge(answer: Answer) -> bool:
        return all(pattern.search(answer.final) for pattern in patterns)

    return judge
