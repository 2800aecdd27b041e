"""Functions and dicts become ToolSpecs: hints, defaults, descriptions from the docstring."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import pytest

from harmonium.errors import BadRequest
from harmonium.harmony.messages import ToolSpec
from harmonium.harmony.signature import tool_spec


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str = "Peru"


class Range(TypedDict):
    low: float
    high: NotRequired[float]


def test_a_documented_function() -> None:
    def get_current_weather(location: str, unit: Unit = Unit.CELSIUS, days: int | None = None) -> str:
        """Get the current weather.

        More words.

        Args:
            location: The city and state,
                e.g. San Francisco, CA
            unit (Unit): The unit: one of two.
            days: How many. (choices: [1, 2, 7])

        Returns:
            The weather.
        """
        return f"{location} {unit} {days}"

    assert tool_spec(get_current_weather) == ToolSpec(
        "get_current_weather",
        "Get the current weather.\n\nMore words.",
        {
            "type": "object",
            "properties": {
                "location": {"description": "The city and state, e.g. San Francisco, CA", "type": "string"},
                "unit": {
                    "description": "The unit: one of two.",
                    "type": "string",
                    "enum": ["celsius", "fahrenheit"],
                    "default": "celsius",
                },
                "days": {"description": "How many.", "type": ["integer", "null"], "enum": [1, 2, 7]},
            },
            "required": ["location"],
        },
    )


GOOGLE = """Looks things up.

Slowly.

Args:
    words (str): What to look for:
        several words.
    *rest: unused
    limit: How many.

Keyword Args:
    style: How.

Returns:
    limit: not this
"""
NUMPY = """Looks things up.

Slowly.

Parameters
----------
words : str
    What to look for:
    several words.
limit, least : int, optional
    How many.

Other Parameters
----------------
style
    How.

Returns
-------
limit : int
    not this
"""
REST = """Looks things up.

Slowly.

:param words: What to look for:
    several words.
