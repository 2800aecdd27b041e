"""Where we differ from openai-harmony 0.0.8: there it gives two schemas one text, cannot read what it wrote, or departs
from the published description of the format. docs/harmony.md lists the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai_harmony as oh
import pytest

from harmonium.harmony.messages import Author, Conversation, DeveloperContent, Message, Role, ToolSpec
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render, render_for_training
from harmonium.harmony.schema import typescript
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony import golden
from tests.harmony.oracle import reference_type, theirs

TEXT, NUMBER, ITEM = {"type": "string"}, {"type": "number"}, {"properties": {"a": {"type": "string"}}}
UNION = {"oneOf": [TEXT, NUMBER]}


def property_(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


# Pairs of different schemas that the reference writes alike.
ONE_TEXT_FOR_TWO: dict[str, list[tuple[Any, Any]]] = {
    "anyOf": [({"anyOf": [TEXT, NUMBER]}, {"anyOf": [TEXT, {"type": "null"}]})],
    "allOf": [({"allOf": [ITEM]}, {"allOf": [TEXT]})],
    "$ref": [({"$ref": "#/$defs/A", "$defs": {"A": TEXT}}, {"$ref": "#/$defs/A", "$defs": {"A": NUMBER}})],
    "literals": [
        ({"const": "a"}, {"const": "b"}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer"}),
        ({"enum": ["a", None]}, {}),
        ({"enum": ["a", "b"]}, {}),
    ],
    "null and false": [({"type": "null"}, {}), (property_(False), property_(True))],
    "lists of types": [
        ({"type": ["object", "null"], **ITEM}, {"type": ["object", "null"]}),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": ["string", "null"]}),
    ],
    "types left out": [(ITEM, {}), ({"items": TEXT}, {})],
    "maps": [
        ({"type": "object", "additionalProperties": TEXT}, {"type": "object", "additionalProperties": NUMBER}),
        ({"type": "object", "patternProperties": {"^x": TEXT}}, {"type": "object"}),
    ],
    "tuples": [
        ({"type": "array", "prefixItems": [TEXT, NUMBER]}, {"type": "array"}),
        ({"type": "array", "items": [TEXT]}, {"type": "array", "items": [NUMBER]}),
    ],
    "arrays of unions": [
        ({"type": "array", "items": UNION}, {"oneOf": [TEXT, {"type": "array", "items": NUMBER}]}),
        ({"type": "array", "items": {"oneOf": [{"type": "string", "description": "a"}]}},
         {"oneOf": [{"type": "string", "description": "a[]"}]}),
    ],
    "nullable": [
        ({"type": "array", "items": {"type": "string", "nullable": True}}, {"type": "array", "items": TEXT}),
        (property_({"enum": ["null"], **TEXT, "nullable": True}), property_({"enum": ["null"], **TEXT})),
        (property_({**UNION, "nullable": True}), property_(UNION)),
    ],
    "oneOf beside properties": [({"type": "object", **ITEM, **UNION}, UNION)],
    "values": [
        (property_({"examples": [1]}), property_({"examples": [{"a": 2}]})),
        (property_({"default": 2**64}), property_({"default": 2**64 + 1})),
    ],
}  # fmt: skip
SHOWN_BY_THEIR_OWN_TEST = ("finished reasoning", "names that no header can hold")


@pytest.mark.parametrize("name", ONE_TEXT_FOR_TWO)
def test_the_reference_loses_what_the_schema_says(name: str, reference: oh.HarmonyEncoding) -> None:
    for one, other in ONE_TEXT_FOR_TWO[name]:
        assert reference_type(one, reference) == reference_type(other, reference)
        assert typescript(one) != typescript(other)


def test_an_array_of_a_union_that_the_reference_comments_out(reference: oh.HarmonyEncoding) -> None:
    schema = {"type": "array", "items": {"oneOf": [{"type": "string", "default": "q"}, {"description": "n", **NUMBER}]}}
    assert reference_type(schema, reference) == '\n | string // default: "q"\n | number // n[]'
    assert typescript(schema) == '(\n | string // default: "q"\n | number // n\n)[]'


def test_finished_reasoning(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    """The description says to drop the reasoning of turns that "ended in a message to the final channel". The reference
    drops what stands before the first final message, so that a turn is shown otherwise when another precedes it, and
    drops nothing at all once the assistant has begun to call."""
    begun = (golden.ASK, Message.analysis("old"), golden.ANSWER)
    twice = Conversation((*begun, golden.LATER, Message.analysis("newer"), golden.ANSWER, golden.LATER))
    pending = Conversation((*begun, golden.LATER, Message.analysis("current"), golden.CALL, golden.RESULT))
    for conversation, finished in ((twice, "newer"), (pending, "old")):
        expected = reference.render_conversation_for_completion(theirs(conversation), oh.Role.ASSISTANT)
        assert finished in o200k.decode(expected)
        assert finished not in o200k.decode(render(conversation, o200k))
    assert "current" in o200k.decode(render(pending, o200k))


def test_lessons_keep_their_reasoning(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    """By default the reference drops it from the first turn that a training sequence teaches, if it ends in a final."""
    once = (golden.ASK, Message.analysis("first"), golden.ANSWER)
    twice = (*once, golden.LATER, Message.analysis("second"), golden.ANSWER)
    for said in (once, twice):
        shown = reference.render_conversation_for_training(theirs(Conversation(said)))
        assert "first" not in o200k.decode(shown)
        assert "first" in o200k.decode(render_for_training(Conversation(said), o200k)[0])
    lesson = o200k.decode(render_for_training(Conversation(twice), o200k, learn_from=len(once))[0])
    assert "first" not in lesson
    assert "second" in lesson


@pytest.mark.parametrize("name", ["look up", "look\nup", "<|channel|>up", "a<|constrain|>b"])
def test_names_that_no_header_can_hold(name: str, o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    """The reference's parser finds another recipient in what it rendered, or none; ours finds the function again."""
    said = (Message.developer(DeveloperContent(tools=(ToolSpec(name, "Looks."),))), Message.call(name, "{}"))
    parsed = parse(render(Conversation(said), o200k, next_role=None), o200k, role=None, functions=[name])
    assert (parsed.messages[1], parsed.repairs) == (said[1], ())
    written = reference.render_conversation(theirs(Conversation(said[1:])))
    try:
        (read,) = reference.parse_messages_from_completion_tokens(written, role=None)
    except oh.HarmonyError:
        return
    assert read.recipient != f"functions.{name}"


