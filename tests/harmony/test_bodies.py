"""Whatever a schema says, a body under it is valid, as a validator that knows nothing of ours sees it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harmonium.errors import BadRequest
from harmonium.harmony.grammar import Compiler, Grammar, Matcher
from harmonium.harmony.vocabulary import Vocabulary

SHORT, LONG = 200, 400
"""Tokens after which a body ends where it may, and at which it is given up."""
CLOSERS = {b'"', b"}", b"]", b'",', b'"}'}
VALUES = st.sampled_from(["a", "b c", "é", 1, -2.5, None, True, [1], {"x": 1}, [], {}])
NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "minimum": st.integers(-20, 5),
    "maximum": st.integers(5, 300),
    "exclusiveMinimum": st.integers(-5, 3),
    "multipleOf": st.sampled_from([1, 2, 5, 0.5]),
}
PATTERNS = st.sampled_from(
    ["^[a-c]{1,4}$", "^x", "y$", "[0-9]{2}", "^(ab|cd)+$", r"^\d{3}-\d{2}$", "^[a-z_][a-z0-9_]*$"]
)


def described(type_: Any, **keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type_)}, optional=keywords)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(st.sampled_from(["a", "b", "c d", "é"]), inner, max_size=4))
    required = draw(st.lists(st.sampled_from([*properties]), unique=True)) if properties else []
    others = draw(st.just({}) | st.fixed_dictionaries({"additionalProperties": st.just(False) | inner}))
    return {"type": "object", "properties": properties, "required": required, **others}


def larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    lists = {"minItems": st.integers(0, 2), "maxItems": st.integers(2, 4)}
    pairs = st.lists(inner, min_size=2, max_size=2)
    return st.one_of(
        objects(inner),
        st.builds(lambda items, limits: {**limits, "items": items}, inner, described("array", **lists)),
        pairs.map(lambda pair: {"type": "array", "prefixItems": pair, "items": False, "minItems": 2}),
        *(st.lists(inner, min_size=1, max_size=3).map(lambda some, key=key: {key: some}) for key in ("anyOf", "oneOf")),
    )


SCHEMAS = st.recursive(
    st.one_of(
        described("string", minLength=st.integers(0, 3), maxLength=st.integers(3, 8)),
        described("string", pattern=PATTERNS, maxLength=st.just(12)),
        described("integer", **NUMBERS),
        described("number", **NUMBERS),
        described(["string", "null"], maxLength=st.integers(0, 4)),
        st.lists(VALUES, min_size=1, max_size=4).map(lambda some: {"enum": some}),
        VALUES.map(lambda value: {"const": value}),
        st.integers(1, 50).map(lambda n: {"allOf": [{"type": "integer", "minimum": 0}, {"maximum": n}]}),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}]),
    ),
    larger,
    max_leaves=6,
)


@pytest.fixture(scope="module")
def vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


@pytest.fixture(scope="module")
def compiler(vocabulary: Vocabulary) -> Compiler:
    return Compiler(vocabulary, vocabulary.size)


def body(matcher: Matcher, vocabulary: Vocabulary, random: Random) -> str | None:
    """A random one that is in no haste, and none where it does not end."""
    ids: list[int] = []
    while len(ids) < LONG:
        if matcher.can_end() and (random.random() < 0.5 or len(ids) > SHORT):
            return vocabulary.decode(ids)
        allowed = np.flatnonzero(np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")).tolist()
        if not allowed:
            return vocabulary.decode(ids)
        closing = [id_ for id_ in allowed if vocabulary.token_bytes(id_) in CLOSERS]
        ids.append(random.choice(closing if closing and random.random() < 0.5 else allowed))
        matcher.accept(ids[-1])
    return None


def check(schema: dict[str, Any], seed: int, compiler: Compiler, vocabulary: Vocabulary) -> bool:
    """Says whether there was a body to check."""
    try:
        begin = compiler.compile(Grammar.json_schema(schema))
    except BadRequest:
        return False
    said = body(begin(), vocabulary, Random(seed))
    if said is not None:
        Draft202012Validator(schema).validate(json.loads(said))
    return said is not None


@pytest.mark.parametrize("n", [200, pytest.param(5_000, marks=pytest.mark.deep)])
def test_bodies_are_valid(n: int, compiler: Compiler, vocabulary: Vocabulary) -> None:
    checked: list[bool] = []

    @settings(max_examples=n, deadline=None, suppress_health_check=[*HealthCheck])
    @given(SCHEMAS, st.integers(0, 2**32))
    def run(schema: dict[str, Any], seed: int) -> None:
        checked.append(check(schema, seed, compiler, vocabulary))

    run()
    assert sum(checked) > 0.6 * len(checked), "most are taken and end"
