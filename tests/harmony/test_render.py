"""Renderings equal openai-harmony's, id by id; where they do not, a test says why."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import openai_harmony as oh
import pytest

from harmonium.errors import BadRequest
from harmonium.harmony.messages import (
    Author,
    Conversation,
    DeveloperContent,
    Message,
    ResponseFormat,
    Role,
    SystemContent,
    ToolSpec,
)
from harmonium.harmony.parse import parse
from harmonium.harmony.render import Learned, render, render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony import golden
from tests.harmony.oracle import theirs


@pytest.mark.parametrize("name", golden.GOLDEN)
def test_same_ids_as_the_reference(name: str, o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    conversation = golden.GOLDEN[name]
    expected = reference.render_conversation_for_completion(theirs(conversation), oh.Role.ASSISTANT)
    assert o200k.decode(render(conversation, o200k)) == o200k.decode(expected)
    assert render(conversation, o200k) == expected
    assert render(conversation, o200k, next_role=None) == reference.render_conversation(theirs(conversation))


def test_builtin_tools_have_one_order(o200k: Vocabulary) -> None:
    swapped = Conversation((Message.system(SystemContent(builtin_tools=("python", "browser"))),))
    ordered = Conversation((Message.system(SystemContent(builtin_tools=("browser", "python"))),))
    assert render(swapped, o200k) == render(ordered, o200k)


def test_response_format_stands_at_the_end_of_the_developer_message(o200k: Vocabulary) -> None:
    """The layout of "Structured output" in the published description of the format."""
    schema = {"type": "object", "properties": {"items": {"type": "array"}}}
    formats = (ResponseFormat("shopping_list", schema, "What to buy.\nAll of it."), ResponseFormat("other", {}))
    content = DeveloperContent("Help.", (golden.NOW,), formats)
    text = o200k.decode(render(Conversation((Message.developer(content),)), o200k, next_role=None))
    assert text.endswith(
        "} // namespace functions\n\n# Response Formats\n\n## shopping_list\n\n// What to buy.\n// All of it.\n"
        '{"type":"object","properties":{"items":{"type":"array"}}}\n\n## other\n\n{}<|end|>'
    )


@pytest.mark.parametrize(
    "message",
    [
        Message(Author(Role.TOOL), ("x",)),
        Message(Author(Role.USER), (SystemContent(),)),
        Message(Author(Role.SYSTEM), (DeveloperContent(),)),
        Message.system(SystemContent(builtin_tools=("calculator",))),
    ],
)
def test_what_harmony_cannot_express_is_refused(message: Message, o200k: Vocabulary) -> None:
    with pytest.raises(BadRequest):
        render(Conversation((message,)), o200k)


def spans(conversation: Conversation, vocabulary: Vocabulary, learn_from: int = 0) -> list[tuple[int, str]]:
    """A training rendering as runs of one code."""
    ids, codes = render_for_training(conversation, vocabulary, learn_from)
    assert len(ids) == len(codes)
    runs: list[tuple[int, list[int]]] = []
    for id_, code in zip(ids, codes, strict=True):
        if not runs or runs[-1][0] != code:
            runs.append((code, []))
        runs[-1][1].append(id_)
    return [(code, vocabulary.decode(run)) for code, run in runs]


def test_training_learns_what_a_generation_produces(o200k: Vocabulary) -> None:
    messages = (golden.ASK, golden.THOUGHT, Message.commentary("I look."), golden.CALL, golden.RESULT)
    turn = Conversation((*messages, Message.analysis("Grey."), golden.ANSWER))
    assert spans(turn, o200k, learn_from=1) == [
        (Learned.NOTHING, "<|start|>user<|message|>What is 2 + 2?<|end|><|start|>assistant"),
        (Learned.ANALYSIS, "<|channel|>analysis<|message|>Simple: 4.<|end|>"),
        (Learned.COMMENTARY, "<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"),
        (
            Learned.CALL,
            "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>"
            '{"city":"Lima, Peru"}<|call|>',
        ),
        (
            Learned.NOTHING,
            '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>{"sky":"grey"}<|end|>'
            "<|start|>assistant",
        ),
        (Learned.ANALYSIS, "<|channel|>analysis<|message|>Grey.<|end|>"),
        (Learned.FINAL, "<|start|>assistant<|channel|>final<|message|>4<|return|>"),
    ]


def test_training_history_is_serving_history(o200k: Vocabulary) -> None:
    """Wherever a generation begins, its prompt is what stands before it in the training sequence."""
    messages = (
        *(golden.SYSTEM, golden.WITH_WEATHER, golden.ASK, Message.analysis("old"), golden.ANSWER, golden.LATER),
        *(golden.THOUGHT, golden.CALL, golden.RESULT, golden.THOUGHT, golden.CALL, golden.RESULT, golden.ANSWER),
    )
    ids, codes = render_for_training(Conversation(messages), o200k, learn_from=6)
    for begins in (6, 9, 12):
        prompt = render(Conversation(messages[:begins]), o200k)
        assert ids[: len(prompt)] == prompt
        assert codes[len(prompt) - 1] == Learned.NOTHING
        assert codes[len(prompt)] != Learned.NOTHING
        produced = parse(ids[len(prompt) :], o200k)
        assert produced.messages[0] == messages[begins]
        assert produced.repairs == ()


def test_training_on_several_turns(o200k: Vocabulary) -> None:
    """Reasoning of learned turns stays; a final message inside ends as in history, an end that is not learned."""
    turns = (golden.ASK, golden.THOUGHT, golden.ANSWER, golden.LATER, Message.analysis("5?"), Message.final("5"))
    runs = spans(Conversation(turns), o200k)
    assert [code for code, _ in runs] == [
        *(Learned.NOTHING, Learned.ANALYSIS, Learned.FINAL),
        *(Learned.NOTHING, Learned.ANALYSIS, Learned.FINAL),
    ]
    assert runs[2][1].endswith("<|message|>4")
    assert runs[3][1].startswith("<|end|><|start|>user")
    assert runs[5][1].endswith("<|message|>5<|return|>")


def test_training_ends(o200k: Vocabulary) -> None:
    for last, end in ((golden.ANSWER, "<|return|>"), (golden.CALL, "<|call|>"), (golden.THOUGHT, "<|end|>")):
        assert spans(Conversation((golden.ASK, last)), o200k)[-1][1].endswith(end)


def test_a_turn_in_progress_keeps_the_ids_the_model_wrote(o200k: Vocabulary) -> None:
    """Malformed headers and unusual tokenisations included, until the turn is finished."""
    written = "<|channel|>analysis??<|message|>A cat<|end|><|start|>assistant<|channel|>commentary to=functions.now "
    written += "<|constrain|>json<|message|>{}<|call|>"
    unusual = [*o200k.encode("a"), *o200k.encode("b")]
    ids = [*o200k.encode(written, parse_special=True)]
    ids[4:4] = unusual
    prompt = render(Conversation((golden.SYSTEM, golden.ASK)), o200k)
    said = parse(ids, o200k).messages
    begun = (golden.SYSTEM, golden.ASK, *said, Message.tool("functions.now", "12:00"))
    assert render(Conversation(begun), o200k)[: len(prompt) + len(ids)] == prompt + ids
    finished = o200k.decode(render(Conversation((*begun, golden.ANSWER, golden.LATER)), o200k))
    assert "??" not in finished
    assert "to=functions.now<|channel|>commentary <|constrain|>json<|message|>{}<|call|>" in finished


def test_an_edited_message_is_rendered_as_it_now_is(o200k: Vocabulary) -> None:
    """Ids stand for what was read from them alone."""
    written = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a":1}<|call|>'
    [call] = parse(o200k.encode(written, parse_special=True), o200k).messages
    for changed in ({"content": ('{"a":2}',)}, {"recipient": "functions.g"}, {"channel": None}):
        edited = replace(call, **changed)
        same = Message(call.author, call.content, call.channel, call.recipient, call.content_type)
        assert render(Conversation((golden.ASK, edited)), o200k) == render(
            Conversation((golden.ASK, replace(same, **changed))), o200k
        )
    assert pickle.loads(pickle.dumps(call)).ids == copy.deepcopy(call).ids == call.ids is not None


def test_a_cut_message_is_closed_in_history(o200k: Vocabulary) -> None:
    cut = parse(o200k.encode("<|channel|>analysis<|message|>We", parse_special=True), o200k).messages
    text = o200k.decode(render(Conversation((golden.ASK, *cut, golden.LATER)), o200k))
    assert "<|channel|>analysis<|message|>We<|end|><|start|>user" in text


def test_rendering_works_with_any_mapping(o200k: Vocabulary) -> None:
    tool = ToolSpec("f", "", {"type": "object", "properties": {"x": True, "y": {"anyOf": "oops"}}, "required": "x"})
    text = o200k.decode(render(Conversation((Message.developer(DeveloperContent(tools=(tool,))),)), o200k))
    assert "type f = (_: {\nx?: any,\ny?: any,\n}) => any;" in text
