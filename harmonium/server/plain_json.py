"""JSON in and out: what any client can read, of anything that any client can send.

Python reads more as JSON than JSON has, and writes it too: numbers that are none, halves of surrogate pairs, any depth.
`check` refuses what cannot be said back or stored; `dump` writes halves of characters as escapes.
"""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, model_validator

from harmonium.errors import BadRequest, at_fault

DEEPEST = 64
_as_it_is = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_escaped = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    try:
        return _as_it_is.encode(value).encode()
    except UnicodeEncodeError:
        return _escaped.encode(value).encode()


def check(value: Any, depth: int = DEEPEST) -> None:
    """Raises BadRequest for Infinity and NaN, and for what is nested too deeply."""
    if depth == 0:
        raise BadRequest(f"The body is nested more than {DEEPEST} levels deep; send something flatter.")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadRequest(f"The body has a {value}, which JSON does not have; send a number.")
    elif isinstance(value, dict):
        for inner in value.values():
            check(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            check(inner, depth - 1)


def is_same(one: Any, other: Any) -> bool:
    """Do two JSON values, or texts of them, say the same? Clients write anew what they have read: with other spaces,
    and numbers as JavaScript has them, all of them doubles. What is no JSON is the same where it is written alike.
    """
    return _is_same(_value(one), _value(other))


def _value(said: Any) -> Any:
    if not isinstance(said, str):
        return said
    try:
        return json.loads(said or "{}")  # a call without arguments
    except (ValueError, RecursionError):
        return said


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if _is_number(one) and _is_number(other):
        return one == other or _double(one) == _double(other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


class Json(JSONResponse):
    """A response that `dump` writes."""

    def render(self, content: Any) -> bytes:
        return dump(content)


class Body(BaseModel):
    """A request's body, checked; unknown keys are kept. null is the same as leaving a field out."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        for name, inner in value.items() if isinstance(value, dict) else ():
            with at_fault(str(name)):
                check(inner, DEEPEST - 1)
        return value
