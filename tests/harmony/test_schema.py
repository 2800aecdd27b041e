"""Types are the reference's to the character; where it says `any` and loses the schema, ours says what it holds."""

from __future__ import annotations

from typing import Any

import openai_harmony as oh
import pytest

from harmonium.harmony.messages import Conversation, DeveloperContent, Message, ToolSpec
from harmonium.harmony.schema import compact_json, typescript
from tests.harmony.oracle import theirs

TEXT = {"type": "string"}
TREE = {
    "type": "object",
    "properties": {"value": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
}


def reference_type(schema: dict[str, Any], reference: oh.HarmonyEncoding) -> str:
    tool = ToolSpec("f", "", schema)
    conversation = Conversation((Message.developer(DeveloperContent(tools=(tool,))),))
    text = reference.decode(reference.render_conversation(theirs(conversation)))
    written: str = text.partition("type f = (_: ")[2].partition(") => any;")[0]
    return written


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
        {"type": "object", "properties": {"x": {"oneOf": []}, "y-z": {"title": "t", "examples": [1]}}},
        {"oneOf": [TEXT, {"type": "number", "nullable": True, "default": 2, "description": "n"}]},
        {"oneOf": [{"type": "string", "enum": ["a"], "default": "a"}, {"oneOf": [TEXT, {"type": "boolean"}]}]},
    ],
)
def test_same_type_as_the_reference(schema: dict[str, Any], reference: oh.HarmonyEncoding) -> None:
    assert typescript(schema) == reference_type(schema, reference)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [TEXT, {"type": "integer"}, {"type": "null"}, {"type": "number"}]}, "string | number | null"),
        ({"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"type": "boolean"}}}, "boolean"),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"enum": [1, "x", None]}}}, '1 | "x" | null'),
        ({"$ref": "#/nowhere/at/all"}, "any"),
        ({"const": "fixed"}, '"fixed"'),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"type": "null"}, "null"),
    ],
)
def test_what_the_reference_loses(schema: dict[str, Any], expected: str, reference: oh.HarmonyEncoding) -> None:
    assert reference_type(schema, reference) == "any"
    assert typescript(schema) == expected


def test_enums_of_numbers(reference: oh.HarmonyEncoding) -> None:
    schema = {"type": "integer", "enum": [1, 2]}
    assert reference_type(schema, reference) == "number"
    assert typescript(schema) == "1 | 2"


def test_recursion_is_cut_with_a_comment() -> None:
    written = typescript({"$ref": "#/$defs/Node", "$defs": {"Node": TREE}})
    assert written == "{\nvalue?: string,\nchildren?: any /* Node, as above */[],\n}"


@pytest.mark.parametrize(
    "value", [0.1, 1e-4, 1e-5, -1.5e-5, 1.25e-6, 1e15, 1e16, 1.5e22, -0.0, 3, True, None, "é\n\u007f"]
)
def test_defaults_are_written_as_the_reference_writes_them(value: Any, reference: oh.HarmonyEncoding) -> None:
    schema = {"type": "object", "properties": {"x": {"default": [value]}}}
    assert f"// default: [{compact_json(value)}]\n" in reference_type(schema, reference)
