"""Tools in any form to a ToolSpec: OpenAI's dicts, bare ones, Python functions.

Of a function, type hints become JSON Schema and the docstring gives the parameters' descriptions, in Google's style
(`Args:`), numpy's (`Parameters` underlined), reST's (`:param x:`) or Epytext's (`@param x:`).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from collections.abc import Sequence as AbstractSequence
from typing import Any, Literal, NamedTuple, TypeGuard, Union

from harmonium.errors import BadRequest
from harmonium.harmony.messages import ToolSpec

_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_OF_PARAMETERS = ("Args", "Arguments", "Parameters", "Keyword Args", "Keyword Arguments", "Other Parameters")
_SECTION = re.compile(
    rf"^({'|'.join(_OF_PARAMETERS)}|Returns?|Raises|Yields|Examples?|Notes?|See Also|Warns|Warnings?|References)"
    r"(?::[ \t]*$|[ \t]*\n-{3,}[ \t]*$)",
    re.MULTILINE,
)
_GOOGLE = re.compile(r"(?P<indent>\s*)\*{0,2}(?P<names>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)")
_NUMPY = re.compile(r"(?P<indent>\s*)(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?(?P<text>)$")
_FIELD = re.compile(r"^[:@]param\s+(?:[^:]*\s)?(?P<name>\w+):\s*(?P<text>.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_CHOICES = re.compile(r"\s*\(choices:\s*(?P<values>\[.*\])\)\s*$")


def tool_spec(tool: Any, unsaid_strict: bool | None = False) -> ToolSpec:
    """A tool as a ToolSpec: one already, a Python function, or a dict of OpenAI's chat API, of Responses, or bare.

    An object with a `spec` that is a ToolSpec gives that. unsaid_strict: what a dict without `strict`, or with null
    there, means by it: OpenAI's chat API takes it for false, Responses for true as far as the schema allows, which is
    None here. Raises BadRequest for anything else.
    """
    if isinstance(tool, ToolSpec):
        return tool
    if isinstance(spec := getattr(tool, "spec", None), ToolSpec):
        return spec
    if isinstance(tool, Mapping):
        return _from_dict(tool, unsaid_strict)
    if callable(tool) and not isinstance(tool, type):
        return function_spec(tool)
    raise BadRequest(f"A tool is a Python function or a dict with a name and parameters, not {_short(tool)}.")


def _from_dict(tool: Mapping[str, Any], unsaid_strict: bool | None) -> ToolSpec:
    kind = tool.get("type", "function")
    function = tool.get("function", tool)
    if kind != "function" or not isinstance(function, Mapping):
        raise BadRequest(f"A tool of type {kind!r} cannot be offered as a function: {_short(tool)}.")
    name, description = function.get("name"), function.get("description") or ""
    parameters = next((function[key] for key in ("parameters", "input_schema", "inputSchema") if key in function), None)
    if not isinstance(name, str) or not name:
        raise BadRequest(f"A tool needs a name: {_short(tool)}.")
    if not isinstance(description, str) or not (parameters is None or isinstance(parameters, Mapping)):
        raise BadRequest(f"The tool {name!r} needs a text as description and a JSON Schema as parameters.")
    strict = function.get("strict")
    if not isinstance(strict, bool | None):
        raise BadRequest(f"The tool {name!r} says strict: {strict!r}; say true or false, or leave it out.")
    return ToolSpec(name, description, parameters, strict=unsaid_strict if strict is None else strict)


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:77]}..."


def function_spec(function: Callable[..., Any]) -> ToolSpec:
    """What the model is told about a function. Raises BadRequest where a parameter has no name or no JSON form.

    A parameter without a hint may be anything; one without a default is required.
    """
    named = _unwrapped(function)
    name = getattr(named, "__name__", type(named).__name__)
    if not name.isidentifier():
        raise BadRequest(f"A tool needs a name that a call can use, not {name!r}. Use `def` instead of a lambda.")
    try:
        hints = type_hints(function)
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise BadRequest(f"{name} does not say what its parameters are. Wrap it in a function that does.") from error
    except NameError as error:
        raise BadRequest(f"A type hint of {name} cannot be resolved ({error}). Import it at module level.") from error
    summary, described = _read_docstring(inspect.getdoc(named) or "")
    properties: dict[str, Any] = {}
    required = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise BadRequest(f"{name} takes {parameter}, which the model cannot name. Give each parameter a name.")
        described_here = described.get(parameter.name, "")
        try:
            schema = _schema(hints.get(parameter.name, Any), f"{name}'s {parameter.name}")
        except RecursionError:
            raise BadRequest(f"{name}'s {parameter.name} has a type that contains itself. Use dict instead.") from None
        properties[parameter.name] = _completed(schema, described_here, parameter.default)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    if not properties:
        return ToolSpec(name, summary)
    return ToolSpec(name, summary, {"type": "object", "properties": properties, "required": required})


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Of the parameters, by name. Raises NameError for one that cannot be resolved."""
    target = _unwrapped(function)
    return typing.get_type_hints(target if inspect.isroutine(target) else type(target).__call__, include_extras=True)


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a partial calls, which has the name, the words and the hints."""
    return function.func if isinstance(function, functools.partial) else function


def is_named_tuple(base: type) -> TypeGuard[type[NamedTuple]]:
    return issubclass(base, tuple) and hasattr(base, "_fields")


def _completed(schema: dict[str, Any], description: str, default: Any) -> dict[str, Any]:
    """The schema with the docstring's description, its choices, and the default."""
    choices = _CHOICES.search(description)
    if choices:
        try:
            schema = schema | {"enum": json.loads(choices["values"])}
            description = description[: choices.start()]
        except ValueError:
            pass  # not JSON, so it stays part of the description
    if description:
        schema = {"description": description} | schema
    if default is inspect.Parameter.empty or default is None:
        return schema
    plain = default.value if isinstance(default, enum.Enum) else default
    return schema | {"default": plain} if isinstance(plain, (str, int, float, bool, list, dict)) else schema


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text before the first section, and the descriptions by parameter."""
    described = {match["name"]: _one_line(match["text"]) for match in _FIELD.finditer(text)}
    pieces = _SECTION.split(_FIELD.sub("", text))
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if title in _OF_PARAMETERS:
            is_google = re.match(r"\s*\n[ \t]", body)
            described |= _read_arguments(body, _GOOGLE if is_google else _NUMPY)
    return re.split(r"^(?::\w+|@(?:param|type|return|rtype|raise))", pieces[0], maxsplit=1, flags=re.M)[
        0
    ].strip(), described


def _read_arguments(body: str, heading: re.Pattern[str]) -> dict[str, str]:
    """Headings of one indentation, each with its deeper lines."""
    described: dict[str, list[str]] = {}
    names: list[str] = []
    outer = -1
    for line in body.splitlines():
        match = heading.match(line) if line.strip() else None
        if match and outer in (-1, len(match["indent"])):
            names, outer = re.findall(r"\w+", match["names"]), len(match["indent"])
            described |= {name: [match["text"]] for name in names}
        elif line.strip():
            for name in names:
                described[name].append(line)
    return {name: _one_line(" ".join(lines)) for name, lines in described.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _schema(hint: Any, where: str) -> dict[str, Any]:
    """The JSON Schema of a type hint. where: for the error, "f's x"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        notes = [note for note in arguments[1:] if isinstance(note, str)]
        return ({"description": notes[0]} if notes else {}) | _schema(arguments[0], where)
    if hint is Any or hint is inspect.Parameter.empty:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin is Literal:
        return _enum(list(arguments))
    if origin is Union or origin is types.UnionType:
        return _union([_schema(argument, where) for argument in arguments])
    base = origin or hint
    if isinstance(base, type):
        return _class_schema(base, arguments, where)
    raise BadRequest(f"{where} has the type {hint!r}, which has no JSON form. Use str, int, float, bool, list or dict.")


