"""Grammars that take for ever to compile are refused, and the next ones are compiled all the same."""

from __future__ import annotations

import os
import signal
from itertools import product

import pytest

from harmonium.errors import BadRequest
from harmonium.harmony.grammar import Grammar
from harmonium.harmony.trial import Trial

PARTS = ["".join(letters) for letters in product("abc", "def", "gh")]
ENDLESS = {"type": "string", "allOf": [{"pattern": f".*{part}.*"} for part in PARTS]}


def test_a_grammar_without_end_is_refused_and_others_are_not() -> None:
    with Trial(within_s=1.0) as trial:
        trial(Grammar.json_object())
        with pytest.raises(BadRequest, match="more than 1 s to compile; let fewer patterns hold at once"):
            trial(Grammar.json_schema(ENDLESS))
        trial(Grammar.regex("[a-z]+"))
        trial(Grammar.regex("(["))  # what is wrong with it is for the compiler to say
        assert trial._process is not None
        os.kill(trial._process.pid, signal.SIGKILL)
        trial._process.wait()
        trial(Grammar.regex("a"))
        process = trial._process
        assert process.poll() is None
    assert process.poll() is not None
