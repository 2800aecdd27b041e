"""Fields of what a server sends, as OpenAI's API has them: absent or null ones are empty, other kinds are a failure.

A server that is nearly compatible is told by name where it is not, instead of failing somewhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from harmonium.errors import RequestFailed

Kind = TypeVar("Kind")


def text_in(data: Mapping[str, Any], key: str) -> str:
    return _in(data, key, str, "")


def count_in(data: Mapping[str, Any], key: str) -> int:
    return _in(data, key, int, 0)


def object_in(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _in(data, key, dict, {})


def objects_in(data: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """Raises RequestFailed for a list of anything else, too."""
    found = _in(data, key, list, [])
    for one in found:
        if not isinstance(one, dict):
            raise _failure(key, found)
    return found


def _in(data: Mapping[str, Any], key: str, kind: type[Kind], empty: Kind) -> Kind:
    value = data.get(key)
    if value is None:
        return empty
    if not isinstance(value, kind):
        raise _failure(key, value)
    return value


def _failure(key: str, value: Any) -> RequestFailed:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 100 else f"{shown[:99]}…"
    return RequestFailed(f"The server's answer is not what OpenAI's API has: {key} is {shown}. Try the other --api.")
