"""Schemas as clients send them, as a strategy; what is special about one; and how much of it the reference reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from hypothesis import strategies as st

from tests.harmony.meanings import bare

Schema = Any
WORDS = ("a city", "one\nof two", "日本語 🦊", 'a "quoted" b', "", "<|end|>", "x | y[]", "tags // of\r\nany kind")
SCALARS = ("string", "number", "integer", "boolean", "null")
OBJECT_KEYWORDS = ("properties", "additionalProperties", "patternProperties")
UNREAD = ("format", "minimum", "maxItems", "pattern")
LOSSY = ("anyOf", "allOf", "$ref", "const", "prefixItems", "additionalProperties", "patternProperties")

texts = st.sampled_from(WORDS)
values = st.one_of(
    texts,
    st.sampled_from([0, -1, 7, 2**63 - 1]),
    st.booleans(),
    st.sampled_from([0.5, 1e-7, 1e16, -2.5e-5]),
    st.none(),
    st.sampled_from([[], [1, "é"], {}, {"a": [None, 1.5]}]),
)
notes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "title": texts,
        "description": texts,
        "default": values,
        "examples": st.lists(texts, min_size=1, max_size=2) | st.lists(values, min_size=1, max_size=2),
        "nullable": st.booleans(),
        "format": st.just("date"),
        "minimum": st.just(0),
    },
)
some_notes: st.SearchStrategy[dict[str, Any]] = st.just({}) | notes
LEAVES: list[Schema] = [
    *({"type": name} for name in SCALARS * 2),
    *({"type": name} for name in ("null", "number", "boolean", "unheard_of", "unheard_of")),
    {"type": ["string", "null"]},
    {"type": ["integer", "boolean", "string"]},
    {"type": ["object", "null"], "properties": {"inner": {"type": "string"}}, "required": ["inner"]},
    {"type": ["array", "string"], "items": {"type": "integer"}},
    {"type": ["string", "null"], "enum": ["a", None]},
    {"type": "string", "enum": ["a", "b c"]},
    {"type": "string", "enum": ["a", "null"]},
    {"type": "string", "enum": ["a", 1, None]},
    {"type": "integer", "enum": [1, 2]},
    {"enum": ["a", 1, None, True, 2.5]},
    {"const": "fixed"},
    {"const": 3},
    {"const": {"a": [1]}},
    {"type": "object"},
    {"type": "object", "properties": {}},
    {"type": "object", "additionalProperties": False},
    {"type": "array"},
    {"type": "array", "items": True},
    {"$ref": "#/$defs/Node"},
    {"$ref": "#/$defs/Kind"},
    {"$ref": "#/definitions/a~1b"},
    {"$ref": "#/definitions/a~1b"},
    {"$ref": "#"},
    {"$ref": "#"},
    {"$ref": "#/nowhere"},
    {"$ref": "https://example.com/schema.json"},
    {"$ref": "https://example.com/schema.json"},
    {},
    True,
    False,
]
scalars = st.sampled_from(LEAVES)
DEFINITIONS = {
    "$defs": {
        "Node": {
            "type": "object",
            "description": "a node",
            "properties": {"next": {"$ref": "#/$defs/Node"}, "kind": {"$ref": "#/$defs/Kind"}},
        },
        "Kind": {"type": "string", "enum": ["leaf", "twig"], "description": "the kind of node"},
    },
    "definitions": {"a/b": {"type": "array", "items": {"type": "number"}}},
}


def _with(first: Mapping[str, Any], second: Any) -> Any:
    return {**second, **first} if isinstance(second, Mapping) else second


def _objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    names = st.sampled_from(["city", "y-z", "ключ", "a b", "type"])
    parts = {
        "properties": st.dictionaries(names, inner, min_size=1, max_size=3),
        "required": st.lists(names, max_size=2),
        "additionalProperties": inner | st.booleans(),
        "patternProperties": st.dictionaries(st.sampled_from(["^x-", "[0-9]+"]), inner, min_size=1, max_size=1),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.just([{"required": ["city"]}, {"required": ["type"]}]),
    }
    rare = {
        name: st.none() | st.none() | st.none() | part for name, part in parts.items() if name[:4] in ("patt", "oneO")
    }
    return st.fixed_dictionaries({"type": st.sampled_from(["object", "object", None])}, optional={**parts, **rare}).map(
        lambda drawn: {key: value for key, value in drawn.items() if value is not None}
    )


def _larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    several = st.lists(inner, min_size=1, max_size=3)
    arrays = st.fixed_dictionaries(
        {"type": st.sampled_from(["array", "array", "array", None])},
        optional={"items": inner, "prefixItems": several},
    ).map(lambda drawn: {key: value for key, value in drawn.items() if value is not None})
    joined = st.sampled_from(["oneOf", "oneOf", "anyOf", "allOf", "allOf", "items", "items"]).flatmap(
        lambda keyword: several.map(lambda drawn: {keyword: drawn} | ({"type": "array"} if keyword == "items" else {}))
    )
    return st.builds(_with, some_notes, _objects(inner) | _objects(inner) | arrays | joined)


schemas = st.recursive(st.builds(_with, some_notes, scalars), _larger, max_leaves=6)
objects = st.builds(
    lambda properties, required, shape: {"type": "object", "properties": properties, "required": required} | shape,
    st.lists(schemas, min_size=2, max_size=5).map(lambda drawn: dict(zip("abxyz", drawn, strict=False))),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
    st.sampled_from([{}, DEFINITIONS, {"description": "all of it"}]),
)
parameters = objects | objects | schemas.filter(lambda schema: isinstance(schema, dict))


def tour() -> Iterator[Schema]:
    """Every leaf eight times, with defaults of every type: chance may leave one out of a few hundred cases."""
    defaults = cycle(["a\nb", 7, True, 0.5, None, [1], {"a": 1}])
    for start in range(0, 8 * len(LEAVES), 8):
        some = [LEAVES[n % len(LEAVES)] for n in range(start, start + 8)]
        noted = [{"default": next(defaults), **leaf} if isinstance(leaf, dict) else leaf for leaf in some]
        maps = {"type": "object", "patternProperties": {"^x-": noted[0]}, "additionalProperties": {"allOf": noted[:2]}}
        tuples = {"type": "array", "items": noted[:2]}
        yield {"type": "object", "properties": {**dict(zip("abcdefgh", noted, strict=True)), "m": maps, "t": tuples}}


def inner_schemas(schema: Schema) -> Iterator[Schema]:
    """The schema and all within it, but for what $defs hold."""
    yield schema
    if not isinstance(schema, Mapping):
        return
    for keyword in ("properties", "patternProperties"):
        for value in schema.get(keyword, {}).values():
            yield from inner_schemas(value)
    for keyword in ("oneOf", "anyOf", "allOf", "prefixItems"):
        for value in schema.get(keyword, []):
            yield from inner_schemas(value)
    for keyword in ("items", "additionalProperties"):
        value = schema.get(keyword, [])
        for item in value if isinstance(value, list) else [value]:
            yield from inner_schemas(item)


def compared(schema: Schema) -> set[str]:
    """Features of what is compared: with the reference's text where it writes it, else with the schema's meaning."""
    return features(as_the_reference_reads(agreed(schema))) | features(bare(schema))


def features(schema: Schema) -> set[str]:
    """Names for what a schema uses, of the whole and of all within it."""
    return {name for one in inner_schemas(schema) for name in _features(one)}


def _features(schema: Schema) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        yield f"schema: {schema}"
        return
    declared = schema.get("type")
    yield f"type: {'a list' if isinstance(declared, list) else declared}"
    yield from (f"keyword: {name}" for name in schema if name not in ("type", "$defs", "definitions"))
    if isinstance(schema.get("items"), list):
        yield "items: a list"
    if declared is None and "properties" in schema:
        yield "properties without a type"
    for keyword in ("description", "title"):
        if "\n" in schema.get(keyword, ""):
            yield f"{keyword}: several lines"
    if "default" in schema:
        yield f"default: {type(schema['default']).__name__}"
    if "enum" in schema:
        yield f"enum: {'strings' if all(isinstance(value, str) for value in schema['enum']) else 'mixed'}"
    if "additionalProperties" in schema:
        yield f"additionalProperties: {type(schema['additionalProperties']).__name__}"
    if "$ref" in schema:
        yield f"$ref: {schema['$ref'].rpartition('/')[0] or schema['$ref']}"


EVERY_FEATURE = frozenset(
    (
        *(f"type: {name}" for name in (*SCALARS, "object", "array", "a list", "unheard_of", None)),
        *(f"keyword: {name}" for name in (*LOSSY, *OBJECT_KEYWORDS, "oneOf", "enum", "items", "required")),
        *(f"keyword: {name}" for name in ("title", "description", "default", "examples", "nullable", "format")),
        *(f"default: {name}" for name in ("str", "int", "float", "bool", "NoneType", "list", "dict")),
        *(f"$ref: {place}" for place in ("#/$defs", "#/definitions", "#", "https://example.com")),
        *("schema: True", "schema: False", "enum: strings", "enum: mixed", "items: a list"),
        *("properties without a type", "description: several lines", "title: several lines"),
        *("additionalProperties: bool", "additionalProperties: dict"),
    )
)


def agreed(schema: Schema) -> Schema:
    """The schema without what the reference misrepresents, so that its text, unlike `any`, is another than ours."""
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: _agreed_value(key, value) for key, value in schema.items()}
    if isinstance(kept.get("oneOf"), list) and any(key in kept for key in (*OBJECT_KEYWORDS, "anyOf", "allOf", "$ref")):
        del kept["oneOf"]
    if isinstance(kept.get("items"), Mapping) and (_is_union(kept["items"]) or kept["items"].get("nullable")):
        kept["items"] = {"type": "string"}
    if kept.get("type") == "object" and not kept.get("properties"):
        kept = {key: value for key, value in kept.items() if key not in ("anyOf", "allOf", "$ref")}
    is_nullable = kept.pop("nullable", None)
    if is_nullable is not None and "oneOf" not in kept and not any(word in repr(kept) for word in ("null", "None")):
        kept["nullable"] = is_nullable
    if "examples" in kept and not all(isinstance(example, str) for example in kept["examples"]):
        del kept["examples"]
    if "enum" in kept and kept.get("type") != "string" and isinstance(kept.get("default"), str):
        del kept["default"]
    return kept


def _agreed_value(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties", "$defs", "definitions"):
        return {name: agreed(item) for name, item in value.items()}
    if key in ("oneOf", "anyOf", "allOf", "prefixItems") or (key == "items" and isinstance(value, list)):
        return [agreed(item) for item in value]
    return agreed(value) if key in ("items", "additionalProperties") else value


def _is_union(schema: Mapping[str, Any]) -> bool:
    return len(schema.get("enum", [])) > 1 or isinstance(schema.get("type"), list) or "oneOf" in schema


def as_the_reference_reads(schema: Schema) -> Schema:
    """What is left of an agreed schema where the reference writes `any`, or less than the schema says."""
    if not isinstance(schema, Mapping):
        return True
    declared, kept = schema.get("type"), dict(schema)
    if "oneOf" in schema:
        unread: tuple[str, ...] = ("type", "enum", "const", "anyOf", "allOf", "$ref", "items", "prefixItems")
    else:
        unread = LOSSY
        if declared == "null":
            unread += ("type",)
        if declared != "object":
            unread += ("properties",)
        if declared != "array":
            unread += ("items",)
        if declared != "string":
            unread += ("enum",)
    kept = {key: value for key, value in kept.items() if key not in unread}
    if isinstance(kept.get("items"), list):
        kept["items"] = True
    for key in ("items", "oneOf"):
        if key in kept:
            value = kept[key]
            kept[key] = [*map(as_the_reference_reads, value)] if key == "oneOf" else as_the_reference_reads(value)
    if "properties" in kept:
        kept["properties"] = {name: as_the_reference_reads(value) for name, value in kept["properties"].items()}
    return kept
