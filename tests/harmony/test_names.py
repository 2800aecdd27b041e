"""Functions of any name are called and known again; names that a header can hold stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.harmony.header import is_recipient
from harmonium.harmony.messages import Conversation, DeveloperContent, Message, ToolSpec
from harmonium.harmony.names import spoken_names
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary


@pytest.mark.parametrize(
    "name", ["get_weather", "my-tool.v2", "github/list-issues", "a:b@c$", "Größe", "погода", "देखो", "天気", "🦊", "f.2"]
)
def test_names_that_headers_hold_stand_for_themselves(name: str) -> None:
    assert spoken_names([name]) == {}


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["look up (v2)"], ["look_up__v2_"]),
        (["a b", "a\tb", "a_b", "a?b"], ["a_b_2", "a_b_3", "a_b_4"]),
        (["up!", "up_", "up.", "up-"], ["up__2", "up._", "up-_"]),
        (["<|call|>", "\x00", " "], ["__call__", "_", "__2"]),
        (["a b", "a b"], ["a_b"]),
    ],
)
def test_other_names_are_written_otherwise_and_stay_distinct(names: list[str], written: list[str]) -> None:
    assert list(spoken_names(names).values()) == written


NAMES = st.text(st.sampled_from("ab_.-/ !?<|>\n日é🦊\u0301"), min_size=1, max_size=5)


@given(names=st.lists(NAMES, min_size=1, max_size=6, unique=True))
@settings(max_examples=300, deadline=None)
def test_calls_of_any_names_come_back(names: list[str], o200k: Vocabulary) -> None:
    tools = tuple(ToolSpec(name) for name in names)
    turns = [(Message.call(name, "{}"), Message.tool(f"functions.{name}", "1")) for name in names]
    said = (Message.developer(DeveloperContent(tools=tools)), *(message for turn in turns for message in turn))
    ids = render(Conversation(said), o200k, next_role=None)
    parsed = parse(ids, o200k, role=None, functions=names)
    assert (parsed.messages[1:], parsed.repairs) == (said[1:], ())
    spoken = spoken_names(names)
    declared = [spoken.get(name, name) for name in names]
    assert len(set(declared)) == len(names)
    assert all(is_recipient(f"functions.{name}") for name in declared)
    text = o200k.decode(ids)
    assert all(f"type {name} = () => any;" in text for name in declared)
