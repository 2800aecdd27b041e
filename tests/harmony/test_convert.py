"""Messages as people have them become harmony's, nothing is dropped silently, and they come back."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation, read_arguments, to_dicts
from harmonium.harmony.messages import (
    Author,
    Channel,
    Conversation,
    DeveloperContent,
    Effort,
    Message,
    ResponseFormat,
    Role,
    SystemContent,
    ToolSpec,
)
from tests.harmony import golden

ASK = {"role": "user", "content": "Hi"}


def read(*messages: Any, **settings: Any) -> tuple[Message, ...]:
    """What stands behind the system message."""
    system, *rest = conversation(list(messages), **settings).messages
    assert system.role is Role.SYSTEM
    return tuple(rest)


def call(name: str, arguments: Any, id_: str | None = None) -> dict[str, Any]:
    function = {"function": {"name": name, "arguments": arguments}}
    return function if id_ is None else {"id": id_, "type": "function", **function}


def test_a_question_is_enough() -> None:
    assert conversation("Hi") == Conversation((Message.system(), Message.user("Hi")))
    assert conversation("Hi") == conversation([ASK]) == conversation(conversation("Hi"))


def test_settings_make_the_system_message() -> None:
    built = conversation(
        "Hi",
        effort="high",
        identity="You are Kim.",
        date=datetime.date(2026, 1, 2),
        knowledge_cutoff="2025-05",
        builtin_tools=["python", "browser"],
    )
    content = SystemContent("You are Kim.", Effort.HIGH, "2025-05", "2026-01-02", ("python", "browser"))
    assert built.messages[0] == Message.system(content)


def test_settings_override_a_given_system_message() -> None:
    given_ = Message.system(SystemContent("You are Kim.", Effort.LOW, builtin_tools=("browser",)))
    assert conversation([given_, ASK]).messages[0] == given_
    changed = conversation([given_, ASK], effort="high", builtin_tools=["python"]).messages[0]
    assert changed == Message.system(SystemContent("You are Kim.", Effort.HIGH, builtin_tools=("browser", "python")))


def test_system_text_becomes_the_developer_message() -> None:
    said = read({"role": "system", "content": "Be brief."}, {"role": "developer", "content": "In French."}, ASK)
    assert said == (Message.developer(DeveloperContent("Be brief.\n\nIn French.")), Message.user("Hi"))


def test_later_system_text_stays_where_it_is() -> None:
    said = read(ASK, {"role": "system", "content": "Be brief."}, ASK)
    assert said[1] == Message.developer(DeveloperContent("Be brief."))


def test_tools_join_the_instructions() -> None:
    given_ = Message.developer(DeveloperContent("Be brief.", (golden.WEATHER,)))
    said = read({"role": "system", "content": "Be kind."}, given_, ASK, tools=[golden.NOW])
    assert said[0] == Message.developer(DeveloperContent("Be kind.\n\nBe brief.", (golden.WEATHER, golden.NOW)))
    plain = Message(Author(Role.DEVELOPER), ("as it is",))
    assert read(plain, ASK, tools=[golden.NOW])[:2] == (
        Message.developer(DeveloperContent(tools=(golden.NOW,))),
        plain,
    )


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_under_any_of_its_names(key: str) -> None:
    said = read(ASK, {"role": "assistant", key: "Hm.", "content": "Hello"})
    assert said[1:] == (Message.analysis("Hm."), Message.final("Hello"))
    assert read(ASK, {"role": "assistant", key: "Hm.", "content": None})[1:] == (Message.analysis("Hm."),)


@pytest.mark.parametrize("arguments", ['{"city":"Lima"}', {"city": "Lima"}])
def test_calls_and_results(arguments: Any) -> None:
    calling = {"role": "assistant", "content": "I look.", "tool_calls": [call("get_weather", arguments, "c1")]}
    said = read(
        ASK, calling, {"role": "tool", "tool_call_id": "c1", "content": {"sky": "grey"}}, tools=[golden.WEATHER]
    )
    assert said[2:] == (
        Message.commentary("I look."),
        Message.call("get_weather", '{"city":"Lima"}'),
        Message.tool("functions.get_weather", '{"sky":"grey"}'),
    )


@pytest.mark.parametrize(
    "result",
    [
        {"role": "tool", "content": "12:00"},
        {"role": "tool", "name": "now", "content": "12:00"},
        {"role": "function", "name": "functions.now", "content": "12:00"},
        {"role": "tool", "tool_call_id": "unknown", "content": [{"type": "text", "text": "12:00"}]},
    ],
)
def test_results_without_a_known_id(result: dict[str, Any]) -> None:
    said = read(ASK, {"role": "assistant", "tool_calls": [call("now", None)]}, result)
    assert said[1:] == (Message.call("now", "{}"), Message.tool("functions.now", "12:00"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"text": "b"}], "ab"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (["a", "b"], '["a","b"]'),
        ([{"a": 1}, 2.5], '[{"a":1},2.5]'),
        (3, "3"),
        (True, "true"),
    ],
)
def test_results_of_any_type(content: Any, text: str) -> None:
    said = read(ASK, {"role": "assistant", "tool_calls": [call("f", {})]}, {"role": "tool", "content": content})
    assert said[-1].text == text


def test_calls_and_results_of_functions_of_any_name() -> None:
    """The names stay people's own; the rendering writes them as headers can (tests/harmony/test_names.py)."""
    tool = {"type": "function", "function": {"name": "look up", "parameters": {"type": "object"}}}
    said = read(
        ASK,
        {"role": "assistant", "tool_calls": [call("look up", {"q": "x"}, "1")]},
        {"role": "tool", "tool_call_id": "1", "content": "y"},
        tools=[tool],
    )
    assert said[2:] == (Message.call("look up", '{"q":"x"}'), Message.tool("functions.look up", "y"))
    dicts = to_dicts(said[1:])
    assert dicts[1]["tool_calls"][0]["function"]["name"] == dicts[2]["name"] == "look up"
    assert read(*dicts, tools=[tool]) == said


