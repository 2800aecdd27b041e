"""Grammars that take for ever to compile are refused, and the next ones are compiled all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from harmonium.errors import BadRequest, Busy
from harmonium.harmony import trial as trials
from harmonium.harmony.fair_lock import Claim
from harmonium.harmony.grammar import Grammar
from harmonium.harmony.plain_schema import LONGEST, is_plain
from harmonium.harmony.trial import Trial

PARTS = ["".join(letters) for letters in product("abc", "def", "gh")]
ENDLESS = {"type": "string", "allOf": [{"pattern": f".*{part}.*"} for part in PARTS]}
PLAIN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "unit": {"enum": ["C", "F"], "default": "C"},
        "days": {"type": ["integer", "null"]},
        "near": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
        "at": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "title": "At"},
        "allOf": {"type": "object", "additionalProperties": {"const": 1}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"Place": {"type": "object", "properties": {"pattern": {"type": "number"}}}},
}


def test_a_grammar_without_end_is_refused_and_others_are_not() -> None:
    with Trial(within_s=1.0) as trial, trial.asked_by("me") as pass_:
        pass_(Grammar.regex("[0-9]"))
        with pytest.raises(BadRequest, match="more than 1 s to compile; let fewer patterns hold at once"):
            pass_(Grammar.json_schema(ENDLESS))
        with pytest.raises(BadRequest, match="more than 1 s to compile"):
            pass_(Grammar.json_schema(ENDLESS))
        assert trial._process is None, "what was refused is not tried again"
        pass_(Grammar.regex("[a-z]+"))
        pass_(Grammar.regex("(["))  # what is wrong with it is for the compiler to say
        assert trial._process is not None
        os.kill(trial._process.pid, signal.SIGKILL)
        trial._process.wait()
        pass_(Grammar.regex("a"))
        process = trial._process
        assert process.poll() is None
    assert process.poll() is not None


def test_nobody_waits_for_long_and_plain_schemas_not_at_all() -> None:
    with Trial(within_s=0.05) as trial, trial.asked_by("me") as pass_:
        with trial._turns.held(Claim("other"), 1):
            with pytest.raises(Busy, match="send this one again") as busy:
                pass_(Grammar.regex("a"))
            assert busy.value.retry_after_s == 0.05
            pass_(Grammar.json_schema(PLAIN))
        pass_(Grammar.json_object())
        assert trial._process is None


def test_what_is_refused_is_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MOST_REFUSED", 2)
    with Trial() as trial:
        for digest in (b"a", b"b", b"c"):
            trial._remember(digest)
        assert list(trial._refused) == [b"b", b"c"]


@pytest.mark.parametrize("is_strict", [True, False])
def test_schemas_of_most_tools_are_plain(is_strict: bool) -> None:
    assert is_plain(Grammar.json_schema(PLAIN, is_strict)) and is_plain(Grammar.json_object())
    assert not is_plain(Grammar.json_schema(PLAIN | {"description": "x" * LONGEST}, is_strict))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grammar.regex("a"),
        lambda: Grammar.lark('start: "a"'),
        lambda: Grammar.json_schema({"type": "string", "pattern": "a"}),
        lambda: Grammar.json_schema({"type": "string", "format": "date"}),
        lambda: Grammar.json_schema({"type": "array", "items": {"type": "string", "maxLength": 9}}),
        lambda: Grammar.json_schema({"type": "object", "additionalProperties": {"multipleOf": 3, "type": "integer"}}),
        lambda: Grammar.json_schema({"anyOf": [{"type": "string"}, {"allOf": [{"enum": ["a"]}]}]}),
        lambda: Grammar.json_schema({"type": "object", "anyOf": [{"required": ["a"]}], "properties": {"a": {}}}),
        lambda: Grammar.json_schema({"$ref": "#/$defs/A", "$defs": {"A": {"type": "string", "pattern": "a"}}}),
    ],
)
def test_others_are_not(make: Callable[[], Grammar]) -> None:
    assert not is_plain(make())
