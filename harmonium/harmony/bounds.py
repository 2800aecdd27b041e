"""Bounds of numbers, moved to where llguidance holds them to the letter.

It reads a bound as a double, so that one which is none may end up on the wrong side, and lets an exclusive whole bound
pass, spelled without a fraction, where the other bound is less than 1 away, be it in another schema that holds at once.
Moved inwards, what they allow is always valid. What is lost lies within a billionth of an exclusive bound, next to
whole bounds beyond 2**53, or further from zero than 64 bits, or 2**53 where numbers may have fractions.
"""

from __future__ import annotations

import math
from typing import Any

HAIR = 1e-9
"""From an exclusive whole bound to the first number that is allowed; of the bound itself, where that is larger."""
_EXACT = 2**53
_MOST = 2**63 - 1
_TIGHTEST = 10**17
"""Whole numbers have to have llguidance's patterns on both sides of a bound; those of 19 digits have none."""
_SIDES = (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1))


def hold_bounds(told: dict[str, Any], is_integer: bool) -> list[str]:
    """Moves a schema's bounds, in place. is_integer: its numbers are whole. Returns the names of those that leave only
    numbers too far from zero to be told apart; they are taken away.
    """
    beyond = []
    given = {
        name: told[name] for plain, exclusive, _ in _SIDES for name in (plain, exclusive) if _is_number(told, name)
    }
    for plain, exclusive, inwards in _SIDES:
        others = [value for name, value in given.items() if name not in (plain, exclusive)]
        for name in (plain, exclusive):
            bound = given.get(name)
            if bound is None or _is_held(bound, name == exclusive, is_integer):
                continue
            del told[name]
            if bound * inwards > (_TIGHTEST if is_integer else _EXACT):
                beyond.append(name)
                continue
            moved = _moved(bound, inwards, name == exclusive, is_integer, others)
            tightest = max if inwards == 1 else min
            told[plain] = tightest(moved, told[plain]) if _is_number(told, plain) else moved
    return beyond


def _is_number(told: dict[str, Any], name: str) -> bool:
    value = told.get(name)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_held(bound: float, is_exclusive: bool, is_integer: bool) -> bool:
    """To the letter, as it stands."""
    if is_integer:
        return abs(bound) + is_exclusive <= _EXACT  # the first number that is allowed is a double, too
    return abs(bound) <= _EXACT and (not is_exclusive or bound != int(bound))


def _moved(bound: float, inwards: int, is_exclusive: bool, is_integer: bool, others: list[float]) -> float:
    """The bound as an inclusive one."""
    if is_integer:
        if bound * inwards <= -_MOST:
            return _MOST if inwards == -1 else int(math.nextafter(-_MOST, 0))  # which it takes the next double for
        double = float(bound)
        while (double < bound if inwards == 1 else double > bound) or (is_exclusive and double == bound):
            double = math.nextafter(double, math.inf * inwards)
        return int(double)
    if abs(bound) > _EXACT:
        return -_EXACT * inwards
    apart = [abs(other - bound) / 2 for other in others if (other - bound) * inwards > 0]
    moved = bound + min([HAIR * max(1, abs(bound)), *apart]) * inwards
    return moved if moved != bound else math.nextafter(bound, math.inf * inwards)
