"""The parser is total: well-formed ids give what the reference gives, any others a useful answer and a named repair."""

from __future__ import annotations

import time

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.harmony.messages import Channel, Conversation, Message, Role
from harmonium.harmony.parse import ContentDelta, MessageEnd, MessageStart, Parsed, Parser, RepairFound, parse
from harmonium.harmony.render import render, render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony import golden
from tests.harmony.oracle import ours

REFERENCE_CANNOT_PARSE = {
    "names": "assistant:bot is taken for a tool or refused",
    "content types": "a content type without a recipient is taken for one",
}


@pytest.mark.parametrize("name", [name for name in golden.GOLDEN if name not in REFERENCE_CANNOT_PARSE])
def test_well_formed_ids_give_what_the_reference_gives(
    name: str, o200k: Vocabulary, reference: oh.HarmonyEncoding
) -> None:
    ids = render(golden.GOLDEN[name], o200k, next_role=None)
    parsed = parse(ids, o200k, role=None)
    assert parsed.repairs == ()
    assert parsed.is_complete
    assert list(parsed.messages) == list(map(ours, reference.parse_messages_from_completion_tokens(ids, role=None)))
    assert [id_ for message in parsed.messages for id_ in message.ids or ()] == ids


def test_generations_give_what_was_rendered(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    turn = (golden.THOUGHT, Message.commentary("I look."), golden.CALL)
    for said in (turn, (golden.THOUGHT, golden.ANSWER), (Message.builtin_call("python", "1"),), (golden.ANSWER,)):
        ids = render_for_training(Conversation((golden.ASK, *said)), o200k)[0]
        generated = ids[len(render(Conversation((golden.ASK,)), o200k)) :]
        parsed = parse(generated, o200k)
        assert parsed == Parsed(said, (), True)
        theirs = reference.parse_messages_from_completion_tokens(generated, role=oh.Role.ASSISTANT)
        assert list(map(ours, theirs)) == list(said)


# Generations behind `<|start|>assistant`; then messages as (channel, recipient, text), and the repairs' kinds.
MALFORMED = {
    "?? in a header": (
        "<|channel|>analysis??<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["header_text"],
    ),
    "words in a header": (
        "<|channel|>analysis I think<|message|>A<|end|><|start|>assistant hm<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["header_text", "header_text", "header_text"],
    ),
    "doubled channel token": (
        "<|channel|><|channel|>analysis<|message|>A<|end|>",
        [("analysis", None, "A")],
        ["doubled_field"],
    ),
    "doubled channel": (
        "<|channel|>analysis<|channel|>final<|message|>A<|return|>",
        [("final", None, "A")],
        ["doubled_field"],
    ),
    "an end behind the end": ("<|channel|>final<|message|>A<|end|><|return|>", [("final", None, "A")], ["extra_end"]),
    "no header at all": ("I'm sorry, I can't.<|return|>", [("final", None, "I'm sorry, I can't.")], ["missing_header"]),
    "no header, at length": (
        "Well, " * 50 + "no.<|return|>",
        [("final", None, "Well, " * 50 + "no.")],
        ["missing_header"],
    ),
    "no message token": ("<|channel|>finalAll good.<|return|>", [("final", None, "All good.")], ["missing_message"]),
    "no message token in a call": (
        ' to=functions.f<|channel|>commentary <|constrain|>json{"a":1}<|call|>',
        [("commentary", "functions.f", '{"a":1}')],
        ["missing_message"],
    ),
    "no channel": ("<|message|>A<|return|>", [("final", None, "A")], ["missing_channel"]),
    "no channel in a call": (
        " to=functions.f<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["missing_channel"],
    ),
    "invented channel": ("<|channel|>reply<|message|>A<|return|>", [("final", None, "A")], ["unknown_channel"]),
    "cut channel": ("<|channel|>comment<|message|>A<|end|>", [("commentary", None, "A")], ["unknown_channel"]),
    "a missed end": (
        "<|channel|>analysis<|message|>A<|start|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_end"],
    ),
    "a missed end and start": (
        "<|channel|>analysis<|message|>A<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_end"],
    ),
    "a missed start": (
        "<|channel|>analysis<|message|>A<|end|>assistant<|channel|>final<|message|>B<|return|>",
        [("analysis", None, "A"), ("final", None, "B")],
        ["missing_start"],
    ),
    "text behind the end": (
        "<|channel|>analysis<|message|>A<|end|>The answer is B.<|return|>",
        [("analysis", None, "A"), ("final", None, "The answer is B.")],
        ["missing_start", "missing_role", "missing_header"],
    ),
    "control tokens lost": (
        "assistantanalysis<|message|>A<|end|>assistantfinalB is it.<|return|>",
        [("analysis", None, "A"), ("final", None, "B is it.")],
        ["header_text", "header_text", "missing_start", "header_text", "header_text", "missing_message"],
    ),
    "a second start": (
        "<|start|>assistant<|channel|>final<|message|>A<|return|>",
        [("final", None, "A")],
        ["stray_token"],
    ),
    "reasoning that ends the turn": (
        "<|channel|>analysis<|message|>A<|return|>",
        [("analysis", None, "A")],
        ["wrong_end"],
    ),
    "a call that ends as an answer": (
        " to=functions.f<|channel|>commentary json<|message|>{}<|return|>",
        [("commentary", "functions.f", "{}")],
        ["wrong_end"],
    ),
    "an answer that ends as a call": ("<|channel|>final<|message|>A<|call|>", [("final", None, "A")], ["wrong_end"]),
    "a stray token in the body": (
        "<|channel|>final<|message|>A<|constrain|>B<|message|>C<|return|>",
        [("final", None, "ABC")],
        ["stray_token", "stray_token"],
    ),
    "recipient without to=": (
        "<|channel|>commentary functions.f <|constrain|>json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        ["header_text"],
    ),
    "recipient twice": (
        " to=functions.f<|channel|>commentary to=functions.g<|message|>{}<|call|>",
        [("commentary", "functions.g", "{}")],
        ["doubled_field"],
    ),
    "nothing said": ("<|return|>", [("final", None, "")], ["missing_header"]),
    # These deviate from nothing: all of them were trained.
    "call without constrain": (
        " to=functions.f<|channel|>commentary<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        [],
    ),
    "recipient behind the channel": (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [("commentary", "functions.f", "{}")],
        [],
    ),
    "call on the analysis channel": (
        "<|channel|>analysis to=browser.search code<|message|>{}<|call|>",
        [("analysis", "browser.search", "{}")],
        [],
    ),
    "invented tool": (
        " to=functions.made_up<|channel|>commentary json<|message|>{'a': 1}<|call|>",
        [("commentary", "functions.made_up", "{'a': 1}")],
        [],
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_turns_give_a_useful_answer(name: str, o200k: Vocabulary) -> None:
    text, messages, repairs = MALFORMED[name]
    ids = o200k.encode(text, parse_special=True)
    parsed = parse(ids, o200k)
    assert [(m.channel, m.recipient, m.text) for m in parsed.messages] == messages
    assert [repair.kind for repair in parsed.repairs] == repairs
    assert all(0 <= repair.at < len(ids) for repair in parsed.repairs)
    assert parsed.is_complete


def test_repairs_name_the_place_and_what_was_set_aside(o200k: Vocabulary) -> None:
    text = "<|channel|>final<|message|>A<|end|><|start|>assistant<|channel|>final huh ??<|message|>B<|return|>"
    ids = o200k.encode(text, parse_special=True)
    (repair,) = [repair for repair in parse(ids, o200k).repairs if repair.text == "??"]
    assert o200k.decode([ids[repair.at]]).strip() == "??"


def test_ids_without_a_token_are_reported(o200k: Vocabulary) -> None:
    head = o200k.encode("<|channel|>final<|message|>", parse_special=True)
    parsed = parse([*head, 201_087, *o200k.encode("A"), -5, 10**12], o200k)
    assert parsed.messages[0].text == "\ufffdA\ufffd\ufffd"
    assert [(repair.kind, repair.at) for repair in parsed.repairs] == [("unknown_token", at) for at in (3, 5, 6)]
    assert not parsed.is_complete


def test_cut_turns(o200k: Vocabulary) -> None:
    """A turn that stops anywhere: what was said so far, and no more."""
    whole = "<|channel|>analysis<|message|>We 🫠<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>"
    ids = o200k.encode(whole, parse_special=True)
    for n in range(len(ids)):
        parsed = parse(ids[:n], o200k)
        texts = [message.text.rstrip("\ufffd") for message in parsed.messages]
        assert len(texts) <= 2
        assert all(full.startswith(text) for full, text in zip(("We 🫠", "Yes."), texts, strict=False))
        assert {repair.kind for repair in parsed.repairs} <= {"cut_header"}
        assert not parsed.is_complete or ids[n - 1] == o200k.control.end


CONTROL = (200_002, 200_003, 200_005, 200_006, 200_007, 200_008, 200_012, 199_999, 200_010)
WORDS = (
    "assistant",
    "analysis",
    "commentary",
    "final",
    " to",
    "=functions",
    ".f",
    "json",
    " code",
    "user",
    "🫠",
    " ",
    "\n",
)


@st.composite
def sequences(draw: st.DrawFn, vocabulary: Vocabulary) -> list[int]:
    """Noise of words, control tokens and impossible ids; or a rendered conversation, mutated and truncated."""
    word = st.sampled_from(WORDS).map(vocabulary.encode)
    one = st.sampled_from(CONTROL) | st.integers(-2, 201_200)
    piece = word | one.map(lambda id_: [id_])
    if draw(st.booleans()):
        return [id_ for ids in draw(st.lists(piece, max_size=40)) for id_ in ids]
    ids = render(golden.GOLDEN[draw(st.sampled_from(sorted(golden.GOLDEN)))], vocabulary, next_role=None)
    ids = ids[-draw(st.integers(1, 120)) :]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(ids)))
        ids[at : at + draw(st.integers(0, 2))] = draw(piece)
    return ids


