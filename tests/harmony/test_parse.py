"""Well-formed ids give what the reference gives; malformed ones a useful answer and a named repair."""

from __future__ import annotations

import openai_harmony as oh
import pytest

from harmonium.harmony.messages import Conversation, Message
from harmonium.harmony.parse import Parsed, parse
from harmonium.harmony.render import render, render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony import golden
from tests.harmony.malformed import MALFORMED
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


@pytest.mark.parametrize(
    ("written", "set_aside"), [('"functions.f"', '""'), ("`functions.f`", "``"), ("functions. f", " ")]
)
def test_a_recipient_among_signs(written: str, set_aside: str, o200k: Vocabulary) -> None:
    ids = o200k.encode(f"<|channel|>commentary to={written}<|message|>{{}}<|call|>", parse_special=True)
    parsed = parse(ids, o200k, functions=["f"])
    assert [message.recipient for message in parsed.messages] == ["functions.f"]
    assert [(repair.kind, repair.text) for repair in parsed.repairs] == [("header_text", set_aside)]


def test_ids_without_a_token_are_reported(o200k: Vocabulary) -> None:
    head = o200k.encode("<|channel|>final<|message|>", parse_special=True)
    parsed = parse([*head, 201_087, *o200k.encode("A"), -5, 10**12], o200k)
    assert parsed.messages[0].text == "\ufffdA\ufffd\ufffd"
    assert [(repair.kind, repair.at) for repair in parsed.repairs] == [("unknown_token", at) for at in (3, 5, 6)]
    assert not parsed.is_complete


def test_cut_turns(o200k: Vocabulary) -> None:
    """A turn that stops anywhere, inside of a character too: what was said so far, and no more."""
    whole = "<|channel|>analysis<|message|>We 🫠<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>"
    ids = o200k.encode(whole, parse_special=True)
    for n in range(len(ids)):
        parsed = parse(ids[:n], o200k)
        texts = [message.text for message in parsed.messages]
        assert len(texts) <= 2
        assert all(full.startswith(text) for full, text in zip(("We 🫠", "Yes."), texts, strict=False))
        assert {repair.kind for repair in parsed.repairs} <= {"cut_header"}
        assert not parsed.is_complete or ids[n - 1] == o200k.control.end