def test_there_are_at_most_fifteen_and_the_page_names_them() -> None:
    names = [*ONE_TEXT_FOR_TWO, *SHOWN_BY_THEIR_OWN_TEST]
    assert len(names) <= 15
    page = (Path(__file__).parents[2] / "docs" / "harmony.md").read_text(encoding="utf-8")
    listed = page.partition("## Where the reference differs")[2]
    assert [name for name in names if f"**{name}**" not in listed] == []


# What the reference's parser makes of what its own renderer writes: an error, or another message.
MISREAD = {
    "an author with a name": Message(Author(Role.USER, "kim"), ("Hi",)),
    "an assistant with a name": Message(Author(Role.ASSISTANT, "bot"), ("Hi",), "final"),
    "a content type without a recipient": Message(Author(Role.ASSISTANT), ("{}",), "final", None, "<|constrain|>json"),
    "a result addressed to nobody": Message(Author(Role.TOOL, "functions.f"), ("1",), "commentary"),
}


@pytest.mark.parametrize("name", MISREAD)
def test_messages_that_the_reference_misreads(name: str, o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    message = MISREAD[name]
    ids = render(Conversation((message,)), o200k, next_role=None)
    assert ids == reference.render_conversation(theirs(Conversation((message,))))
    parsed = parse(ids, o200k, role=None)
    assert (parsed.messages, parsed.repairs) == ((message,), ())
    try:
        (read,) = reference.parse_messages_from_completion_tokens(ids, role=None)
    except oh.HarmonyError:
        return
    assert (read.author.name, read.recipient) != (message.author.name, message.recipient)


def test_an_answer_in_json_is_not_a_call(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    ids = o200k.encode("<|channel|>final<|constrain|>json<|message|>{}<|return|>", parse_special=True)
    (mine,) = parse(ids, o200k).messages
    assert (mine.recipient, mine.content_type) == (None, "<|constrain|>json")
    (misread,) = reference.parse_messages_from_completion_tokens(ids, role=oh.Role.ASSISTANT)
    assert misread.recipient == "<|constrain|>json"


def test_a_missed_end_does_not_swallow_the_answer(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>A<|start|>assistant<|channel|>final<|message|>B<|return|>"
    ids = o200k.encode(text, parse_special=True)
    assert [message.text for message in parse(ids, o200k).messages] == ["A", "B"]
    (swallowed,) = reference.parse_messages_from_completion_tokens(ids, role=oh.Role.ASSISTANT)
    assert swallowed.channel == "analysis"
