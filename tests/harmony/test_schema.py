"""Types are the reference's to the character where it says what the schema says; any schema gives a bounded type."""

from __future__ import annotations

from typing import Any

import openai_harmony as oh
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmonium.errors import BadRequest
from harmonium.harmony.messages import ToolSpec
from harmonium.harmony.namespaces import namespace
from harmonium.harmony.schema import Type, _Writer, compact_json, typescript
from tests.harmony.oracle import reference_type

TEXT = {"type": "string"}
KEYWORDS = (
    *("type", "properties", "required", "items", "prefixItems", "additionalItems", "additionalProperties", "x"),
    *("patternProperties", "oneOf", "anyOf", "allOf", "$ref", "$defs", "enum", "const", "default", "examples"),
    *("nullable", "title", "description"),
)
TREE = {
    "type": "object",
    "properties": {"value": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TEXT,
        {"type": "unheard_of"},
        {"type": ["string", "null"]},
        {"type": []},
        {"type": "array"},
        {"type": "array", "items": True},
        {"type": "string", "enum": []},
        {"type": "string", "enum": ['quo"te', "b", 3, None]},
        {"type": "object", "description": "a\nb"},
        {"type": "object", "properties": {"x": {"oneOf": "no list", "description": "d", "default": 1}}},
        {"type": "object", "properties": {"x": {"oneOf": []}, "y-z": {"title": "t", "examples": ["a"]}}},
        {"oneOf": [TEXT, {"type": "number", "nullable": True, "default": 2, "description": "n"}]},
        {"oneOf": [{"type": "string", "enum": ["a"], "default": "a"}, {"oneOf": [TEXT, {"type": "boolean"}]}]},
    ],
)
def test_same_type_as_the_reference(schema: dict[str, Any], reference: oh.HarmonyEncoding) -> None:
    assert typescript(schema) == reference_type(schema, reference)


@pytest.mark.parametrize(
    "value", [0.1, 1e-4, 1e-5, -1.5e-5, 1.25e-6, 1e15, 1e16, 1.5e22, -0.0, 3, True, None, "é\n\u007f"]
)
def test_defaults_are_written_as_the_reference_writes_them(value: Any, reference: oh.HarmonyEncoding) -> None:
    schema = {"type": "object", "properties": {"x": {"default": [value]}}}
    assert f"// default: [{compact_json(value)}]\n" in reference_type(schema, reference)


def written(schema: Any) -> str:
    """In one line."""
    return " ".join(typescript(schema).split())


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        # As pydantic writes an optional field, an enum, a discriminated union.
        (
            {"anyOf": [TEXT, {"type": "null"}], "default": None, "title": "T"},
            "// T // x?: string | null, // default: null",
        ),
        ({"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"}, 'x?: "red" | "blue", // default: "red"'),
        ({"$ref": "#/$defs/Color"}, '// the color x?: "red" | "blue",'),
        ({"$ref": "#/$defs/Color", "description": "own"}, '// own x?: "red" | "blue",'),
        (
            {"anyOf": [{"type": "string", "description": "ISO"}, {"type": "integer", "description": "seconds"}]},
            "x?: | string // ISO | number // seconds ,",
        ),
        (
            {"oneOf": [{"const": "a", "description": "first"}, {"const": "b"}], "type": "string"},
            'x?: | "a" // first | "b" ,',
        ),
        ({"oneOf": [TEXT], "nullable": True}, "x?: | string | null ,"),
        # As OpenAPI and other tools do.
        ({"type": ["object", "null"], "properties": {"y": TEXT}}, "x?: { y?: string, } | null,"),
        ({"type": ["string", "null"], "enum": ["a", None]}, 'x?: "a" | null,'),
        ({"type": "array", "items": {"type": "string", "nullable": True}}, "x?: (string | null)[],"),
        ({"type": "array", "items": [TEXT, {"type": "null"}]}, "x?: [string, null],"),
        ({"type": "array", "prefixItems": [TEXT], "items": {"type": "number"}}, "x?: [string, ...number[]],"),
        ({"type": "array", "prefixItems": [TEXT], "items": False}, "x?: [string],"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "x?: { [key: string]: number, },"),
        ({"type": "object", "additionalProperties": True}, "x?: { [key: string]: any, },"),
        ({"type": "object", "additionalProperties": False}, "x?: { },"),
        ({"patternProperties": {"^x-": TEXT}}, "x?: { // Keys that match ^x-: [key: string]: string, },"),
        ({"type": "object", "properties": {"a": TEXT}, "anyOf": [{"required": ["a"]}]}, "x?: { a?: string, },"),
        (
            {"type": "object", "properties": {"a": TEXT}, "oneOf": [{"$ref": "#/$defs/Color"}]},
            'x?: { a?: string, } & ("red" | "blue"),',
        ),
        (
            {"type": "object", "allOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]},
            "x?: { a?: string, } & { b?: string, },",
        ),
        ({"anyOf": [TEXT, {}]}, "x?: any,"),
        ({"$ref": "#/properties/x"}, "x?: any /* x, as above */,"),
        ({"$ref": "#/$defs/List/oneOf/1"}, "x?: number,"),
        ({"$ref": "#/$defs/a%20b~1c"}, "x?: boolean,"),
        ({"examples": [1, {"a": None}, "b"]}, '// Examples: // - 1 // - {"a":null} // - "b" x?: any,'),
        ({"type": "string", "default": "a\nb"}, 'x?: string, // default: "a b"'),
        ({"type": "string", "enum": ["null"], "nullable": True}, 'x?: "null" | null,'),
        ({"description": "none\nso far", "type": "integer"}, "// none so far x?: number,"),
        (False, "x?: never,"),
        (None, "x?: any,"),
    ],
)
def test_schemas_as_clients_send_them(schema: Any, expected: str) -> None:
    definitions = {
        "Color": {"enum": ["red", "blue"], "description": "the color"},
        "List": {"oneOf": [TEXT, {"type": "number"}]},
        "a b/c": {"type": "boolean"},
    }
    assert written({"type": "object", "properties": {"x": schema}, "$defs": definitions}) == f"{{ {expected} }}"


