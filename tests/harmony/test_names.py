"""Functions of any name are called and known again; names that a header can hold stay as they are."""

from __future__ import annotations

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.harmony.header import Recipients, is_recipient
from harmonium.harmony.messages import Conversation, DeveloperContent, Message, ToolSpec
from harmonium.harmony.names import spoken_names
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony.oracle import ours, theirs


@pytest.mark.parametrize(
    "name",
    [
        *("get_weather", "my-tool.v2", "github/list-issues", "a:b@c$", "Größe", "погода", "देखो", "天気", "🦊", "f.2"),
        *(
            "f-",
            "end.",
            "f/",
            "look?up",
            "f+g",
            "a,b",
            "résumé!",
            "f(x)",
            "[f]",
            "~f",
            "<|call|>",
            "user",
            "to=x",
            "\xa0",
        ),
        *("a\u2028b", "\ue005", "\x00", "f" + "(x)" * 30, "json", "?"),
    ],
)
def test_names_that_headers_hold_stand_for_themselves(
    name: str, o200k: Vocabulary, reference: oh.HarmonyEncoding
) -> None:
    """Written and read as the reference does, whether declared or not, before the channel, behind it and as author."""
    assert spoken_names([name]) == {}
    said = (Message.call(name, "{}"), Message.tool(f"functions.{name}", "1"), Message.call(name, "[]"))
    ids = render(Conversation(said), o200k, next_role=None)
    assert ids == reference.render_conversation(theirs(Conversation(said)))
    behind = [*o200k.encode("<|start|>assistant<|channel|>commentary to=functions.", parse_special=True)]
    behind += [*o200k.encode(name), *o200k.encode(" <|constrain|>json<|message|>{}<|call|>", parse_special=True)]
    for written, expected in ((ids, said), (behind, said[:1])):
        assert list(map(ours, reference.parse_messages_from_completion_tokens(written, role=None))) == list(expected)
        for declared in ([], [name], [name, "f", "x"]):
            parsed = parse(written, o200k, role=None, functions=declared)
            assert (parsed.messages, parsed.repairs) == (expected, ())


@pytest.mark.parametrize(
    ("declared", "written", "meant", "repairs"),
    [
        (["f"], "f??", "f", ["header_text"]),
        (["f"], "f-", "f", ["header_text"]),
        (["f", "f-"], "f-", "f-", []),
        (["f", "f-"], "f-?", "f-", ["header_text"]),
        (["f(x)", "f"], "f(x)", "f(x)", []),
        (["f"], "f(x)", "f(x)", []),
        (["f"], "fg", "fg", []),
        (["f"], "f_", "f_", []),
        (["g"], "f??", "f??", []),
        ([], "f??", "f??", []),
    ],
)
def test_a_declared_name_is_told_from_noise(
    declared: list[str], written: str, meant: str, repairs: list[str], o200k: Vocabulary
) -> None:
    ids = o200k.encode(f"<|channel|>commentary to=functions.{written} json<|message|>{{}}<|call|>", parse_special=True)
    parsed = parse(ids, o200k, functions=declared)
    assert [(message.recipient, message.text) for message in parsed.messages] == [(f"functions.{meant}", "{}")]
    assert [repair.kind for repair in parsed.repairs] == repairs


@pytest.mark.parametrize(
    "header", ["{name}{{}}<|call|>", "{name}??  <|message|>{{}}<|call|>", "{name}  json<|message|>{{}}<|call|>"]
)
@pytest.mark.parametrize("name", ["f(x)", "end.", "f-", "f"])
def test_declared_names_are_found_in_malformed_headers(name: str, header: str, o200k: Vocabulary) -> None:
    text = "<|channel|>commentary to=functions." + header.format(name=name)
    parsed = parse(o200k.encode(text, parse_special=True), o200k, functions=[name, "x"])
    assert [(message.recipient, message.text) for message in parsed.messages] == [(f"functions.{name}", "{}")]


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["look up (v2)"], ["look_up_(v2)"]),
        (["a b", "a\tb", "a_b", "a?b"], ["a_b_2", "a_b_3"]),
        (["up ", "up_", "up.", "up-"], ["up__2"]),
        (
            ["a<|channel|>", "<|constrain|>", "_", " ", "", "\ud800"],
            ["a_|channel|>", "_|constrain|>", "__2", "__3", "__4"],
        ),
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


@given(
    st.lists(st.text("ab_.é", min_size=1, max_size=6), max_size=12), st.text("ab_.é ", max_size=12), st.integers(0, 4)
)
def test_the_longest_declared_name_is_found(names: list[str], text: str, start: int) -> None:
    """As a look at every one of them would: it stands there, and does not go on as a word."""

    def goes_on(at: int) -> bool:
        return text[at - 1].isalnum() and (text[at : at + 1].isalnum() or text[at : at + 1] == "_")

    standing = [name for name in names if text.startswith(name, start) and not goes_on(start + len(name))]
    assert Recipients(names).longest_at(text, start) == max(standing, key=len, default="")
