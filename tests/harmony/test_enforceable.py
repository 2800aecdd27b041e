"""Schemas as OpenAPI and pydantic write them hold an answer to what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, FilePath, SecretStr

from harmonium.errors import BadRequest
from harmonium.harmony.enforceable import enforceable
from harmonium.harmony.grammar import Compiler, Grammar
from harmonium.harmony.vocabulary import Vocabulary

Is = Callable[[Grammar, str], bool]
TEXT: dict[str, Any] = {"type": "string"}


@pytest.fixture(scope="module")
def is_valid(nano: Path) -> Is:
    vocabulary = Vocabulary.from_file(nano / "tokenizer.json")
    compiler = Compiler(vocabulary, vocabulary.size)

    def is_body(grammar: Grammar, text: str) -> bool:
        matcher = compiler.compile(grammar)()
        try:
            for id_ in vocabulary.encode(text):
                matcher.accept(id_)
        except BadRequest:
            return False
        return matcher.can_end()

    return is_body


NULLABLE: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"type": "string"}, ['"a"', "null"], ["1"]),
    ({"type": ["string", "integer"], "maxLength": 1}, ['"a"', "1", "null"], ['"ab"']),
    ({"type": "string", "enum": ["a"]}, ['"a"', "null"], ['"b"']),
    ({"const": 1}, ["1", "null"], ["2"]),
    ({"$ref": "#/$defs/x"}, ['"a"', "null"], ["1"]),
    ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, ['"a"', "null"], ['"ab"']),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, ['"a"', "1", "null"], ["true"]),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, ['"a"', "1", "null"], ["true"]),
    ({"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}, ['{"b":1}', "null"], ["{}"]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), NULLABLE, ids=lambda value: str(value)[:40])
def test_nullable_allows_null(schema: dict[str, Any], good: list[str], bad: list[str], is_valid: Is) -> None:
    definitions = {"$defs": {"x": TEXT}}
    whole = Grammar.json_schema({**schema, **definitions, "nullable": True})
    items = {"properties": {"a": {**schema, "nullable": True}}, "required": ["a"], **definitions, "type": "object"}
    inside = Grammar.json_schema({**items, "additionalProperties": False})
    never = Grammar.json_schema({**schema, **definitions, "nullable": False})
    for text in good:
        assert is_valid(whole, text) and is_valid(inside, f'{{"a":{text}}}')
    for text in bad:
        assert not is_valid(whole, text) and not is_valid(inside, f'{{"a":{text}}}')
    assert not is_valid(never, "null")


def test_keywords_that_are_names_or_values_stay() -> None:
    schema = {
        "type": "object",
        "properties": {"nullable": {"type": "integer"}, "format": {"enum": [{"nullable": True, "format": "path"}]}},
        "default": {"nullable": True},
    }
    assert enforceable(schema) == schema


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int | None = None


class Dog(BaseModel):
    kind: Literal["dog"]
    at: FilePath
    secret: SecretStr
    tag: UUID
    data: bytes
    price: Decimal


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def test_what_pydantic_says_is_enforced(is_valid: Is) -> None:
    owner = Grammar.json_schema(Owner.model_json_schema())
    assert is_valid(owner, '{"pet":{"kind":"cat","lives":null}}') and not is_valid(owner, '{"pet":{"kind":"cow"}}')
    dog = '"kind":"dog","at":"x","secret":"s","tag":"0c5f7f3e-8f0b-4b1c-9c60-0123456789ab","data":"d","price":"1.5"'
    assert is_valid(owner, f'{{"pet":{{{dog}}}}}')
    price = Grammar.json_schema({"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"})
    for number in ("1.5", "-.5", "7", "+00.10"):
        assert is_valid(price, f'"{number}"')
    for text in (".", "", "-", "a", "1.5a"):
        assert not is_valid(price, f'"{text}"')


def test_one_of_needs_variants_that_exclude_one_another(is_valid: Is) -> None:
    definitions = {"$defs": {"x": TEXT, "y": {"type": "integer", "nullable": True}}}
    for variants, text in (
        ([{"const": 1}, {"const": 2}], "2"),
        ([{"$ref": "#/$defs/x"}, {"type": "null"}], "null"),
        ([{"enum": ["a", 1]}, {"enum": ["b"]}, {"type": "object"}], "1"),
    ):
        assert is_valid(Grammar.json_schema({"oneOf": variants, **definitions}), text)
    many = [{"properties": {"kind": {"const": n}}, "required": ["kind"], "type": "object"} for n in range(500)]
    assert is_valid(Grammar.json_schema({"oneOf": many}), '{"kind":499}')
    assert is_valid(Grammar.json_schema({"oneOf": [{"const": n} for n in range(500)]}), "499")
    for overlapping in (
        [*many, many[0]],
        [*many, {"type": "object", "properties": {"kind": {"const": [1]}}, "required": ["kind"]}],
        [{"type": "number"}, {"type": "integer"}],
        [{"$ref": "#/$defs/y"}, {"type": "null"}],
        [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}],
    ):
        with pytest.raises(BadRequest, match='write anyOf, or say "strict": false'):
            is_valid(Grammar.json_schema({"oneOf": overlapping, **definitions}), "1")


def test_objects_of_very_many_properties(is_valid: Is) -> None:
    fields = {f"p{n}": {"type": "integer"} for n in range(1000)}
    for required in ([], [*fields][:500]):
        grammar = Grammar.json_schema({"type": "object", "properties": fields, "required": required})
        said = dict.fromkeys([*required, "p997", "p999"], 1)
        assert is_valid(grammar, json.dumps(said))


@pytest.mark.parametrize(
    "odd",
    [
        {"properties": []},
        {"required": [["a"]]},
        {"required": "a"},
        {"properties": {"a": 1}, "required": ["a"]},
        {"enum": {}},
        {"const": {"a": [1]}},
        {"nullable": 1},
        {"type": [1]},
        {"$ref": "#/$defs/%"},
        5,
    ],
    ids=str,
)
def test_variants_that_are_no_schemas_are_refused(odd: Any, is_valid: Is) -> None:
    whole = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    for one in (odd, {"type": "object", **odd} if isinstance(odd, dict) else odd):
        with pytest.raises(BadRequest):
            is_valid(Grammar.json_schema({"oneOf": [whole, one, whole, one]}), "{}")


UNENFORCEABLE: list[tuple[dict[str, Any], str]] = [
    ({"type": "array", "uniqueItems": True, "items": {"type": "integer"}}, "uniqueItems cannot be enforced"),
    ({"type": "array", "items": {"type": "string", "pattern": "^(?=a)b"}}, r"pattern '\^\(\?=a\)b' .*look-around"),
    ({"type": "array", "not": {"type": "string"}}, "not cannot be enforced"),
    ({"type": "array", "items": {"oneOf": [{"type": "number"}, {"type": "integer"}]}}, "do not exclude one another"),
    ({"type": ["array", "object"], "patternProperties": {"(?=a)": {}}}, "look-around"),
]


@pytest.mark.parametrize(("schema", "says"), UNENFORCEABLE)
def test_what_cannot_be_enforced_is_refused_only_when_strict(schema: dict[str, Any], says: str, is_valid: Is) -> None:
    asked: dict[str, Any] = {"name": "x", "schema": schema}
    with pytest.raises(BadRequest, match=f'{says}.*"strict": false') as refused:
        strict = Grammar.of_response_format({"type": "json_schema", "json_schema": {**asked, "strict": True}})
        assert strict is not None and is_valid(strict, "[]")
    assert "coerce" not in str(refused.value)
    for given in ({"json_schema": {**asked, "strict": False}}, {**asked, "strict": False}):
        loose = Grammar.of_response_format({"type": "json_schema", **given})
        assert loose is not None and is_valid(loose, "[]") and not is_valid(loose, '"a"')


def test_unknown_formats_are_notes(is_valid: Is) -> None:
    for name in ("path", "binary", "password", "uuid4", "what ever"):
        assert is_valid(Grammar.json_schema({**TEXT, "format": name, "contentEncoding": "base64"}), '"a"')
    assert not is_valid(Grammar.json_schema({**TEXT, "format": "date"}), '"a"')


def _requiring(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    "schema",
    [
        _requiring(a={"$ref": "#"}),
        {"$defs": {"N": {"$ref": "#/$defs/N"}}, "$ref": "#/$defs/N"},
        {"$defs": {"N": _requiring(n={"allOf": [{"$ref": "#/$defs/N"}]})}, **_requiring(a={"$ref": "#/$defs/N"})},
        _requiring(a={"type": "array", "minItems": 1, "items": {"$ref": "#"}}),
        _requiring(a={"anyOf": [{"$ref": "#"}, _requiring(b={"$ref": "#"})]}),
    ],
    ids=str,
)
def test_a_schema_without_a_finite_value_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"ever ends.*optional"):
        enforceable(schema)


@pytest.mark.parametrize(
    "way_out",
    [
        {"nullable": True, "allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, TEXT]},
        {"type": "array", "items": {"$ref": "#"}},
    ],
    ids=str,
)
def test_recursion_that_can_end_is_not_refused(way_out: dict[str, Any]) -> None:
    enforceable(_requiring(a=way_out))


@pytest.mark.parametrize("k", [4, 12])
def test_variants_that_recurse_into_each_other_are_compared_a_bounded_number_of_times(k: int) -> None:
    """Eight deep with k ways at each step is k ** 8; this ends at once or not at all."""
    nested = {name: _requiring(**{f"p{n}": {"$ref": f"#/$defs/{name}"} for n in range(k)}) for name in "AB"}
    variants = [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]
    schema = {"$defs": nested, "properties": {"x": {"oneOf": variants}}}
    assert enforceable(schema)["properties"]["x"] == {"oneOf": variants}


def test_components_are_translated_as_definitions_are(is_valid: Is) -> None:
    shapes = {"X": {"type": "string", "nullable": True}, "Y": {"oneOf": [{"const": "a"}, {"const": "b"}]}}
    properties = {"a": {"$ref": "#/components/schemas/X"}, "b": {"$ref": "#/components/schemas/Y"}}
    grammar = Grammar.json_schema({"components": {"schemas": shapes}, **_requiring(**properties)})
    assert is_valid(grammar, '{"a":null,"b":"a"}')
    assert not is_valid(grammar, '{"a":null,"b":"c"}')
