"""A turn without a model: ids go in as a driver would bring them, events and commands come out."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from harmonium.chat.loop import turn
from harmonium.chat.said import OTHER_SPEAKER
from harmonium.harmony.convert import conversation
from harmonium.harmony.messages import Channel, Conversation, Role
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from tests.chat.playing import BARE_CALL, CALL, FINAL, NAMES, PIECES, THINK, Played, play, weather


@pytest.fixture(scope="module")
def asked() -> Conversation:
    return conversation("Is it raining in Bonn?", tools=[weather])


@pytest.fixture
def ids(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    return lambda text: vocabulary.encode(text, parse_special=True)


Ids = Callable[[str], list[int]]


def test_a_turn_with_a_function(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    rounds = [ids(THINK + CALL), ids(FINAL)]
    played = play(turn(asked, vocabulary, runnable=["weather"], new_call_id=lambda: "c1"), rounds, sizes=(10_000,))
    assert played.runs == [ToolCall("c1", "weather", '{"city":"Bonn"}')]
    kept = [event for event in played.events if isinstance(event, ToolCall | ToolResult)]
    assert kept == [played.runs[0], ToolResult("c1", "weather", "Rain.")]
    reply = played.reply
    assert (reply.reasoning, reply.text, reply.finish_reason) == ("I look it up.", "It rains.", FinishReason.STOP)
    assert reply.pending_calls == ()
    described = [(str(m.author.role), m.author.name, m.channel, m.recipient, m.content_type) for m in reply.messages]
    assert described == [
        ("assistant", None, "analysis", None, None),
        ("assistant", None, "commentary", "functions.weather", "<|constrain|>json"),
        ("tool", "functions.weather", "commentary", "assistant", None),
        ("assistant", None, "final", None, None),
    ]
    result = ids(
        "<|start|>functions.weather to=assistant<|channel|>commentary<|message|>Rain.<|end|><|start|>assistant"
    )
    first, second = (list(wanted.prompt) for wanted in played.generates)
    assert first == render(asked, vocabulary)
    assert second == first + rounds[0] + result, "the round before is rendered as it was said"
    assert list(reply.token_ids) == rounds[0] + rounds[1]
    assert reply.usage.prompt == len(first) + len(result)
    assert reply.usage.prompt + reply.usage.completion == len(second) + len(rounds[1]), "together they are the context"
    assert reply.usage.reasoning == len(ids(THINK))


def test_a_turn_in_progress_goes_on_with_the_very_same_ids(
    asked: Conversation, vocabulary: Vocabulary, ids: Ids
) -> None:
    """Handed out, answered by the caller, and asked again; here with a header that is not rendered as it is written."""
    odd = '<|channel|>commentary<|constrain|>json to=functions.weather<|message|>{"city": "Bonn"}<|call|>'
    handed = play(turn(asked, vocabulary), [ids(THINK + f"<|start|>assistant{odd}")])
    reply = handed.reply
    assert reply.finish_reason is FinishReason.TOOL_CALLS and handed.runs == []
    [call] = reply.pending_calls
    assert (call.name, call.arguments) == ("weather", '{"city": "Bonn"}')
    later = conversation([*asked.messages, *reply.messages, call.answer("Rain.")])
    prompt = render(later, vocabulary)
    before = list(handed.generates[0].prompt) + list(reply.token_ids)
    assert prompt[: len(before)] == before
    again = play(turn(later, vocabulary), [ids(FINAL)]).reply
    finished = conversation([*later.messages, *again.messages, {"role": "user", "content": "Thanks!"}])
    assert "I look it up." not in vocabulary.decode(render(finished, vocabulary)), "finished reasoning is dropped"


@pytest.mark.parametrize("recipient", ["functions.wether", "wether", "python", "browser.search"])
def test_a_tool_that_is_not_offered_is_an_error_that_the_model_reads(
    asked: Conversation, vocabulary: Vocabulary, ids: Ids, recipient: str
) -> None:
    call = f"<|channel|>commentary to={recipient}<|message|>{{}}<|call|>"
    played = play(turn(asked, vocabulary, runnable=["weather"]), [ids(call), ids(FINAL)])
    [result] = played.reply.tool_results
    assert result.is_error and "weather" in result.text and played.runs == []
    assert result.text in vocabulary.decode(played.generates[1].prompt)
    assert played.reply.text == "It rains."
    bare = play(turn(conversation("Hello"), vocabulary), [ids(call), ids(FINAL)])
    assert "Answer without tools." in bare.reply.tool_results[0].text


def test_builtin_tools_are_handed_out(vocabulary: Vocabulary, ids: Ids) -> None:
    asked = conversation("What day is it?", builtin_tools=["python"], tools=[weather])
    script = "<|channel|>analysis to=python code<|message|>print(1)<|call|>"
    reply = play(turn(asked, vocabulary, runnable=["weather"]), [ids(script)]).reply
    assert reply.finish_reason is FinishReason.TOOL_CALLS
    assert [(call.name, call.arguments) for call in reply.pending_calls] == [("python", "print(1)")]
    assert reply.reasoning == "" and reply.usage.reasoning == 0, "code for a tool is no reasoning"
    answer = reply.pending_calls[0].answer("1")
    assert (answer.author.name, answer.channel) == ("python", Channel.ANALYSIS)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_rounds_are_bounded(asked: Conversation, vocabulary: Vocabulary, ids: Ids, most: int) -> None:
    endless = [ids(BARE_CALL)] * 10
    played = play(turn(asked, vocabulary, runnable=["weather"], max_tool_rounds=most), endless)
    assert len(played.runs) == most and len(played.generates) == most + 1
    assert played.reply.finish_reason is FinishReason.TOOL_ROUNDS
    assert len(played.reply.pending_calls) == 1


def test_max_tokens_are_of_the_whole_turn(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    n = len(ids(BARE_CALL))
    played = play(turn(asked, vocabulary, runnable=["weather"], max_tokens=n + 5), [ids(BARE_CALL), ids(FINAL)])
    assert [wanted.max_tokens for wanted in played.generates] == [n + 5, 5]
    used_up = play(turn(asked, vocabulary, runnable=["weather"], max_tokens=n), [ids(BARE_CALL)])
    assert used_up.runs == [], "nothing could be said about what the function does"
    assert used_up.reply.finish_reason is FinishReason.LENGTH


def test_a_call_that_is_cut_is_no_call(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    played = play(turn(asked, vocabulary, runnable=["weather"]), [ids(BARE_CALL)[:-3]], end="length")
    assert played.reply.finish_reason is FinishReason.LENGTH
    assert played.reply.tool_calls == () and played.runs == []
    deltas = [event for event in played.events if isinstance(event, ToolCallDelta)]
    written = "".join(event.text for event in deltas)
    assert written and written != '{"city":"Bonn"}' and '{"city":"Bonn"}'.startswith(written)
    assert {event.name for event in deltas} == {"weather"}


def test_arguments_stream_as_they_come(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    events = play(turn(asked, vocabulary), [ids(BARE_CALL)]).events
    [call] = [event for event in events if isinstance(event, ToolCall)]
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert len(deltas) > 5 and "".join(event.text for event in deltas) == call.arguments
    assert {event.call_id for event in deltas} == {call.id}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("<|channel|>final<|message|>Done.<|end|><|start|>user<|message|>More?<|end|>", "Done."),
        (THINK + "<|start|>user<|message|>More?<|end|><|start|>assistant" + FINAL, ""),
        (BARE_CALL.replace("<|call|>", "<|end|>") + "<|start|>functions.weather<|message|>Sun.<|end|>", ""),
    ],
)
def test_what_goes_too_far_is_stopped(
    asked: Conversation, vocabulary: Vocabulary, ids: Ids, script: str, text: str
) -> None:
    """Behind a final message, in another's name, or with an invented result: the generation ends there."""
    played = play(turn(asked, vocabulary), [ids(script)])
    assert played.n_stops == 1 and played.left > 0
    assert played.reply.text == text
    assert list(played.reply.token_ids) == ids(script)[: len(ids(script)) - played.left]
    assert all(message.role is Role.ASSISTANT for message in played.reply.messages)
    is_foreign = any(repair.kind == OTHER_SPEAKER for repair in played.reply.repairs)
    assert is_foreign == (THINK in script)


