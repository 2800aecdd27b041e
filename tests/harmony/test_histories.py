"""Histories as data sets, proxies and other clients really have them."""

from __future__ import annotations

from typing import Any

import pytest

from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation
from harmonium.harmony.messages import Author, Channel, Conversation, DeveloperContent, Message, Role, ToolSpec
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony.test_convert import ASK, call, read


def calling(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


@pytest.mark.parametrize("id_", ["", "the same"])
def test_names_tell_calls_apart_where_ids_do_not(id_: str) -> None:
    calls = calling(call("f", "1", id_), call("g", "2", id_))
    results = [result(f"of {name}", name=name, tool_call_id=id_) for name in ("g", "f")]
    said = read(ASK, calls, *results)[1:]
    assert [message.recipient for message in said[0::2]] == ["functions.g", "functions.f"]
    assert [(message.author.name, message.text) for message in said[1::2]] == [
        ("functions.g", "of g"),
        ("functions.f", "of f"),
    ]


def test_ids_tell_calls_apart_whatever_the_names() -> None:
    calls = calling(call("f", "1", "one"), call("f", "2", "two"))
    said = read(ASK, calls, result("b", name="f", tool_call_id="two"), result("a", name="g", tool_call_id="one"))
    assert [message.text for message in said[1:]] == ["2", "b", "1", "a"]


def test_calls_in_messages_of_their_own_are_made_at_once() -> None:
    """And a word between them is a step: what was called before it stands before it."""
    calls = [calling(call(name, "{}", name)) for name in ("f", "g")]
    results = [result(name, tool_call_id=name) for name in ("f", "g")]
    assert read(ASK, *calls, *results) == read(ASK, calling(*(c["tool_calls"][0] for c in calls)), *results)
    apart = read(ASK, calls[0], {**calls[1], "reasoning": "Now g."}, *results)
    assert [message.recipient or message.text for message in apart][1:4] == ["functions.f", "Now g.", "assistant"]


def test_an_answer_cut_in_its_reasoning_has_no_final_message() -> None:
    cut = {"role": "assistant", "reasoning_content": "Hm", "content": ""}
    assert read(ASK, cut) == read(ASK, {**cut, "content": None})
    assert [message.channel for message in read(ASK, cut)] == [None, Channel.ANALYSIS]
    assert read(ASK, {**cut, "channel": "final"})[-1].channel == Channel.FINAL, "unless it says so"


def test_rows_with_every_column() -> None:
    """Tables of messages have every key, most of them null."""
    columns = dict.fromkeys(("name", "recipient", "channel", "content_type", "tool_calls", "tool_call_id", "thinking"))
    said = [{"role": "system", "content": "Be brief."}, ASK, calling(call("f", "{}", "1")), result("2", name="f")]
    rows = [columns | message for message in [*said, {"role": "assistant", "content": "Two."}]]
    assert conversation(rows, effort="high") == conversation(
        [*said, {"role": "assistant", "content": "Two."}], effort="high"
    )


@pytest.mark.parametrize("kind", ["file", "image", "audio", "video"])
def test_data_with_the_type_of_a_part_are_data(kind: str) -> None:
    listed = [{"type": kind, "name": "a"}]
    assert read(ASK, calling(call("ls", "{}", "1")), result(listed, tool_call_id="1"))[-1].text == (
        f'[{{"type":"{kind}","name":"a"}}]'
    )
    told = read(ASK, calling(call("ls", "{}", "1")), result([{"type": kind, "file": {}}], tool_call_id="1"))[-1].text
    assert told.startswith("[The ") and "left out" in told, "a part is told of in words"


def test_a_tool_is_declared_once() -> None:
    spec = ToolSpec("now", "The time.")
    told = [Message.developer(DeveloperContent(tools=(spec,))), ASK]
    [developer] = read(*told, tools=[spec])[0].content
    assert isinstance(developer, DeveloperContent) and developer.tools == (spec,)
    with pytest.raises(BadRequest, match="'now' is declared twice, in two ways"):
        read(*told, tools=[ToolSpec("now", "The date.")])


def test_no_tool_speaks_as_another_role(o200k: Vocabulary) -> None:
    said = Conversation((Message(Author(Role.TOOL, "system"), ("r",), Channel.COMMENTARY, "assistant"),))
    with pytest.raises(BadRequest, match=r"functions\.system"):
        render(said, o200k)


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_call_has_a_name(name: Any) -> None:
    with pytest.raises(BadRequest, match="A tool call is"):
        read(ASK, calling(call(name, "{}")))
