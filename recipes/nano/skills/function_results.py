"""What tools answer and how it is read: plain texts, numbers with units, lists, JSON objects, lines of fields, errors.

One rule reads them all, so that it also reads the results of functions never seen: an object becomes "key value, key
value", a list its members, a text stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from recipes.nano.drill import Answer
from recipes.nano.skills.function_library import Family
from recipes.nano.skills.function_values import KINDS, Kind

_OUTER = ("details", "more", "info", "extra", "meta", "current", "today", "values", "attributes")
_UNITS = (
    " km",
    " kg",
    " %",
    " m",
    " EUR",
    " euros",
    " degrees",
    " dollars",
    " points",
    " minutes",
    " items",
    " units",
    "°C",
)
_PROBLEMS = (
    *("city not found", "product not found", "HTTP 404", "HTTP 500", "no result", "try again later"),
    *("not found", "timeout", "service unavailable", "permission denied", "invalid argument", "rate limit reached"),
    *("no data", "connection refused", "internal error", "quota exceeded", "unknown id", "not available"),
)
_LATE_PROBLEMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{} not found", ("WORD", "CITY", "PERSON", "CODE")),
    ("unknown {}", ("WORD", "CITY", "CODE")),
    ("no such {}", ("WORD",)),
    ("could not reach {}", ("URL",)),
    ("HTTP {}", ("CODE",)),
    ("no data for {}", ("CITY", "THING")),
    ("city not found: {}", ("CITY",)),
    ("KeyError: '{}'", ("WORD", "CITY")),
    ("ValueError: {}", ("LINE", "WORD")),
    ("{}", ("LINE", "REMARK")),
)
"""Errors with something of the moment in them: a wording, and the kinds of what stands in it."""
_EMPTY = ("", "", "{}", "[]", "null", "None", '""')
_ODD = ("REMARK", "REMARK", "LINE", "WORD", "CODE", "READING", "READING", "READING")
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
_NOTHING = {
    "en": "No result for {subject}.",
    "fr": "Pas de résultat pour {subject}.",
    "de": "Kein Ergebnis, {subject}.",
    "es": "Sin resultado para {subject}.",
    "ja": "{subject}の結果はありません。",
}


@dataclass(frozen=True)
class Result:
    """text: what the tool says. reading: how it is read out, "" where it says nothing. values: what a right answer
    must name."""

    text: str
    reading: str
    values: tuple[str, ...]
    failed: bool = False


def plain(value: Any) -> str:
    """A JSON value as it is read out."""
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {plain(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _bare(value: Any, text: str | None = None) -> Result:
    parts = value if isinstance(value, list) else [value]
    if text is None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Result(text, plain(value), tuple(plain(part) for part in parts))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [plain(value)]


def _fields(fields: dict[str, Any], text: str) -> Result:
    return Result(text, plain(fields), tuple(_leaves(fields)))


def _json(random: Random, value: Any) -> str:
    """JSON as programs write it: with spaces, as often without, now and then over several lines."""
    luck = random.random()
    if luck < 0.45:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False, indent=2 if luck > 0.93 else None)


def _object(random: Random, fields: dict[str, Any]) -> Result:
    luck = random.random()
    if luck < 0.12:
        return _fields(fields, "\n".join(f"{key}: {plain(value)}" for key, value in fields.items()))
    if luck < 0.2:
        return _fields(fields, _json(random, {random.choice(("result", "data")): fields}))
    if luck < 0.28 and len(fields) > 1:
        (first, value), *others = fields.items()
        fields = {first: value, random.choice(_OUTER): dict(others)}
    return _fields(fields, _json(random, fields))


def _rows(random: Random, family: Family, held_out: bool) -> Result:
    """Two or three objects of the same fields."""
    kinds = [(random.choice(names), kind) for names, kind in family.gives][:2]
    rows = [
        {name: kind.draw(random, held_out, "en").value for name, kind in kinds} for _ in range(random.choice((2, 2, 3)))
    ]
    parts = [_fields(row, "") for row in rows]
    values = tuple(value for part in parts for value in part.values)
    return Result(_json(random, rows), "; ".join(part.reading for part in parts), values)


def _drawn(random: Random, family: Family, held_out: bool) -> dict[str, Any]:
    """Some of the family's result fields, the first one more often than not."""
    fields = [(random.choice(names), kind.draw(random, held_out, "en").value) for names, kind in family.gives]
    if len(fields) > 1 and random.random() < 0.4:
        fields = random.sample(fields, random.randint(1, len(fields)))
    return dict(fields)


def failure(random: Random, *, held_out: bool) -> Result:
    """An error, as an object or a text."""
    problem = random.choice(_PROBLEMS)
    if random.random() < 0.6:
        wording, kinds = random.choice(_LATE_PROBLEMS)
        problem = wording.format(KINDS[random.choice(kinds)].draw(random, held_out, "en").value)
    luck = random.random()
    if luck < 0.55:
        start = random.choice(("Error: ", "Error: ", "Error: ", "error: ", "ERROR: ", "Failed: ", "The call failed: "))
        return Result(start + problem, problem, (problem,), True)
    fields: dict[str, Any] = {"error": problem}
    if luck < 0.7:
        fields = {"status": random.choice(("error", "failed")), random.choice(("message", "error")): problem}
    elif luck < 0.76:
        fields = {"error": {"message": problem}}
    return Result(_json(random, fields), problem, (problem,), True)


def result_of(random: Random, family: Family, *, held_out: bool) -> Result:
    """A result of one of the family's functions, in one of many shapes."""
    luck = random.random()
    if luck < 0.08:
        return failure(random, held_out=held_out)
    if luck < 0.1:
        return Result(random.choice(_EMPTY), "", (), True)
    if luck < 0.3:
        return _bare(KINDS[random.choice(_ODD)].draw(random, held_out, "en").value)
    if luck < 0.35:
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
    failures = _FAILURES if result.reading else _NOTHING
    template = (failures if result.failed else _REPLIES)[language]
    text = template.format(subject=subject, reading=result.reading)
    if result.reading.endswith((".", "!", "?")):
        text = text[:-1]
    is_name = re.match(r"\w*(_|[a-z][A-Z]|\d|\W)", text.partition(" ")[0])
    return text if is_name else text[0].upper() + text[1:]


def names_all(values: tuple[str, ...]) -> Callable[[Answer], bool]:
    """A judge that wants every value in the final text, not as a part of a longer word or number."""

    def judge(answer: Answer) -> bool:
        return all(
            re.search(rf"(?<![\w.]){re.escape(value.rstrip('.!?'))}(?!\w|\.\d)", answer.final) for value in values
        )

    return judge


def tells(results: Sequence[Result], final: str) -> Callable[[Answer], bool]:
    """A judge that wants all that the results say; where one says nothing, this very answer."""
    if not all(result.reading for result in results):
        return lambda answer: answer.final.strip() == final
    return names_all(tuple(value for result in results for value in result.values))
