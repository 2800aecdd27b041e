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
