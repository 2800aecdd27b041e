"""The body of a request as a value: JSON, bounded before anything else looks at it.

Whatever is done with a body is done with each of its values, so there may be only so many. Numbers in lists cost
little, and ids of prompts come by the hundred thousand: they are not counted here. Large bodies are read in a thread;
the parser lets nobody else run meanwhile, for a tenth of a second or two at most (BOUNDS in calls.py).
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import Field

from harmonium.errors import TooLarge

LARGE = 256 << 10
"""Bytes from which a body is read in a thread."""
MOST_PARTS = 100_000
"""Values of a body, without numbers in lists."""
MOST_KEYS = 10_000
"""Of one object."""

Value = TypeVar("Value")
Items = Annotated[list[Value], Field(fail_fast=True)]
"""A list of which the first item that is wrong is told, not each of half a million."""


class BoundedRequest(Request):
    """A request whose body is read with these bounds."""

    async def json(self) -> Any:
        """Raises JSONDecodeError, and TooLarge for what has too many parts."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = await asyncio.to_thread(read, body) if len(body) > LARGE else read(body)
        return self._json


def read(body: bytes) -> Any:
    """The value. Raises JSONDecodeError, and TooLarge for what has too many parts."""
    value = json.loads(body)
    n_parts, left = 0, [value] if isinstance(value, (dict, list)) else []
    while left:
        one = left.pop()
        if isinstance(one, dict):
            inside = list(one.values())
            if len(inside) > MOST_KEYS:
                raise TooLarge(f"The body has an object of {len(inside):,} keys; send {MOST_KEYS:,} at most.")
        else:
            inside = [inner for inner in one if not isinstance(inner, (int, float))]
        n_parts += len(inside)
        if n_parts > MOST_PARTS:
            raise TooLarge(f"The body has more than {MOST_PARTS:,} values besides lists of numbers; send fewer.")
        left += [inner for inner in inside if isinstance(inner, (dict, list))]
    return value