@given(data=st.data(), role=st.sampled_from([Role.ASSISTANT, Role.ASSISTANT, Role.USER, None]))
@settings(max_examples=600, deadline=None)
def test_any_sequence_gives_an_answer(data: st.DataObject, role: Role | None, o200k: Vocabulary) -> None:
    check_total(data.draw(sequences(o200k)), role, o200k)


@pytest.mark.deep
@given(data=st.data(), role=st.sampled_from([Role.ASSISTANT, None]))
@settings(max_examples=100_000, deadline=None)
def test_any_of_very_many_sequences_gives_an_answer(data: st.DataObject, role: Role | None, o200k: Vocabulary) -> None:
    check_total(data.draw(sequences(o200k)), role, o200k)


def check_total(ids: list[int], role: Role | None, vocabulary: Vocabulary) -> None:
    """Events alternate and join to the messages; ids are kept; whole is streamed; what is said is not lost."""
    parser = Parser(vocabulary, role)
    events = [event for id_ in ids for event in parser.feed(id_)] + parser.finish()
    assert parser.finish() == []
    open_start: MessageStart | None = None
    text = ""
    messages = []
    for event in events:
        if isinstance(event, MessageStart):
            assert open_start is None
            open_start, text = event, ""
        elif isinstance(event, ContentDelta):
            assert open_start is not None
            assert event.text
            text += event.text
        elif isinstance(event, MessageEnd):
            assert open_start is not None
            message = event.message
            assert message.text == text
            start = (message.author, message.channel, message.recipient, message.content_type)
            assert start == (open_start.author, open_start.channel, open_start.recipient, open_start.content_type)
            assert message.role is not Role.ASSISTANT or message.channel in list(Channel)
            messages.append(message)
            open_start = None
    assert open_start is None
    repairs = tuple(event for event in events if isinstance(event, RepairFound))
    assert all(0 <= repair.at <= len(ids) for repair in repairs)
    parsed = parse(ids, vocabulary, role)
    assert (parsed.messages, parsed.repairs) == (tuple(messages), repairs)
    prefix = render(Conversation(()), vocabulary, next_role=role)
    fed = [*prefix, *ids]
    kept = [id_ for message in messages for id_ in message.ids or ()]
    assert kept == fed[: len(kept)]
    is_text_left = any(id_ not in vocabulary.special_ids for id_ in fed[max(len(kept), len(prefix)) :])
    assert not is_text_left or repairs[-1].kind == "cut_header"


def test_speed(o200k: Vocabulary) -> None:
    """At most 5 us of a core per token, the best of a few tries on a machine that does other things too."""
    ids = o200k.encode("<|channel|>final<|message|>" + "Some words, 日本語も。 " * 500, parse_special=True)

    def seconds() -> float:
        started = time.process_time()
        parse(ids, o200k)
        return time.process_time() - started

    assert min(seconds() for _ in range(5)) / len(ids) < 5e-6