def test_keys_without_a_value_say_nothing() -> None:
    """Clients that write every field that they know of lose nothing by it."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    nulls = {"recipient": None, "channel": None, "content_type": None, "name": None, "function_call": None}
    assert conversation([nulls | message for message in said]) == conversation(said)
    harmony = {"role": "assistant", "channel": "final", "recipient": None, "content_type": "code", "content": "y"}
    assert conversation([harmony]).messages[-1].content_type == "code"


def test_a_function_with_the_name_of_a_recipient() -> None:
    said: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
    for name in ("functions.f", "f"):
        call = {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        said += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": name, "content": "1"}]
    tools = [{"name": "functions.f"}, {"name": "f"}]
    recipients = [m.recipient for m in conversation(said, tools=tools).messages if m.role is Role.ASSISTANT]
    assert recipients == ["functions.functions.f", "functions.f"]
    alone = [m.recipient for m in conversation(said, tools=tools[1:]).messages if m.role is Role.ASSISTANT]
    assert alone == ["functions.f", "functions.f"]


def test_parallel_calls_are_set_before_their_results() -> None:
    calls = [call("a", "{}", "1"), call("b", "{}", "2"), call("c", "{}", "3")]
    results = [{"role": "tool", "tool_call_id": id_, "content": id_} for id_ in ("2", "1")]
    said = read(ASK, {"role": "assistant", "content": "", "tool_calls": calls}, *results, ASK)
    assert [message.recipient or message.text for message in said] == [
        *("Hi", "functions.b", "assistant", "functions.a", "assistant", "functions.c", "Hi")
    ]


def test_builtin_calls_only_where_builtin_tools_are_offered() -> None:
    calling = {"role": "assistant", "tool_calls": [call("python", {"code": "2"})]}
    result = {"role": "tool", "content": "2"}
    assert read(ASK, calling, result, builtin_tools=["python"])[1:] == (
        Message.builtin_call("python", "2"),
        Message.tool("python", "2", Channel.ANALYSIS),
    )
    assert read(ASK, calling, result)[1] == Message.call("python", '{"code":"2"}')


def test_other_shapes() -> None:
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}}
    assert read(ASK, legacy)[1] == Message.call("now", "{}")
    refused = {"role": "assistant", "content": None, "refusal": "No."}
    assert read(ASK, refused)[1] == Message.final("No.")
    assert read(ASK, {"role": "assistant", "content": None})[1] == Message.final("")
    parts = ["one", {"type": "input_text", "text": "two"}]
    assert read({"role": "user", "name": "Kim Lee", "content": parts})[0] == Message(
        Author(Role.USER, "Kim_Lee"), ("one", "two")
    )
    harmony = {
        "role": "assistant",
        "channel": "analysis",
        "recipient": "python",
        "content": "2",
        "content_type": "code",
    }
    assert read(ASK, harmony)[1] == Message.builtin_call("python", "2")
    assert read(ASK, {"role": "assistant", "channel": "commentary", "content": "x"})[1] == Message.commentary("x")


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_schema", "json_schema": {"name": "list", "schema": {"type": "object"}, "strict": True}},
        {"type": "json_schema", "name": "list", "schema": {"type": "object"}},
        ResponseFormat("list", {"type": "object"}),
    ],
)
def test_response_formats(wanted: Any) -> None:
    assert read(ASK, response_format=wanted)[0] == Message.developer(
        DeveloperContent(response_formats=(ResponseFormat("list", {"type": "object"}),))
    )
    assert read(ASK, response_format={"type": "json_object"}) == (Message.user("Hi"),)


@pytest.mark.parametrize(
    ("messages", "settings", "words"),
    [
        ([], {}, "no messages"),
        ([3], {}, "Message 0"),
        (3, {}, "Messages are a text or a list"),
        ([ASK, {"role": "assistant", "tool_calls": 3}], {}, "Message 1: A tool call is"),
        ([{"role": "user", "recipient": ["f"]}], {}, "recipient of a message is text"),
        ([{"content": "x"}], {}, "None is no role"),
        ([ASK, {"role": "bot", "content": "x"}], {}, "Message 1: 'bot' is no role"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], {}, "'image_url'"),
        ([{"role": "user", "content": 3}], {}, "text or a list"),
        ([{"role": "user", "content": b"Hi"}], {}, "not bytes"),
        ([{"role": "tool", "content": "x"}], {}, "answers no call"),
        ([{"role": "assistant", "tool_calls": [{"id": "x"}]}], {}, "A tool call is"),
        ([{"role": "assistant", "channel": "aside", "content": "x"}], {}, "no channel"),
        ([ASK], {"effort": "max"}, "low, medium, high"),
        ([ASK], {"builtin_tools": ["calculator"]}, "no builtin tool"),
        ([ASK], {"tools": [golden.NOW, golden.NOW]}, "Two tools are named 'now'"),
        ([ASK], {"tools": [{"type": "web_search"}]}, "web_search"),
        ([ASK], {"response_format": {"type": "xml"}}, "json_schema"),
        ([ASK], {"response_format": {"type": "json_schema", "name": "a\n# b", "schema": {}}}, "one line"),
        ([ASK], {"date": "2025-13-45"}, "no date"),
        ([ASK], {"date": 5}, "no date"),
    ],
)
def test_what_cannot_be_told_is_refused(messages: list[Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        conversation(messages, **settings)


def test_calls_of_one_function_are_told_apart_by_their_ids() -> None:
    calls = [call("get_weather", {"city": city}, city) for city in ("Lima", "Oslo", "Rome")]
    results = [{"role": "tool", "tool_call_id": city, "content": city} for city in ("Rome", "Lima", "Oslo")]
    said = read(ASK, {"role": "assistant", "content": None, "tool_calls": calls}, *results)[1:]
    assert [message.text for message in said[0::2]] == [f'{{"city":"{city}"}}' for city in ("Rome", "Lima", "Oslo")]
    assert [message.text for message in said[1::2]] == ["Rome", "Lima", "Oslo"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"code": "1 + 1"}, "1 + 1"),
        ('{"code": "print(\\"é\\")\\n1"}', 'print("é")\n1'),
        ("{1: 2}", "{1: 2}"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"code": "1", "n": 2}', '{"code": "1", "n": 2}'),
        ("print(1)", "print(1)"),
    ],
)
def test_code_of_builtin_calls(arguments: Any, code: str) -> None:
    said = read(ASK, {"role": "assistant", "tool_calls": [call("python", arguments)]}, builtin_tools=["python"])
    assert said[1:] == (Message.builtin_call("python", code),)


LEFT_OUT = "[The image that was here is left out: only text can be read.]"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "issue", "id": 3}], '[{"type":"issue","id":3}]'),
        ([{"type": "text", "id": 3}], '[{"type":"text","id":3}]'),
        ([{"type": ["text"]}], '[{"type":["text"]}]'),
        ([{"type": "text", "text": "a"}, {"text": "b"}], "ab"),
        ([{"type": "file", "name": "a"}, {"type": "image"}], '[{"type":"file","name":"a"},{"type":"image"}]'),
        ([{"type": "text", "text": "a"}, {"type": "image", "data": "AA"}], f"a{LEFT_OUT}"),
        ({"type": "input_image", "file_id": "f"}, LEFT_OUT),
    ],
)
def test_results_that_are_data_are_told_from_parts(content: Any, text: str) -> None:
    calling = {"role": "assistant", "tool_calls": [call("now", {}, "c")]}
    assert read(ASK, calling, {"role": "tool", "tool_call_id": "c", "content": content})[-1].text == text


def test_reasoning_in_parts() -> None:
    parts = [{"type": "reasoning_text", "text": "Hm"}, {"type": "summary_text", "text": "."}]
    (_, thought, _) = read(ASK, {"role": "assistant", "reasoning": parts, "content": "4"})
    assert (thought.channel, thought.text) == (Channel.ANALYSIS, "Hm.")


TEXT = st.text("ab \n🫠{", max_size=6)
CALLS = st.sampled_from(["now", "get_weather"]).flatmap(
    lambda name: TEXT.map(lambda text: (Message.call(name, text), Message.tool(f"functions.{name}", text)))
)
BUILTIN_CALLS = TEXT.map(
    lambda text: (Message.builtin_call("python", text), Message.tool("python", text, Channel.ANALYSIS))
)
STEPS = st.tuples(
    st.lists(TEXT.map(Message.analysis), max_size=2),
    st.lists(TEXT.filter(bool).map(Message.commentary), max_size=2),
    st.lists(CALLS | BUILTIN_CALLS, max_size=1).map(lambda calls: calls[0] if calls else ()),
).map(lambda step: (*step[0], *step[1], *step[2]))
TURNS = st.tuples(TEXT.map(Message.user), st.lists(STEPS, max_size=3), TEXT.map(Message.final)).map(
    lambda turn: (turn[0], *(message for step in turn[1] for message in step), turn[2])
)


@given(turns=st.lists(TURNS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_messages_come_back(turns: list[tuple[Message, ...]]) -> None:
    said = tuple(message for turn in turns for message in turn)
    said = tuple(
        message for message in said if message.channel != Channel.ANALYSIS or message.recipient or message.text
    )
    dicts = to_dicts(said)
    assert json.loads(json.dumps(dicts)) == dicts
    assert read(*dicts, builtin_tools=["python"]) == said


def test_what_the_chat_api_has_no_place_for_is_not_kept() -> None:
    author, question = Author(Role.ASSISTANT), Message.user("q")
    typed = Message(author, ("{}",), Channel.FINAL, None, "<|constrain|>json")
    elsewhere = Message(author, ("{}",), Channel.ANALYSIS, "functions.f")
    empty = (Message.analysis(""), Message.commentary(""))
    for said, kept in (
        ((typed,), (Message.final("{}"),)),
        ((elsewhere,), (Message.call("f", "{}"),)),
        ((*empty, Message.call("f", "{}")), (Message.call("f", "{}"),)),
    ):
        assert conversation(to_dicts((question, *said))).messages[1:] == (question, *kept)


def test_functions_with_names_of_recipients_come_back_where_they_are_declared() -> None:
    said = (Message.user("q"), Message.call("functions.f", "{}"), Message.tool("functions.functions.f", "1"))
    assert conversation(to_dicts(said), tools=[ToolSpec("functions.f")]).messages[-3:] == said


def test_developer_text_comes_back() -> None:
    before = (golden.SYSTEM, golden.BRIEF, golden.ASK)
    assert to_dicts(before) == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 2?"},
    ]
    assert conversation(to_dicts(before)).messages == before


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, null, "x\\ny"]}',
        "{'a': [1, None, 'x\\ny']}",
        '```json\n{"a": [1, null, "x\\ny"]}\n```',
        ' {"a": [1, null, "x\ny"]} ',
    ],
)
def test_arguments_in_the_forms_that_models_write(text: str) -> None:
    assert read_arguments(text) == {"a": [1, None, "x\ny"]}


def test_arguments_that_are_none() -> None:
    assert read_arguments("  ") == {}
    for text in ("[1]", "{1: 2}", "{a: 1}", "print(1)", "[" * 100_000, "{'a': 1"):
        with pytest.raises(BadRequest, match="arguments are not"):
            read_arguments(text)
