"""The analysis around function calls, in English: which function, which arguments, what the result says.

One text per case. Low effort names the call alone; medium says what is wanted first and goes through every declared
parameter; high also lists the functions and checks the required parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from harmonium.harmony.messages import Effort
from recipes.nano.skills.function_library import Function, Request
from recipes.nano.skills.function_results import Result


def _listing(request: Request, effort: Effort) -> str:
    """name value for every parameter in the order declared, each value as it stands in the JSON."""
    parts = []
    for name in request.function.names.values():
        if name in request.arguments:
            parts.append(f"{name} {json.dumps(request.arguments[name], ensure_ascii=False)}")
        elif effort is not Effort.LOW:
            parts.append(f"{name} not given")
    return ", ".join(parts) or "no arguments"


def _call(request: Request, effort: Effort) -> str:
    return f"{request.function.spec.name}: {_listing(request, effort)}."


def _in_view(functions: Sequence[Function]) -> str:
    names = ", ".join(function.spec.name for function in functions)
    return f"The function is {names}." if len(functions) == 1 else f"The functions are {names}."


def _check(request: Request) -> str:
    required = request.function.required
    return f"Required: {', '.join(required)}. All given." if required else "Nothing is required."


def single(request: Request, functions: Sequence[Function], effort: Effort) -> str:
    """Before the only call of a turn."""
    if effort is Effort.LOW:
        return _call(request, effort)
    wanted = f"The user wants {request.wants}."
    does = f"{request.function.spec.name} does that: {_listing(request, effort)}."
    if effort is Effort.MEDIUM:
        return f"{wanted} {does}"
    return f"{wanted} {_in_view(functions)} {does} {_check(request)}"


def first_of_two(request: Request, other: Request, functions: Sequence[Function], effort: Effort) -> str:
    """Before the first of two calls."""
    first = f"First {_call(request, effort)}"
    if effort is Effort.LOW:
        return first
    is_same = request.function is other.function
    wanted = f"{request.wants} twice" if is_same else f"{request.wants} and {other.wants}"
    if effort is Effort.MEDIUM:
        return f"The user wants {wanted}. {first}"
    return f"The user wants {wanted}. {_in_view(functions)} {first} {_check(request)}"


def _said(result: Result) -> str:
    if not result.reading:
        return "The result is empty."
    dot = "" if result.reading[-1] in ".!?" else "."
    return f"The call failed: {result.reading}{dot}" if result.failed else f"The result says {result.reading}{dot}"


def second_of_two(request: Request, result: Result, effort: Effort) -> str:
    """After the first result, before the second call."""
    then = f"Next {_call(request, effort)}"
    if effort is Effort.LOW:
        return then
    return f"{_said(result)} {then}" if effort is Effort.MEDIUM else f"{_said(result)} {then} {_check(request)}"


def after(result: Result, request: Request, effort: Effort) -> str:
    """After the last result, before the answer."""
    if effort is Effort.LOW:
        return "I read it out."
    if effort is Effort.MEDIUM:
        return _said(result)
    return f"{_said(result)} It came from {request.function.spec.name}. I tell the user."


def none_fits(functions: Sequence[Function], effort: Effort) -> str:
    """Before the honest answer that no function does what is asked."""
    if effort is Effort.LOW:
        return "No function does that."
    does_not = "It does not do that." if len(functions) == 1 else "None of them does that."
    if effort is Effort.MEDIUM:
        return f"{_in_view(functions)} {does_not}"
    checks = ", ".join(f"{function.spec.name} no" for function in functions)
    return f"{_in_view(functions)} One by one: {checks}. {does_not} I say so honestly."
