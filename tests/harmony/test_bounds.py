"""What is allowed of bounded numbers is valid, and what is plainly within the bounds is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harmonium.errors import BadRequest
from harmonium.harmony.enforceable import enforceable
from harmonium.harmony.grammar import Compiler, Grammar
from harmonium.harmony.vocabulary import Vocabulary

BOUNDS = st.one_of(
    st.sampled_from([0, 1, -1, 0.5, -0.5, 0.25, 1.5, 1e-6, -1e-6, 10, 99.5, 2**53, 2**53 + 1, 2**53 + 3, 2**60 + 1]),
    st.integers(-(10**17), 10**17),
    st.decimals(-100, 100, places=3).map(float),
)
NAMES = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


@pytest.fixture(scope="module")
def nano_vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


@pytest.fixture(scope="module")
def compiler(nano_vocabulary: Vocabulary) -> Compiler:
    return Compiler(nano_vocabulary, nano_vocabulary.size)


def is_allowed(grammar: Grammar, text: str, compiler: Compiler, vocabulary: Vocabulary) -> bool:
    matcher = compiler.compile(grammar)()
    try:
        for id_ in vocabulary.encode(text):
            matcher.accept(id_)
    except BadRequest:
        return False
    return matcher.can_end()


@st.composite
def bounded(draw: st.DrawFn) -> dict[str, Any]:
    """A number with one or two bounds, in one schema or in two that hold at once."""
    lower, upper = draw(BOUNDS), draw(BOUNDS)
    if lower > upper:
        lower, upper = upper, lower
    below = {draw(st.sampled_from(NAMES[:2])): lower} if draw(st.booleans()) else {}
    above = {draw(st.sampled_from(NAMES[2:])): upper}
    kind = draw(st.sampled_from(["number", "integer"]))
    if draw(st.booleans()):
        return {"type": kind, **below, **above}
    return {"allOf": [{"type": kind, **below}, {"type": kind, **above}]}


def near(schema: dict[str, Any]) -> list[str]:
    """Numbers at the bounds, beside them and between them, as JSON."""
    bounds = [value for part in [schema, *schema.get("allOf", ())] for key, value in part.items() if key in NAMES]
    whole = [int(bound) + step for bound in bounds for step in (-2, -1, 0, 1, 2)]
    middle = sum(bounds) / len(bounds)
    texts = [str(number) for number in (*whole, int(middle))]
    return [*texts, *(f"{number}.0" for number in whole), *(f"{number:.3f}" for number in (*bounds, middle)), "-0"]


@settings(max_examples=60)
@given(schema=bounded())
def test_what_is_allowed_is_within_the_bounds(
    schema: dict[str, Any], compiler: Compiler, nano_vocabulary: Vocabulary
) -> None:
    validator = Draft202012Validator(schema)
    try:
        grammar = Grammar.json_schema(schema)
        compiler.compile(grammar)
    except BadRequest:
        return
    for text in near(schema):
        if is_allowed(grammar, text, compiler, nano_vocabulary):
            assert validator.is_valid(json.loads(text)), text


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"exclusiveMinimum": 0, "maximum": 0.5}, ["0.5", "0.1", "0.000001"], ["0", "0.0", "-0", "0.6"]),
        ({"exclusiveMaximum": -1, "minimum": -1.5}, ["-1.5", "-1.1"], ["-1", "-1.0"]),
        ({"type": ["integer", "number"], "exclusiveMinimum": 0, "maximum": 0.5}, ["0.5"], ["0"]),
        ({"allOf": [{"exclusiveMinimum": 0}, {"maximum": 0.5}]}, ["0.5"], ["0"]),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1e-10}, ["0.00000000006"], ["0"]),
        ({"allOf": [{}, {"exclusiveMaximum": 90071993}]}, ["90071992", "90071992.5"], ["90071993", "90071993.0"]),
        ({"type": "integer", "exclusiveMinimum": 2**53}, [str(2**53 + 2), str(2**60)], [str(2**53)]),
        ({"type": "integer", "minimum": 2**53 + 1}, [str(2**53 + 2), str(2**60)], [str(2**53)]),
        ({"type": "integer", "maximum": 2**63 - 1}, [str(2**63 - 1), "-1"], [str(2**63)]),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**64}, [str(2**62), "-1"], [str(2**64 + 1)]),
        ({"maximum": 1e30}, [str(2**53), "-1"], ["2" + "0" * 30]),
    ],
    ids=str,
)
def test_bounds(
    schema: dict[str, Any], good: list[str], bad: list[str], compiler: Compiler, nano_vocabulary: Vocabulary
) -> None:
    grammar = Grammar.json_schema({"type": "number", **schema})
    assert [text for text in good if not is_allowed(grammar, text, compiler, nano_vocabulary)] == []
    assert [text for text in bad if is_allowed(grammar, text, compiler, nano_vocabulary)] == []


def test_what_cannot_be_told_apart_is_refused_unless_it_may_be_left_out() -> None:
    for schema in ({"type": "number", "minimum": 1e30}, {"type": "integer", "maximum": -(10**18)}):
        with pytest.raises(BadRequest, match=r"cannot be enforced.*strict"):
            enforceable(schema)
        assert enforceable(schema, is_strict=False) == {"type": schema["type"]}


def test_ordinary_bounds_stay_as_they_are() -> None:
    schema = {"type": "integer", "exclusiveMinimum": 0, "maximum": 10}
    assert enforceable(schema) == schema
    schema = {"type": "number", "minimum": -90, "maximum": 90, "exclusiveMinimum": -90.5}
    assert enforceable(schema) == schema