def test_recursion_is_cut_wherever_it_comes_back() -> None:
    assert written({"type": "object", "properties": {"x": {"$ref": "#"}}}) == (
        "{ x?: { x?: any /* the whole, as above */, }, }"
    )
    two = {"A": {"properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"properties": {"a": {"$ref": "#/$defs/A"}}}}
    assert written({"$ref": "#/$defs/A", "$defs": two}) == "{ b?: { a?: any /* A, as above */, }, }"
    assert written({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}) == "any /* A, as above */"


def nested(depth: int, wrap: Any) -> Any:
    schema: Any = TEXT
    for _ in range(depth):
        schema = wrap(schema)
    return schema


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: {"type": "object", "properties": {"x": inner}},
        lambda inner: {"type": "array", "items": inner},
        lambda inner: {"oneOf": [inner]},
        lambda inner: {"anyOf": [inner, {"type": "null"}]},
        lambda inner: {"allOf": [inner]},
        lambda inner: {"type": "object", "additionalProperties": inner},
        lambda inner: {"type": ["array", "null"], "prefixItems": [inner]},
    ],
)
def test_deep_schemas_are_cut(wrap: Any) -> None:
    text = typescript(nested(500, wrap))
    assert "any /* more than 64 types deep */" in text
    assert len(text) < 50_000
    assert "more than" not in typescript(nested(60, wrap))


def test_a_schema_that_contains_itself_is_cut() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema
    assert "more than 64 types deep" in typescript(schema)
    schema["properties"]["twice"] = schema
    with pytest.raises(BadRequest, match="fewer properties"):
        typescript(schema)


def test_references_that_multiply_are_refused_with_a_remedy() -> None:
    """Each definition twice the one before: 2**40 texts."""
    definitions = {
        f"D{n}": {
            "type": "object",
            "properties": {"a": {"$ref": f"#/$defs/D{n + 1}"}, "b": {"$ref": f"#/$defs/D{n + 1}"}},
        }
        for n in range(40)
    }
    with pytest.raises(BadRequest, match="fewer properties"):
        typescript({"$ref": "#/$defs/D0", "$defs": definitions})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "object", "array", "string", "#", "#/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=12,
)


@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=6))
@settings(max_examples=400, deadline=None)
def test_any_json_gives_a_type(schema: dict[str, Any]) -> None:
    """Keywords with values of every wrong type."""
    assert len(typescript(schema)) < 10_000


