"""Python functions, called as a model calls them."""

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest

from harmonium.chat.events import ToolCall
from harmonium.chat.functions import functions_of, run
from harmonium.errors import BadRequest
from harmonium.harmony.messages import ToolSpec


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


@dataclass
class Place:
    name: str
    height: float = 0.0


class Options(TypedDict, total=False):
    days: int


def show(
    text: str = "",
    number: int = 0,
    ratio: float = 0.0,
    flag: bool = False,
    unit: Unit = Unit.CELSIUS,
    mode: Literal["fast", 2] = "fast",
    either: int | str | None = None,
    noted: Annotated[int, "a note"] = 0,
    numbers: list[int] = [],  # noqa: B006 - never changed
    pair: tuple[float, ...] = (),
    places: Mapping[str, Place] | None = None,
    options: Options | None = None,
    anything: Any = None,
) -> str:
    return repr({name: value for name, value in locals().items() if value != show.__defaults__[ORDER.index(name)]})


ORDER = list(show.__annotations__)[:-1]


def called(function: Callable[..., Any], arguments: str) -> tuple[str, bool]:
    result = run(function, ToolCall("c1", "f", arguments))
    assert (result.call_id, result.name) == ("c1", "f")
    return result.text, result.is_error


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ("", {}),
        (
            '{"text": "é", "number": 3, "ratio": 0.5, "flag": true}',
            {"text": "é", "number": 3, "ratio": 0.5, "flag": True},
        ),
        ('{"ratio": 2, "number": 4.0}', {"number": 4, "ratio": 2.0}),
        ("{'text': 'a Python dict', 'flag': True}", {"text": "a Python dict", "flag": True}),
        ('```json\n{"text": "fenced"}\n```', {"text": "fenced"}),
        ('{"unit": "fahrenheit", "mode": 2}', {"unit": Unit.FAHRENHEIT, "mode": 2}),
        ('{"either": "x"}', {"either": "x"}),
        ('{"either": 7}', {"either": 7}),
        ('{"noted": 1, "numbers": [1, 2.0]}', {"noted": 1, "numbers": [1, 2]}),
        ('{"pair": [1, 2.5]}', {"pair": (1.0, 2.5)}),
        ('{"places": {"a": {"name": "Bonn"}}}', {"places": {"a": Place("Bonn")}}),
        ('{"options": {"days": 2}, "anything": [null]}', {"options": {"days": 2}, "anything": [None]}),
    ],
)
def test_arguments_arrive_as_the_hints_say(arguments: str, seen: dict[str, Any]) -> None:
    assert called(show, arguments) == (repr(seen), False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("city: Bonn", "not JSON"),
        ('["Bonn"]', "not a JSON object"),
        ('{"city": "Bonn"}', "unexpected keyword argument 'city'"),
        ('{"text": 5}', "text should be a text, not 5"),
        ('{"number": "5"}', 'number should be a whole number, not "5"'),
        ('{"number": true}', "number should be a whole number, not true"),
        ('{"ratio": null}', "ratio should be a number, not null"),
        ('{"flag": "yes"}', "flag should be true or false"),
        ('{"unit": "kelvin"}', "unit should be one of 'celsius', 'fahrenheit', not \"kelvin\""),
        ('{"mode": "slow"}', "mode should be one of 'fast', 2"),
        ('{"numbers": [1, "x"]}', 'numbers[1] should be a whole number, not "x"'),
        ('{"pair": 3}', "pair should be a list"),
        ('{"places": {"a": {"heigth": 3}}}', "places.a does not fit"),
        ('{"options": {"nights": 3}}', "options should be an object with days"),
    ],
)
def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: str, says: str) -> None:
    text, is_error = called(show, arguments)
    assert is_error and text.startswith("Error: ") and says in text


def test_a_parameter_that_is_missing() -> None:
    def needs(City: str) -> str:
        return City

    assert called(needs, "{}") == (
        "Error: missing a required argument: 'City'. Give each parameter by its name, and no others.",
        True,
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (3.5, "3.5"),
        ({"a": [1, True, "é"]}, '{"a":[1,true,"é"]}'),
        ((Place("Bonn", 60), Unit.CELSIUS), '[{"name":"Bonn","height":60},"celsius"]'),
        ({1}, "[1]"),
        (ToolSpec, f'"{ToolSpec}"'),
    ],
)
def test_values_become_text(value: Any, text: str) -> None:
    assert called(lambda: value, "{}") == (text, False)


def test_what_a_function_raises_is_a_result() -> None:
    def fails() -> str:
        raise LookupError("no such city")

    assert called(fails, "{}") == ("Error: LookupError: no such city", True)


def test_objects_can_be_functions() -> None:
    class Add:
        spec = ToolSpec("add", parameters={"type": "object"})

        def __call__(self, a: int, b: int) -> int:
            return a + b

    add = Add()
    assert functions_of([add, {"name": "other"}, ToolSpec("third")]) == {"add": add}
    assert called(add, '{"a": 2, "b": 3.0}') == ("5", False)


class Spot(NamedTuple):
    lat: float
    label: str = "?"


def test_named_tuples_and_partials() -> None:
    def find(prefix: str, spot: Spot) -> str:
        return f"{prefix} {spot.label} {spot.lat}"

    call = ToolCall("1", "find", '{"spot": {"lat": 1}}')
    assert run(functools.partial(find, "at"), call).text == "at ? 1.0"


def test_async_functions_are_refused() -> None:
    async def later() -> None: ...

    with pytest.raises(BadRequest, match="later is async"):
        functions_of([later])
