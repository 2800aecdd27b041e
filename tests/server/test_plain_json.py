"""JSON that clients have read and written anew says the same, and nothing else does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonium.server.plain_json import is_same

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values, st.booleans())
def test_what_is_written_anew_is_the_same(value: object, is_escaped: bool) -> None:
    for indent in (None, 2):
        written = json.dumps(value, ensure_ascii=is_escaped, indent=indent)
        assert is_same(written, json.dumps(value)) and (isinstance(value, str) or is_same(value, written))


@given(values, values)
def test_what_differs_is_not(one: object, other: object) -> None:
    assert is_same(json.dumps(one), json.dumps(other)) == is_same(json.dumps(other), json.dumps(one))
    if repr(one) != repr(other) and not isinstance(one, (int, float)):
        assert one == other or not is_same(json.dumps(one), json.dumps(other))


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ('{"a": 1.0, "b": 1152921504606846977}', '{"b":1152921504606847000,"a":1}', True),
        ("", "{}", True),
        ("{'a': 1}", "{'a': 1}", True),
        ("{'a': 1}", "{'a':1}", False),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": null}', "{}", False),
        ('["a", "b"]', '["b", "a"]', False),
        ("[" * 100_000, "[" * 100_000, True),
        ("1" + "0" * 400, "1" + "0" * 400, True),
    ],
)
def test_some_of_each(one: str, other: str, are_same: bool) -> None:
    assert is_same(one, other) is are_same