def test_values_that_are_not_json_are_refused_with_a_remedy() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value in ({1, 2}, b"x", object(), cyclic):
        with pytest.raises(BadRequest, match="Send it as text"):
            typescript({"type": "object", "properties": {"x": {"default": value}}})
    assert compact_json({"a": [float("nan"), float("inf")], 3: (1,)}) == '{"a":[null,null],"3":[1]}'


@pytest.mark.parametrize(("keyword", "written"), [("anyOf", "string"), ("allOf", "string"), ("oneOf", None)])
def test_references_that_double_at_each_step_are_written_once(keyword: str, written: str | None) -> None:
    """Thirty steps are a thousand million types; of a oneOf every variant is a line, and that is too much."""
    steps = {f"A{n}": {keyword: [{"$ref": f"#/$defs/A{n + 1}"}] * 2} for n in range(30)}
    schema = {"properties": {"a": {"$ref": "#/$defs/A0"}}, "$defs": {**steps, "A30": {"type": "string"}}}
    if written is not None:
        assert typescript(schema) == f"{{\na?: {written},\n}}"
    else:
        with pytest.raises(BadRequest, match="references"):
            typescript(schema)


def test_references_that_all_lead_to_each_other_are_refused() -> None:
    """Each way through eight of them is another type."""
    names = [f"N{n}" for n in range(8)]
    ways = {name: {"anyOf": [{"$ref": f"#/$defs/{other}"} for other in names]} for name in names}
    with pytest.raises(BadRequest, match="references"):
        typescript({"$ref": "#/$defs/N0", "$defs": ways})


REFERENCES = st.sampled_from([{"$ref": f"#/$defs/{name}"} for name in "ABC"])
REFERRING = st.recursive(
    REFERENCES | st.just({"type": "string", "nullable": True}),
    lambda parts: (
        st.lists(parts, min_size=1, max_size=2).flatmap(
            lambda some: st.sampled_from([{keyword: some} for keyword in ("anyOf", "oneOf", "allOf")])
        )
        | parts.map(lambda part: {"type": "array", "items": part})
        | st.dictionaries(st.sampled_from("pq"), parts, min_size=1).map(lambda some: {"properties": some})
    ),
    max_leaves=4,
)


class Forgetful(_Writer):
    """Follows each reference anew."""

    def _reference(self, ref: str, indent: str) -> Type:
        self._known = {}
        return super()._reference(ref, indent)


def _leading(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


@given(root=REFERRING, others=st.tuples(REFERRING, REFERRING, REFERRING))
@example(
    root={"properties": {"p": _leading("A"), "q": _leading("B")}},
    others=(*[{"type": "array", "items": _leading("C")}] * 2, {"anyOf": [_leading("A"), {"type": "string"}]}),
)
@settings(max_examples=100)
def test_a_reference_is_remembered_as_it_would_be_written(root: dict[str, Any], others: tuple[Any, ...]) -> None:
    document = {**root, "$defs": dict(zip("ABC", others, strict=True))}
    assert _Writer(document).type(document, "") == Forgetful(document).type(document, "")


def test_nullable_behind_a_reference_is_told() -> None:
    schema = {"$defs": {"X": {"type": "string", "nullable": True}}, "properties": {"a": {"$ref": "#/$defs/X"}}}
    assert "a?: string | null," in typescript(schema)


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_what_is_said_of_variants_beside_a_type(keyword: str) -> None:
    variants = [{"const": "a", "description": "fast"}, {"const": "b", "description": "slow"}]
    text = typescript({"type": "object", "properties": {"speed": {"type": "string", keyword: variants}}})
    assert "// fast" in text and "// slow" in text and text.count('"a"') == 1


def test_a_name_of_an_anchor_leads_nowhere() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#Node"}}, "$defs": {"N": {"$anchor": "Node"}}}
    assert typescript(schema) == "{\nnext?: any,\n}"


def test_the_work_for_all_functions_is_bounded() -> None:
    """A hundred that are each just below the bound are no more work than one."""
    names = [f"N{n}" for n in range(6)]
    ways = {name: {"anyOf": [{"$ref": f"#/$defs/{other}"} for other in names]} for name in names}
    schema = {"$ref": "#/$defs/N0", "$defs": ways}
    typescript(schema)
    with pytest.raises(BadRequest, match="references"):
        namespace("functions", [ToolSpec(f"f{n}", "", schema) for n in range(100)])
