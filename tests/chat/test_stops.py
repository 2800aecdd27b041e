"""Stop strings: found wherever tokens split them, in what the user sees and nowhere else."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmonium import LLM
from harmonium.chat.completing import Continuation
from harmonium.chat.events import Done, FinishReason, Repair, TextDelta
from harmonium.chat.loop import turn
from harmonium.chat.stops import StopMatcher
from harmonium.engine.request import FinishReason as EngineReason
from harmonium.engine.request import StepOutput, TokenLogprob
from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from tests.chat.playing import play

THINK = "<|channel|>analysis<|message|>It is one, two, three.<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>One, two, three.<|return|>"
PREAMBLE = "<|channel|>commentary<|message|>Wait, please.<|end|><|start|>assistant"
CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Rome, Italy"}<|call|>'

words = st.text("ab", max_size=12)


@given(
    pieces=st.lists(words, max_size=8),
    stops=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4, unique=True),
)
@example(pieces=["aab", "aabaab"], stops=["aabaaba", "baa"])
def test_the_one_that_ends_first_is_found_whatever_the_pieces(pieces: Sequence[str], stops: Sequence[str]) -> None:
    text = "".join(pieces)
    ends = [(text.find(stop) + len(stop), -len(stop), stop) for stop in stops if stop in text]
    matcher = StopMatcher(stops)
    for piece in pieces:
        before = matcher.n_safe
        matcher.feed(piece)
        assert matcher.n_safe >= before, "what was shown is not taken back"
    if ends:
        end, _, stop = min(ends)
        assert (matcher.stop, matcher.n_safe) == (stop, end - len(stop))
    else:
        longest = max(n for n in range(len(text) + 1) if n == 0 or any(s.startswith(text[-n:]) for s in stops))
        assert (matcher.stop, matcher.n_safe) == (None, len(text) - longest), "what may begin one is held back, no more"


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 7), (10_000,)])
@pytest.mark.parametrize(
    ("stop", "text", "found"),
    [
        ([", t"], "One", ", t"),
        (["One"], "", "One"),
        (["three.", "hree"], "One, two, t", "hree"),
        (["tw", "wo, th"], "One, ", "tw"),
        (["three?", "zero"], "One, two, three.", None),
        (["."], "One, two, three", "."),
    ],
)
def test_it_ends_the_answer_and_is_not_shown(
    vocabulary: Vocabulary, sizes: Sequence[int], stop: list[str], text: str, found: str | None
) -> None:
    ids = vocabulary.encode(THINK + FINAL, parse_special=True)
    asked = conversation("Count.")
    played = play(turn(asked, vocabulary, stop=stop), [ids], sizes)
    reply = played.reply
    assert (reply.text, reply.stop, reply.finish_reason) == (text, found, FinishReason.STOP)
    assert reply.reasoning == "It is one, two, three.", "which has all of them"
    assert reply.messages[-1].text == text
    spoken = [event.text for event in played.events if isinstance(event, TextDelta)]
    assert all(spoken) and "".join(spoken) == text
    assert list(reply.token_ids) == ids[: len(reply.token_ids)]
    if found:
        said, all_but_last = (vocabulary.decode(reply.token_ids[:n]).partition("final")[2] for n in (None, -1))
        assert found in said and found not in all_but_last
    later = vocabulary.decode(render(conversation([*asked.messages, *reply.messages]), vocabulary))
    assert later.endswith(f"<|start|>assistant<|channel|>final<|message|>{text}<|end|><|start|>assistant")


def test_streaming_holds_back_no_more_than_it_must(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("<|channel|>final<|message|>a, b, c", parse_special=True)
    events = play(turn(conversation("?"), vocabulary, stop=[", c!"]), [ids], end="length").events
    spoken = [event.text for event in events if isinstance(event, TextDelta)]
    assert spoken == ["a", ", b", ", c"], "a comma waits for what follows, and the end gives what still waited"


def weather(city: str) -> str:
    """Tells the weather."""
    return "Rain, heavy."


def test_calls_are_left_alone_and_preambles_are_not(vocabulary: Vocabulary) -> None:
    asked = conversation("?", tools=[weather])
    think, preamble, call = (vocabulary.encode(text, parse_special=True) for text in (THINK, PREAMBLE, CALL))
    called = play(turn(asked, vocabulary, stop=[","]), [think + call]).reply
    assert [call.arguments for call in called.tool_calls] == ['{"city":"Rome, Italy"}']
    assert (called.finish_reason, called.stop) == (FinishReason.TOOL_CALLS, None)
    played = play(turn(asked, vocabulary, stop=[","]), [preamble + call])
    assert (played.reply.stop, played.reply.tool_calls, played.n_stops) == (",", (), 1)
    assert "".join(event.text for event in played.events if isinstance(event, TextDelta)) == "Wait"
    assert not any(isinstance(event, Repair) for event in played.events)


def test_completions_end_before_a_stop_string(llm: LLM) -> None:
    prompts = ["Monday, Tuesday, ", "The capital of France is"]
    whole = llm.complete(prompts, max_tokens=40, temperature=0)
    assert whole == [
        llm.vocabulary.decode(ids[0], skip_special=True)
        for ids in (llm.generate([llm.vocabulary.encode(prompt)], max_tokens=40, temperature=0) for prompt in prompts)
    ]
    stop = whole[0][7:11]
    expected = [text.partition(stop)[0] for text in whole]
    assert llm.complete(prompts, max_tokens=40, temperature=0, stop=["\0never", stop]) == expected != whole
    assert llm.complete(prompts[0], max_tokens=40, temperature=0, stop=stop) == expected[0]
    assert not llm.engine.has_work or not llm.engine.scheduler.running
    with pytest.raises(BadRequest, match="stop is"):
        llm.complete("a", stop=[""])


def test_the_engine_is_stopped(llm: LLM, say: Callable[..., None]) -> None:
    say(THINK + FINAL.replace("<|return|>", " And so on." * 50))
    events = []
    for event in llm.stream("Count.", stop=[", t", "so"], max_tokens=500):
        events.append(event)
        if isinstance(event, Done):
            assert not llm.engine.scheduler.running
    assert isinstance(events[-1], Done) and (events[-1].stop, events[-1].finish_reason) == (", t", FinishReason.STOP)
    say(THINK + FINAL)
    assert llm.chat("Count.", stop=", three").text == "One, two"


@pytest.mark.parametrize("is_reported", [False, True])
def test_a_text_cut_inside_a_character_ends_before_it(vocabulary: Vocabulary, is_reported: bool) -> None:
    text = "日本 🫠 é"
    ids = vocabulary.encode(text)
    assert len(ids) > len(text)
    for n in range(1, len(ids) + 1):
        cut = ids[:n]
        chances = tuple(TokenLogprob(id_, 0.0, ()) for id_ in cut if is_reported)
        whole = Continuation(vocabulary).take(StepOutput(0, tuple(cut), EngineReason.LENGTH, logprobs=chances))
        continuation = Continuation(vocabulary)
        reasons = [None] * (n - 1) + [EngineReason.LENGTH]
        outputs = [StepOutput(0, (id_,), reasons[at], logprobs=chances[at : at + 1]) for at, id_ in enumerate(cut)]
        steps = list(map(continuation.take, outputs))
        assert "".join(said for said, _ in steps) == whole[0] == vocabulary.decode(cut).rstrip("\ufffd")
        told = [token for _, tokens in steps for token in tokens]
        assert tuple(told) == whole[1]
        assert not is_reported or b"".join(token.bytes for token in told).decode() == whole[0]
    stopped = Continuation(vocabulary).take(StepOutput(0, (ids[0],), EngineReason.STOP))
    assert stopped[0] == vocabulary.decode(ids[:1]), "what the model ended itself is as it said it"
