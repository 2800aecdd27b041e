"""The parser is total: any ids, of noise, of conversations damaged anyhow, of other templates, give a whole answer."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.harmony.messages import Channel, Conversation, Role
from harmonium.harmony.parse import ContentDelta, Event, MessageEnd, MessageStart, Parser, RepairFound, parse
from harmonium.harmony.render import render, render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony import golden
from tests.harmony.malformed import MALFORMED

N_QUICK, N_DEEP = 20_000, 1_000_000
CONTROL = (200_002, 200_003, 200_005, 200_006, 200_007, 200_008, 200_012, 199_999, 200_010)
WORDS = (
    *("assistant", "analysis", "commentary", "final", " to", "=functions", ".f", "json", " code", "user", "python"),
    *("🫠", " ", "\n", "??", " I think", '{"a":', "1}", "system", "browser.search", "tool", "assistantfinal"),
)
OTHER_TEMPLATES = (
    "<|im_start|>assistant\n<think>\nHm.\n</think>\nHello<|im_end|>",
    "[INST] Hi [/INST] Hello </s>",
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>",
    "<start_of_turn>model\nHello<end_of_turn>",
    "assistantanalysisHm.assistantfinalHello",
    '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
    "Hello",
)
ROLES = (Role.ASSISTANT, Role.ASSISTANT, Role.ASSISTANT, Role.USER, None)


class Sequences:
    """Endless ids of every kind, the same for the same seed."""

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        self._random = random.Random(seed)
        self._words = [vocabulary.encode(word) for word in WORDS]
        self._others = [vocabulary.encode(text, parse_special=True) for text in OTHER_TEMPLATES]
        self._others += [vocabulary.encode(text, parse_special=True) for text, _, _ in MALFORMED.values()]
        self._lessons = [render_for_training(one, vocabulary)[0] for one in golden.GOLDEN.values()]

    def __iter__(self) -> Iterator[tuple[list[int], Role | None]]:
        kinds = (self._noise, self._soup, self._damaged, self._damaged, self._other)
        while True:
            yield self._random.choice(kinds)(), self._random.choice(ROLES)

    def _noise(self) -> list[int]:
        return [self._random.randint(-2, 201_200) for _ in range(self._random.randint(0, 30))]

    def _piece(self) -> list[int]:
        if self._random.random() < 0.5:
            return [self._random.choice(CONTROL)]
        return self._random.choice(self._words) if self._random.random() < 0.9 else self._noise()[:3]

    def _soup(self) -> list[int]:
        return [id_ for _ in range(self._random.randint(0, 40)) for id_ in self._piece()]

    def _damaged(self) -> list[int]:
        """The end of a conversation, cut somewhere, with pieces put in, taken out, doubled and swapped."""
        lesson = self._random.choice(self._lessons)
        ids = lesson[-self._random.randint(1, 120) :]
        for _ in range(self._random.randint(0, 4)):
            at, size = self._random.randint(0, len(ids)), self._random.randint(0, 3)
            piece = self._random.choice((self._piece, list, lambda at=at: ids[at : at + 5] * 2))()
            ids[at : at + size] = piece
        return ids[: self._random.randint(0, len(ids))] if self._random.random() < 0.5 else ids

    def _other(self) -> list[int]:
        ids = [*self._random.choice(self._others)]
        return ids + self._soup()[:5] if self._random.random() < 0.5 else ids[self._random.randint(0, 3) :]


def check_total(ids: list[int], role: Role | None, vocabulary: Vocabulary) -> None:
    """Events join to the messages of the whole; every id is kept; what is said is not lost; repairs have a place."""
    parser = Parser(vocabulary, role)
    events: list[Event] = []
    for id_ in ids:
        events += parser.feed(id_)
    events += parser.finish()
    assert parser.finish() == []
    messages = joined(events)
    repairs = tuple(event for event in events if isinstance(event, RepairFound))
    assert all(0 <= repair.at <= len(ids) for repair in repairs)
    parsed = parse(ids, vocabulary, role)
    assert (parsed.messages, parsed.repairs) == (tuple(end.message for end in messages), repairs)
    assert all(end.message.role is not Role.ASSISTANT or end.message.channel in list(Channel) for end in messages)
    prefix = render(Conversation(()), vocabulary, next_role=role)
    fed = [*prefix, *ids]
    kept = [id_ for message in parsed.messages for id_ in message.ids or ()]
    assert kept == fed[: len(kept)]
    is_text_left = any(id_ not in vocabulary.special_ids for id_ in fed[max(len(kept), len(prefix)) :])
    assert not is_text_left or repairs[-1].kind == "cut_header"
    if all(message.role is Role.ASSISTANT and message.channel != Channel.FINAL for message in parsed.messages):
        again = render(Conversation(parsed.messages), vocabulary, next_role=None)
        assert again[: len(kept)] == kept  # a turn in progress
        assert len(again) - len(kept) == (kept != [] and kept[-1] not in vocabulary.message_end_ids)


def joined(events: list[Event]) -> list[MessageEnd]:
    """The ends of messages, each checked against its start and its text."""
    start: MessageStart | None = None
    text = ""
    ends = []
    for event in events:
        if isinstance(event, MessageStart):
            assert start is None
            start, text = event, ""
        elif isinstance(event, ContentDelta):
            assert start is not None
            assert event.text
            text += event.text
        elif isinstance(event, MessageEnd):
            assert start is not None
            message = event.message
            assert message.text == text
            said = (message.author, message.channel, message.recipient, message.content_type)
            assert said == (start.author, start.channel, start.recipient, start.content_type)
            ends.append(event)
            start = None
    assert start is None
    return ends


def check_many(n: int, seed: int, vocabulary: Vocabulary) -> None:
    sequences = iter(Sequences(vocabulary, seed))
    for _ in range(n):
        ids, role = next(sequences)
        check_total(ids, role, vocabulary)


def test_any_sequence_gives_an_answer(o200k: Vocabulary) -> None:
    check_many(N_QUICK, 1, o200k)


@pytest.mark.deep
def test_any_of_a_million_sequences_gives_an_answer(o200k: Vocabulary) -> None:
    check_many(N_DEEP, 2, o200k)


@given(ids=st.lists(st.sampled_from(CONTROL) | st.integers(-2, 201_200), max_size=12), role=st.sampled_from(ROLES))
@settings(max_examples=200, deadline=None)
def test_short_sequences_give_an_answer(ids: list[int], role: Role | None, o200k: Vocabulary) -> None:
    """As above, few and shrunk."""
    check_total(ids, role, o200k)


@pytest.mark.parametrize("name", ["answer", "builtin calls", "preamble", "scripts", "parts"])
def test_conversations_cut_at_every_position(name: str, o200k: Vocabulary) -> None:
    ids = render_for_training(golden.GOLDEN[name], o200k)[0][-150:]
    for n in range(len(ids)):
        check_total(ids[:n], None, o200k)
        check_total(ids[n:], Role.ASSISTANT, o200k)