def test_preambles_are_text_but_not_the_answer(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    script = "<|channel|>commentary<|message|>One moment.<|end|>" + CALL
    played = play(turn(asked, vocabulary), [ids(script)], sizes=(1000,))
    spoken = [event for event in played.events if isinstance(event, TextDelta)]
    assert "".join(event.text for event in spoken) == "One moment."
    assert {event.channel for event in spoken} == {"commentary"}
    assert played.reply.text == ""


def test_characters_are_never_split(vocabulary: Vocabulary, ids: Ids) -> None:
    script = "<|channel|>analysis<|message|>日本<|end|><|start|>assistant<|channel|>final<|message|>👍é<|return|>"
    events = play(turn(conversation("?"), vocabulary), [ids(script)]).events
    assert [event for event in events if not isinstance(event, Done)] == [
        ReasoningDelta("日"),
        ReasoningDelta("本"),
        TextDelta("👍"),
        TextDelta("é"),
    ]


@pytest.mark.parametrize("reason", ["abort", "error", "length"])
def test_how_a_generation_ends_is_told(vocabulary: Vocabulary, ids: Ids, reason: str) -> None:
    reply = play(turn(conversation("?"), vocabulary), [ids(FINAL)[:-3]], end=reason).reply
    assert (reply.finish_reason, reply.text) == (FinishReason(reason), "It rain")


def test_repairs_have_their_place_in_the_whole_turn(asked: Conversation, vocabulary: Vocabulary, ids: Ids) -> None:
    rounds = [ids(BARE_CALL), ids("<|channel|><|channel|>final<|message|>Yes.<|return|>")]
    reply = play(turn(asked, vocabulary, runnable=["weather"]), rounds).reply
    assert [repair.kind for repair in reply.repairs] == ["doubled_field"]
    assert reply.repairs[0].at >= len(rounds[0])
    assert reply.token_ids[reply.repairs[0].at] == vocabulary.control.channel


def together(events: Sequence[Event]) -> list[Event]:
    """Events whose texts are as long as they can be."""
    found: list[Event] = []
    for event in events:
        before = found[-1] if found else None
        if isinstance(event, ReasoningDelta | TextDelta | ToolCallDelta) and isinstance(before, type(event)):
            both = replace(before, text=before.text + event.text)
            if replace(event, text=both.text) == both:
                found[-1] = both
                continue
        found.append(event)
    return found


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.sampled_from(PIECES + NAMES), max_size=8),
    noise=st.lists(st.integers(0, 290), max_size=6),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    runnable=st.sampled_from([(), ("weather",)]),
)
def test_whatever_comes_streams_to_the_same_whole(
    asked: Conversation,
    vocabulary: Vocabulary,
    pieces: list[str],
    noise: list[int],
    sizes: list[int],
    runnable: Collection[str],
) -> None:
    script = vocabulary.encode("".join(pieces), parse_special=True)
    script = script[: len(script) // 2] + noise + script[len(script) // 2 :] or [0]
    rounds = [script] * 6

    def plays(sizes: Sequence[int]) -> Played:
        numbers = map(str, count())
        whole = turn(asked, vocabulary, runnable=runnable, max_tool_rounds=4, new_call_id=lambda: next(numbers))
        return play(whole, rounds, sizes)

    whole, streamed = plays([len(script)]), plays(sizes)
    assert together(whole.events) == together(streamed.events), "pieces of ids change nothing but those of texts"
    *before, done = streamed.events
    assert isinstance(done, Done) and not any(isinstance(event, Done) for event in before)
    reply = streamed.reply
    assert reply.usage.completion == len(reply.token_ids) == len(done.ids)
    assert 0 <= reply.usage.reasoning <= reply.usage.completion
    assert all(0 <= repair.at <= len(done.ids) for repair in reply.repairs)
    for text in (reply.text, reply.reasoning):
        assert not any(name in text for name in vocabulary.specials)
    said = [message for message in reply.messages if message.role is Role.ASSISTANT]
    is_call = {m: m.recipient is not None and m.recipient not in ("all", "user", "assistant") for m in said}
    texts = {c: [m.text for m in said if m.channel == c and not is_call[m]] for c in ("final", "analysis")}
    assert ("".join(texts["final"]), "\n".join(texts["analysis"])) == (reply.text, reply.reasoning)