:type words: str
:param int limit: How many.
:param style: How.
:returns: not this
"""
EPYTEXT = REST.replace(":param int limit", ":param limit").replace("\n:", "\n@")


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST, EPYTEXT], ids=["google", "numpy", "rest", "epytext"])
def test_docstrings_of_every_style(docstring: str) -> None:
    def look(words: str, limit: int, style: str) -> None: ...

    look.__doc__ = docstring
    spec = tool_spec(look)
    assert spec.description == "Looks things up.\n\nSlowly."
    assert spec.parameters is not None
    described = {name: schema.get("description") for name, schema in spec.parameters["properties"].items()}
    assert described == {"words": "What to look for: several words.", "limit": "How many.", "style": "How."}


def test_a_docstring_of_no_style_is_the_description() -> None:
    def look(words: str) -> None:
        """Looks: words and more.

        words : as typed
        Parameters matter.
        """

    assert tool_spec(look).description == "Looks: words and more.\n\nwords : as typed\nParameters matter."


def test_every_kind_of_hint() -> None:
    def f(  # type: ignore[no-untyped-def]
        a: list[int],
        b: dict[str, float],
        c: tuple[str, int],
        d: Literal["x", 1],
        e: Annotated[bool, "yes or no"],
        g: Place,
        h: Range,
        i: list[str] | str,
        j: Any,
        k: Mapping[str, Any],
        m=None,
        *,
        n: list | None = None,  # type: ignore[type-arg]
    ) -> None:
        """:param b: sizes
        :param int c: a pair,
            in order
        """

    spec = tool_spec(f)
    assert spec.description == ""
    assert spec.parameters is not None
    assert spec.parameters["required"] == list("abcdeghijk")
    assert spec.parameters["properties"] == {
        "a": {"type": "array", "items": {"type": "integer"}},
        "b": {"description": "sizes", "type": "object", "additionalProperties": {"type": "number"}},
        "c": {"description": "a pair, in order", "type": "array", "items": {"type": ["string", "integer"]}},
        "d": {"type": ["string", "integer"], "enum": ["x", 1]},
        "e": {"description": "yes or no", "type": "boolean"},
        "g": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
            "required": ["city"],
        },
        "h": {
            "type": "object",
            "properties": {"low": {"type": "number"}, "high": {"type": "number"}},
            "required": ["low"],
        },
        "i": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]},
        "j": {},
        "k": {"type": "object"},
        "m": {},
        "n": {"anyOf": [{"type": "array"}, {"type": "null"}]},
    }


def test_methods_callables_and_coroutines() -> None:
    class Clock:
        async def now(self) -> str:
            """The time."""
            return "12:00"

    assert tool_spec(Clock().now) == ToolSpec("now", "The time.")


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
        {"name": "f", "description": "d", "parameters": {"type": "object"}},
        {"name": "f", "description": "d", "input_schema": {"type": "object"}},
        {"name": "f", "description": "d", "inputSchema": {"type": "object"}},
        ToolSpec("f", "d", {"type": "object"}),
    ],
)
def test_dicts_of_every_shape(tool: Any) -> None:
    assert tool_spec(tool) == ToolSpec("f", "d", {"type": "object"})


@pytest.mark.parametrize("unsaid", [False, True, None])
def test_what_a_dict_means_that_does_not_say_strict(unsaid: bool | None) -> None:
    for said, meant in (({}, unsaid), ({"strict": None}, unsaid), ({"strict": True}, True), ({"strict": False}, False)):
        assert tool_spec({"name": "f", **said}, unsaid_strict=unsaid).strict is meant
        assert tool_spec({"type": "function", "function": {"name": "f", **said}}, unsaid).strict is meant
    assert tool_spec(ToolSpec("f"), unsaid).strict is False, "which does say it"
    assert tool_spec({"name": "f"}).strict is False


class Spot(NamedTuple):
    lat: float
    label: str = ""


def test_a_named_tuple_is_an_object() -> None:
    def find(spot: Spot) -> str:
        """Finds."""
        return f"{spot.label} at {spot.lat}"

    parameters = tool_spec(find).parameters
    assert parameters is not None
    assert parameters["properties"]["spot"] == {
        "type": "object",
        "properties": {"lat": {"type": "number"}, "label": {"type": "string"}},
        "required": ["lat"],
    }


def test_a_partial_is_offered_as_what_it_calls() -> None:
    def scale(size: int, factor: float) -> str:
        """Scales."""
        return f"{size * factor}"

    spec = tool_spec(functools.partial(scale, 2))
    assert (spec.name, spec.description) == ("scale", "Scales.")
    assert spec.parameters == {
        "type": "object",
        "properties": {"factor": {"type": "number"}},
        "required": ["factor"],
    }


def test_an_object_with_a_spec() -> None:
    class Tool:
        spec = ToolSpec("f")

    assert tool_spec(Tool()) == ToolSpec("f")


@dataclass
class Node:
    children: list[Node]


def takes_node(x: Node) -> None: ...
def takes_bytes(x: bytes) -> None: ...
def takes_unknown(x: Unresolvable) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def takes_any_number(*numbers: int) -> None: ...


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (3, "A tool is a Python function or a dict"),
        (Place, "A tool is a Python function or a dict"),
        (lambda x: x, "Use `def`"),
        (takes_node, "takes_node's x has a type that contains itself"),
        (takes_bytes, "takes_bytes's x has the type bytes"),
        (takes_unknown, "cannot be resolved"),
        (max, "max does not say what its parameters are"),
        (takes_any_number, r"takes \*numbers"),
        ({"type": "custom", "name": "f"}, "type 'custom'"),
        ({"type": "function", "function": {}}, "needs a name"),
        ({"name": "f", "parameters": []}, "JSON Schema as parameters"),
    ],
)
def test_what_cannot_be_offered_is_refused(tool: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        tool_spec(tool)
