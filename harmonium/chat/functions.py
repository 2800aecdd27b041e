"""Runs a Python function for a call: arguments from JSON to what its hints say, its value to text.

Whatever goes wrong becomes an error result, worded for the model, which reads it and can try again.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union

from harmonium.chat.events import ToolCall, ToolResult
from harmonium.errors import BadRequest
from harmonium.harmony.convert import read_arguments
from harmonium.harmony.schema import compact_json
from harmonium.harmony.signature import is_named_tuple, tool_spec, type_hints

Function = Callable[..., Any]


def functions_of(tools: Iterable[Any]) -> dict[str, Function]:
    """Those of the tools that can be run, by the name they are declared with. Raises BadRequest for async functions."""
    functions = {tool_spec(tool).name: tool for tool in tools if callable(tool)}
    for name, function in functions.items():
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise BadRequest(f"{name} is async, and chat runs plain functions; wrap it, or pass run_tools=False.")
    return functions


def run(function: Function, call: ToolCall) -> ToolResult:
    """The function's value for the call's arguments, or what the model should know of the failure."""
    try:
        arguments = _fitted(function, read_arguments(call.arguments))
        return ToolResult(call.id, call.name, _text(function(**arguments)))
    except BadRequest as error:
        return ToolResult(call.id, call.name, f"Error: {error}", is_error=True)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the model may act on whatever a function raises
        return ToolResult(call.id, call.name, f"Error: {type(error).__name__}: {error}", is_error=True)


def _text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else compact_json(_plain(value))


def _plain(value: Any) -> Any:
    """Of what JSON knows; what it does not becomes its text."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)


def _fitted(function: Function, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the function's hints have them. Raises BadRequest where they do not fit."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise BadRequest(f"{error}. Give each parameter by its name, and no others.") from None
    hints = type_hints(function)
    return {name: _fit(hints.get(name, Any), value, name) for name, value in arguments.items()}


class _Misfit(BadRequest):
    def __init__(self, where: str, wanted: str, value: Any) -> None:
        super().__init__(f"{where} should be {wanted}, not {compact_json(value)}.")


def _fit(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as a type hint has it: enums, dataclasses and tuples made, everything else as it is."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _fit(arguments[0], value, where)
    if hint is Any or hint is inspect.Parameter.empty:
        return value
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise _Misfit(where, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin is Union or origin is types.UnionType:
        return _fit_any(arguments, value, where)
    if hint in _SCALARS:
        return _fit_scalar(hint, value, where)
    base = origin or hint
    return _fit_class(base, arguments, value, where) if isinstance(base, type) else value


_SCALARS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    None: "null",
    type(None): "null",
}


def _fit_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = type(None) if hint is None else hint
    if type(value) is not wanted:
        raise _Misfit(where, _SCALARS[hint], value)
    return value


def _fit_any(hints: Sequence[Any], value: Any, where: str) -> Any:
    """The first alternative that fits, exact types before numbers that could be converted."""
    exact = [hint for hint in hints if hint is type(value)]
    errors = []
    for hint in (*exact, *hints):
        try:
            return _fit(hint, value, where)
        except BadRequest as error:
            errors.append(error)
    raise errors[0]


def _fit_class(base: type, arguments: Sequence[Any], value: Any, where: str) -> Any:
    if issubclass(base, enum.Enum):
        choices = {member.value: member for member in base}
        if not isinstance(value, typing.Hashable) or value not in choices:
            raise _Misfit(where, f"one of {', '.join(map(repr, choices))}", value)
        return choices[value]
    if hasattr(base, "model_validate"):
        try:
            return base.model_validate(value)
        except ValueError as error:
            raise BadRequest(f"{where} does not fit: {error}") from None
    if typing.is_typeddict(base) or dataclasses.is_dataclass(base) or is_named_tuple(base):
        return _fit_record(base, value, where)
    if issubclass(base, Mapping):
        if not isinstance(value, dict):
            raise _Misfit(where, "an object", value)
        inner = arguments[1] if len(arguments) == 2 else Any
        return {key: _fit(inner, item, f"{where}.{key}") for key, item in value.items()}
    if not issubclass(base, (Sequence, set, frozenset)):
        return value
    if not isinstance(value, list):
        raise _Misfit(where, "a list", value)
    kinds = [argument for argument in arguments if argument is not Ellipsis]
    inner = Union[tuple(kinds)] if kinds else Any  # noqa: UP007 - made at run time
    items = [_fit(inner, item, f"{where}[{n}]") for n, item in enumerate(value)]
    return base(items) if base in (tuple, set, frozenset) else items


def _fit_record(base: Any, value: Any, where: str) -> Any:
    """A TypedDict, a dataclass or a named tuple."""
    if not isinstance(value, dict):
        raise _Misfit(where, "an object", value)
    hints = typing.get_type_hints(base)
    fitted = {name: _fit(hints.get(name, Any), item, f"{where}.{name}") for name, item in value.items()}
    if typing.is_typeddict(base):
        missing, unknown = base.__required_keys__ - fitted.keys(), fitted.keys() - hints.keys()
        if missing or unknown:
            raise _Misfit(where, f"an object with {', '.join(sorted(hints))}", value)
        return fitted
    try:
        return base(**fitted)
    except TypeError as error:
        raise BadRequest(f"{where} does not fit: {error}.") from None
