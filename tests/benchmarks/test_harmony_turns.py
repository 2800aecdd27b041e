"""The benchmark of sampled turns, on few of them: it finds nothing with the automaton, and something without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harmony_turns import ANSWER, bounded, holds, questions, run
from harmonium import LLM


def test_hot_turns_are_well_formed_by_construction(nano: Path) -> None:
    llm, asked = LLM(context=4096), questions(20)
    kinds = {(bool(question.strict), question.schema is not None) for question in asked}
    assert kinds == {(False, False), (True, False), (True, True), (False, True)}
    on = run(llm, asked, 2.0, is_on=True, max_tokens=200)
    off = run(llm, asked, 3.0, is_on=False, max_tokens=60)
    assert on["turns"] == 20 and on["calls"] > 5 and on["bodies"] > 5
    assert on["bad_headers"] == on["other_repairs"] == on["undeclared"] == on["invalid"] == 0
    assert on["bodies_cut"] <= on["bodies"] / 10
    assert off["bad_headers"] > 5


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ('{"answer": "Lima", "sure": true}', True),
        ('{"answer": "Lima", "sure": true, "sources": ["user"]}', True),
        ('{"answer": "Lima"}', False),
        ('{"answer": "Lima", "sure": 1}', False),
        ('{"answer": "Lima", "sure": true, "more": 1}', False),
        ('{"answer": "Lima", "sure": true, "sources": ["web"]}', False),
        ('{"answer": "' + 61 * "x" + '", "sure": true}', False),
        ('{"answer": "Lima", "sure": tr', False),
        ("Lima", False),
    ],
)
def test_answers_are_checked(text: str, is_right: bool) -> None:
    assert holds(text, ANSWER) == is_right


def test_bounded_schemas_have_an_end() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "number"}, "to": {"type": "array"}}}
    limited = bounded(schema)
    assert holds('{"n": 3, "to": ["a"]}', limited)
    for wrong in ('{"n": 2.5}', '{"n": 12345678}', '{"to": ["a", "b", "c", "d", "e"]}', '{"m": 1}', '["n"]'):
        assert not holds(wrong, limited)
