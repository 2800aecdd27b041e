"""Whatever is drawn within the masks is a valid body."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher

from harmonium.errors import BadRequest
from harmonium.harmony.automaton import text_mask
from harmonium.harmony.grammar import Compiler, Grammar, Matcher
from harmonium.harmony.messages import ResponseFormat
from harmonium.harmony.vocabulary import Vocabulary

N_ROWS = 4200
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


def body(make: Callable[[], Matcher], vocabulary: Vocabulary, random: Random, limit: int) -> str | None:
    """A random body, None where it was cut. Forced ids are within the masks too."""
    matcher, ids = make(), list[int]()
    while len(ids) < limit:
        mask = matcher.mask().view(np.uint32)
        assert not (mask & ~text_mask(vocabulary, N_ROWS)).any(), "only text"
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        forced = list(matcher.forced())
        if matcher.can_end():
            assert not forced
            if not len(allowed) or random.random() < 0.3:
                return vocabulary.decode(ids)
        assert not forced or forced[0] in allowed
        for id_ in forced or [int(allowed[random.randrange(len(allowed))])]:
            matcher.accept(id_)
            ids.append(id_)
    return None


def is_person(text: str) -> bool:
    value = json.loads(text)
    assert set(value) <= {"name", "age", "tags"} and len(value["name"]) <= 12 and 0 <= value["age"] <= 150
    return len(value.get("tags", [])) <= 3 and set(value.get("tags", [])) <= {"a", "b"}


FORMATS: dict[str, tuple[Grammar, Callable[[str], object]]] = {
    "schema": (Grammar.json_schema(PERSON), is_person),
    "object": (Grammar.json_object(), lambda text: isinstance(json.loads(text), dict)),
    "regex": (Grammar.regex(r"[0-9]{3}-[a-fé]+"), re.compile(r"[0-9]{3}-[a-fé]+").fullmatch),
    "hostile text": (
        Grammar.lark(r'start: /(?s:.){0,9}/ "<|end|>" | "<|call|>"'),
        re.compile(r"(?s).*<\|(end|call)\|>").fullmatch,
    ),
    "stop": (Grammar.lark('start: x\nx[stop=""]: /(?s:[^a]){0,9}/'), re.compile("(?s)[^a]{0,9}").fullmatch),
    "lark": (Grammar.lark('start: "yes" | "no" ("," " "? start)?'), re.compile(r"(no(, ?|$))*(yes)?").fullmatch),
}


@pytest.mark.parametrize("name", FORMATS)
def test_random_bodies_are_valid(name: str, vocabulary: Vocabulary) -> None:
    grammar, is_valid = FORMATS[name]
    make, random = Compiler(vocabulary, N_ROWS).compile(grammar), Random(name)
    bodies = [body(make, vocabulary, random, 300) for _ in range(60)]
    whole = [text for text in bodies if text is not None]
    assert all(is_valid(text) for text in whole)
    assert len(set(whole)) > 5
    assert name == "object" or len(whole) >= 54, "bounded formats come to an end"


SPECIAL = ("<|channel|>", "<|start|>", "<|end|>", "<|call|>", "<|return|>", "<|endoftext|>", "<[0-4095]>", "<[*]>")


@pytest.mark.parametrize("special", SPECIAL)
def test_no_grammar_lets_a_control_token_into_a_body(special: str, vocabulary: Vocabulary) -> None:
    """Asked to, it is refused; and were it not, the masks and the forced ids would hold text alone."""
    for definition in (f'start: "a" {special} "b"', f"start: x // y\nx: {special}", f'start: /<"/ {special} "\\">"'):
        with pytest.raises(BadRequest, match=f"special token {re.escape(special)}.*in quotes"):
            Grammar.lark(definition)
    matcher = Compiler(vocabulary, N_ROWS).compile(Grammar(LLMatcher.grammar_from_lark(f'start: "a" {special} "b"')))()
    matcher.accept(vocabulary.encode("a")[0])
    assert not (matcher.mask().view(np.uint32) & ~text_mask(vocabulary, N_ROWS)).any()
    assert not {*matcher.forced()} & vocabulary.special_ids
    assert Grammar.lark(f'start: "{special}" // {special}\n# {special}'), "its name is a text like any other"


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ('start: "a" x\nx: /[^\\s\\S]/', "matches nothing; mend that rule"),
        ('start: "a" start', "there is no end"),
        ('start: "a" "b" x\nx: x "c"', "matches nothing; mend that rule"),
    ],
)
def test_a_grammar_that_leads_nowhere_is_refused_in_our_words(
    definition: str, words: str, vocabulary: Vocabulary
) -> None:
    with pytest.raises(BadRequest, match=words):
        Compiler(vocabulary, N_ROWS).compile(Grammar.lark(definition))


def test_a_dead_end_behind_a_choice_is_told_when_it_is_met(vocabulary: Vocabulary) -> None:
    grammar = Grammar.lark('start: "a" x | "b"\nx: "c" | "d" y\ny: y "e"')
    matcher = Compiler(vocabulary, N_ROWS).compile(grammar)()
    with pytest.raises(BadRequest, match="matches nothing; mend that rule"):
        for text in "ad":
            matcher.accept(vocabulary.encode(text)[0])
            matcher.mask()


def test_whitespace_ends(vocabulary: Vocabulary) -> None:
    """JSON may be indented, and cannot be made of nothing but spaces."""
    matcher = Compiler(vocabulary, N_ROWS).compile(Grammar.json_object())()
    for id_ in vocabulary.encode('{\n    "a"'):
        matcher.accept(id_)
    [space] = vocabulary.encode(" ")
    for _ in range(40):
        matcher.accept(space)
    with pytest.raises(BadRequest, match="cannot be followed"):
        matcher.accept(space)


def test_response_formats() -> None:
    told = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    schema = Grammar.json_schema(PERSON)
    assert Grammar.of_response_format(told) == Grammar.of_response_format(ResponseFormat("person", PERSON)) == schema
    assert Grammar.of_response_format({"type": "json_schema", "name": "person", "schema": PERSON}) == schema
    assert Grammar.of_response_format({"type": "json_object"}) == Grammar.json_object()
    assert Grammar.of_response_format(None) is None and Grammar.of_response_format({"type": "text"}) is None
    lark = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"'}
    assert Grammar.of_response_format(lark) == Grammar.lark('start: "a"')
    assert Grammar.of_response_format({**lark, "syntax": "regex"}) == Grammar.regex('start: "a"')
    for wrong in ({}, {"type": "yaml"}, {"type": "json_schema"}, {"type": "grammar", "syntax": "lark"}, "json"):
        with pytest.raises(BadRequest):
            Grammar.of_response_format(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.json_schema({"type": "text"}),
        Grammar.json_schema({"$ref": "#/$defs/missing"}),
        Grammar.json_schema({"not": {"type": "string"}}),
        Grammar.regex("("),
        Grammar.lark("start: missing"),
        Grammar.regex(r"[^\s\S]"),
        Grammar.lark(r"start: /[^\s\S]/ | /a[^\s\S]/"),
    ],
)
def test_what_cannot_be_compiled(grammar: Grammar, vocabulary: Vocabulary) -> None:
    with pytest.raises(BadRequest) as refused:
        Compiler(vocabulary, N_ROWS).compile(grammar)
    assert len(str(refused.value)) < 250 and "\n" not in str(refused.value) and "<state>" not in str(refused.value)


@pytest.mark.parametrize("make", [Grammar.regex, Grammar.lark, lambda text: Grammar.json_schema({"const": text})])
def test_half_a_surrogate_pair_is_refused(make: Callable[[str], Grammar]) -> None:
    with pytest.raises(BadRequest, match="surrogate"):
        make('start: "\ud800"')


def test_a_schema_that_is_no_json() -> None:
    with pytest.raises(BadRequest, match="no JSON"):
        Grammar.json_schema({"enum": [object()]})


def test_rows_without_a_token_are_in_no_mask(o200k: Vocabulary) -> None:
    make, text = Compiler(o200k, 201088).compile(Grammar.json_schema(PERSON)), text_mask(o200k, 201088)
    matcher = make()
    for id_ in o200k.encode('{"name": "Zoë of X", "age": 42, "tags": ["a", "b", "a"]}'):
        mask = matcher.mask()
        assert mask.view(np.uint32)[id_ // 32] >> np.uint32(id_ % 32) & 1
        assert not (mask.view(np.uint32) & ~text).any()
        matcher.accept(id_)
    assert matcher.can_end()


TEXTS: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "string", "minLength": 3, "maxLength": 30},
    *({"type": "string", "pattern": pattern} for pattern in ("^[A-Za-z ]{0,40}$", "^[a-z_][a-z0-9_]{0,30}$")),
    {"type": "string", "pattern": "^[a-z]+( [a-z]+){1,4}$"},
    {"type": "string", "pattern": "^([a-z]+ ){1,4}[0-9é]+$"},
]


@pytest.mark.parametrize("schema", TEXTS, ids=str)
def test_tokens_that_are_taken_whole_are_those_that_are_legal(
    schema: dict[str, Any], vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinds of tokens make masks faster, and change none."""
    grammar, random = Grammar.json_schema(schema), Random(str(schema))
    fast = Compiler(vocabulary, N_ROWS).compile(grammar)
    monkeypatch.setattr("harmonium.harmony.grammar.SLICES", ())
    plain = Compiler(vocabulary, N_ROWS).compile(grammar)
    for _ in range(8):
        one, other = fast(), plain()
        for _ in range(40):
            mask = one.mask()
            assert np.array_equal(mask, other.mask())
            allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
            if not allowed:
                break
            id_ = random.choice(allowed)
            one.accept(id_)
            other.accept(id_)