def _class_schema(base: type, arguments: tuple[Any, ...], where: str) -> dict[str, Any]:
    if issubclass(base, enum.Enum):
        return _enum([member.value for member in base])
    if typing.is_typeddict(base):
        hints = typing.get_type_hints(base, include_extras=True)
        is_total = getattr(base, "__total__", True)
        needed = [name for name, hint in hints.items() if _is_required(hint, is_total)]
        return _record(typing.get_type_hints(base), needed, where)
    if dataclasses.is_dataclass(base):
        fields = dataclasses.fields(base)
        missing = dataclasses.MISSING
        required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
        return _record(typing.get_type_hints(base), required, where)
    if is_named_tuple(base):
        hints = dict.fromkeys(base._fields, Any) | typing.get_type_hints(base)
        return _record(hints, [name for name in base._fields if name not in base._field_defaults], where)
    if hasattr(base, "model_json_schema"):
        return dict(base.model_json_schema())
    if issubclass(base, Mapping):
        values = _schema(arguments[1], where) if len(arguments) == 2 else {}
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    if issubclass(base, (AbstractSequence, set, frozenset)) and not issubclass(base, (str, bytes)):
        kinds = [argument for argument in arguments if argument is not Ellipsis]
        items = _union([_schema(kind, where) for kind in kinds]) if kinds else {}
        return {"type": "array"} | ({"items": items} if items else {})
    raise BadRequest(f"{where} has the type {base.__name__}, which has no JSON form. Use a dataclass or a TypedDict.")


def _record(hints: Mapping[str, Any], required: list[str], where: str) -> dict[str, Any]:
    properties = {name: _schema(hint, f"{where}.{name}") for name, hint in hints.items()}
    return {"type": "object", "properties": properties, "required": required}


def _is_required(hint: Any, is_total: bool) -> bool:
    """Of a TypedDict's key. Its own record of them is wrong where annotations are postponed."""
    origin = typing.get_origin(hint)
    return origin is typing.Required or (is_total and origin is not typing.NotRequired)


def _enum(values: list[Any]) -> dict[str, Any]:
    kinds = list(dict.fromkeys(_SCALARS.get(type(value), "string") for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    distinct = [schema for n, schema in enumerate(schemas) if schema not in schemas[:n]]
    if len(distinct) == 1:
        return distinct[0]
    if {} in distinct:
        return {}
    if all(set(schema) == {"type"} and schema["type"] in _SCALARS.values() for schema in distinct):
        return {"type": [schema["type"] for schema in distinct]}
    return {"anyOf": distinct}
