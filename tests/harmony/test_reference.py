"""Any conversation renders to the reference's ids and parses to its messages, but for the differences of
test_differences.py; and everything that a rendering can hold occurs, and is counted."""

from __future__ import annotations

from collections import Counter

import openai_harmony as oh
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from harmonium.harmony.messages import Channel, Conversation, DeveloperContent, Message, Role, ToolSpec
from harmonium.harmony.parse import parse
from harmonium.harmony.render import Learned, render, render_for_training
from harmonium.harmony.schema import typescript
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony.conversations import (
    agreed,
    as_the_reference_reads,
    conversations,
    everything,
    features,
    for_the_reference,
    is_dropped_alike,
    is_misread,
    without_dropped,
)
from tests.harmony.meanings import bare, meaning, read
from tests.harmony.oracle import ours, theirs
from tests.harmony.schemas import tour

N_DEEP, AT_LEAST = 5000, 100
N_QUICK = 700
PHASES = (Phase.generate, Phase.shrink)
KEEP_ALL = oh.RenderConversationConfig(auto_drop_analysis=False)


def check_rendering(drawn: Conversation, vocabulary: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    """For completion, alone and for training; with the reference's history rule and, where it differs, without."""
    common = agreed(drawn)
    said = as_the_reference_reads(common)
    whole = theirs(for_the_reference(common))
    kept = theirs(for_the_reference(without_dropped(common)))
    expected = reference.render_conversation_for_completion(kept, oh.Role.ASSISTANT, config=KEEP_ALL)
    prompt = render(said, vocabulary)
    assert vocabulary.decode(prompt) == vocabulary.decode(expected)
    if has_formats(said):
        return
    assert prompt == expected
    if is_dropped_alike(drawn):
        assert prompt == reference.render_conversation_for_completion(whole, oh.Role.ASSISTANT)
        assert render(said, vocabulary, next_role=None) == reference.render_conversation(whole)
    lesson, codes = render_for_training(said, vocabulary)
    assert lesson == reference.render_conversation_for_training(whole, config=KEEP_ALL)
    check_mask(said, lesson, codes, vocabulary)


def check_types(drawn: Conversation) -> None:
    """Every keyword is written as it is meant, of those too that the reference does not write."""
    contents = [part for message in drawn.messages for part in message.content if isinstance(part, DeveloperContent)]
    for tool in (tool for content in contents for tool in content.tools if tool.parameters is not None):
        schema = bare(tool.parameters)
        assert read(typescript(schema)) == meaning(schema)


def check_mask(said: Conversation, lesson: list[int], codes: list[int], vocabulary: Vocabulary) -> None:
    """Of every message of the assistant, header, body and end are learned, as what they are; of others nothing."""
    starts = [at for at, id_ in enumerate(lesson) if id_ == vocabulary.control.start]
    assert len(starts) == len(said.messages)
    for message, start, end in zip(said.messages, starts, [*starts[1:], len(lesson)], strict=True):
        learned = {code for code in codes[start:end] if code != Learned.NOTHING}
        of_channel: dict[str | None, Learned] = {None: Learned.FINAL} | {
            name: Learned[name.upper()] for name in Channel
        }
        expected = of_channel[message.channel] if message.recipient is None else Learned.CALL
        assert learned == ({expected} if message.role is Role.ASSISTANT else set())
        if message.role is Role.ASSISTANT:
            body = lesson.index(vocabulary.control.message, start)
            assert Learned.NOTHING not in codes[body : end - 1]


def has_formats(conversation: Conversation) -> bool:
    return any(getattr(part, "response_formats", ()) for message in conversation.messages for part in message.content)


def check_parsing(drawn: Conversation, vocabulary: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    """What was rendered is read without a repair, as it was said, and as the reference reads it."""
    readable = Conversation(tuple(message for message in drawn.messages if not is_misread(message)))
    ids = render(readable, vocabulary, next_role=None)
    parsed = parse(ids, vocabulary, role=None)
    assert parsed.repairs == ()
    assert [id_ for message in parsed.messages for id_ in message.ids or ()] == ids
    assert list(parsed.messages) == list(map(ours, reference.parse_messages_from_completion_tokens(ids, role=None)))
    functions = [tool.name for m in readable.messages for part in m.content for tool in getattr(part, "tools", ())]
    again = parse(ids, vocabulary, role=None, functions=functions).messages
    for message, kept in zip(again, without_dropped(readable).messages, strict=True):
        declared = (kept.recipient or kept.author.name or "").removeprefix("functions.") in functions
        assert message.text == kept.text or not all(isinstance(part, str) for part in kept.content)
        assert (message.role, message.channel, message.content_type) == (kept.role, kept.channel, kept.content_type)
        assert not declared or (message.author, message.recipient) == (kept.author, kept.recipient)

    said = [message for message in parsed.messages if message.role is Role.ASSISTANT]
    if said:
        opening = render(Conversation(()), vocabulary)
        generated = list(said[-1].ids or ())[len(opening) :]
        (theirs_,) = reference.parse_messages_from_completion_tokens(generated, role=oh.Role.ASSISTANT)
        assert parse(generated, vocabulary).messages == (ours(theirs_),) == (said[-1],)


def check_many(n: int, vocabulary: Vocabulary, reference: oh.HarmonyEncoding) -> Counter[str]:
    seen: Counter[str] = Counter()

    def check(drawn: Conversation) -> None:
        check_rendering(drawn, vocabulary, reference)
        check_types(drawn)
        check_parsing(drawn, vocabulary, reference)
        seen.update(features(drawn))

    for schema in tour():
        check(Conversation((Message.developer(DeveloperContent(tools=(ToolSpec("f", "", schema),))),)))
    checks = list(HealthCheck)
    chosen = settings(max_examples=n, deadline=None, derandomize=True, database=None, phases=PHASES)
    settings(chosen, suppress_health_check=checks)(given(conversations)(check))()
    return seen


def test_any_conversation(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    seen = check_many(N_QUICK, o200k, reference)
    assert {name: seen[name] for name in everything() if seen[name] < AT_LEAST * N_QUICK / N_DEEP / 4} == {}


@pytest.mark.deep
def test_any_of_very_many_conversations(o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    seen = check_many(N_DEEP, o200k, reference)
    assert {name: seen[name] for name in everything() if seen[name] < AT_LEAST} == {}
