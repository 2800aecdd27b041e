"""Chances of tokens stand beside the text that they are made of, and nowhere else."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmonium import LLM
from harmonium.chat.events import Event, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta
from harmonium.chat.loop import Turn, turn
from harmonium.chat.reply import Reply
from harmonium.engine.request import TokenLogprob as Reported
from harmonium.harmony.convert import conversation
from harmonium.harmony.vocabulary import Vocabulary
from tests.chat.playing import BARE_CALL, CALL, NAMES, PIECES, THINK, Played, play, weather

Deltas = list[ReasoningDelta | TextDelta | ToolCallDelta]


def deltas(events: Sequence[Event]) -> Deltas:
    return [event for event in events if isinstance(event, ReasoningDelta | TextDelta | ToolCallDelta)]


def bytes_of(tokens: Sequence[TokenLogprob]) -> bytes:
    return b"".join(token.bytes for token in tokens)


def played(vocabulary: Vocabulary, script: Sequence[int], sizes: Sequence[int], stop: Sequence[str] = ()) -> Played:
    """The n-th token has the chance -n, and itself and its neighbour as the likeliest."""
    reported = [Reported(id_, -float(n), ((id_, -float(n)), (id_ + 1, -50.0))) for n, id_ in enumerate(script)]
    return play(asked(vocabulary, stop), [script] * 4, sizes, logprobs=reported)


def asked(vocabulary: Vocabulary, stop: Sequence[str]) -> Turn:
    numbers = map(str, count())
    question = conversation("Is it raining in Bonn?", tools=[weather])
    return turn(
        question, vocabulary, runnable=["weather"], max_tool_rounds=2, stop=stop, new_call_id=lambda: next(numbers)
    )


def test_each_channel_has_its_own_and_headers_have_none(vocabulary: Vocabulary) -> None:
    think, call = (vocabulary.encode(text, parse_special=True) for text in (THINK, CALL))
    found = deltas(played(vocabulary, think + call, (1,)).events)
    by_kind = {type(delta): [t for d in found if type(d) is type(delta) for t in d.logprobs] for delta in found}
    ids = [*think, *call]
    for kind, text in ((ReasoningDelta, "I look it up."), (ToolCallDelta, '{"city":"Bonn"}')):
        tokens = by_kind[kind][: len(vocabulary.encode(text))]
        first = int(-tokens[0].logprob)
        assert [token.id for token in tokens] == ids[first : first + len(tokens)] == vocabulary.encode(text)
        assert [token.text for token in tokens[0].top] == [
            vocabulary.decode([id_]) for id_ in (tokens[0].id, tokens[0].id + 1)
        ]


def test_a_stop_string_inside_a_token_cuts_it(vocabulary: Vocabulary) -> None:
    script = vocabulary.encode("<|channel|>final<|message|>the channel 👍 is<|return|>", parse_special=True)
    assert len(vocabulary.encode(" channel")) == 1
    reply = played(vocabulary, script, (1,), stop=["nel"]).reply
    assert (reply.text, bytes_of(reply.logprobs)) == ("the chan", b"the chan")
    reply = played(vocabulary, script, (1,), stop=["👍"]).reply
    assert (reply.text, bytes_of(reply.logprobs)) == ("the channel ", b"the channel ")
    assert played(vocabulary, script, (1,), stop=[" is"]).reply.logprobs[-1].id == vocabulary.encode("👍")[-1]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.sampled_from([*PIECES, BARE_CALL, *NAMES]), max_size=8),
    noise=st.lists(st.integers(0, 290), max_size=6),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    stop=st.lists(st.sampled_from(["rain", "look it", "日", "?a", "up.", '"city"', "\ufffd"]), max_size=2, unique=True),
)
def test_whatever_comes_bytes_join_to_text(
    vocabulary: Vocabulary, pieces: list[str], noise: list[int], sizes: list[int], stop: list[str]
) -> None:
    script = vocabulary.encode("".join(pieces), parse_special=True)
    script = script[: len(script) // 2] + noise + script[len(script) // 2 :] or [0]
    whole, streamed = (played(vocabulary, script, each, stop) for each in ([len(script)], sizes))
    assert whole.events == streamed.events
    for delta in deltas(streamed.events):
        assert delta.text
        if delta.logprobs:
            assert bytes_of(delta.logprobs).decode("utf-8", "replace") == delta.text
            assert not {token.id for token in delta.logprobs} & vocabulary.special_ids
        else:
            assert streamed.reply.repairs or delta == ReasoningDelta("\n"), "only of a broken header"
    bare = play(asked(vocabulary, stop), [script] * 4).reply
    reply = streamed.reply
    assert (bare.text, bare.reasoning, bare.token_ids, bare.stop, bare.repairs) == (
        reply.text, reply.reasoning, reply.token_ids, reply.stop, reply.repairs,
    ), "reporting changes nothing"  # fmt: skip
    assert not any(stop_ in bare.text for stop_ in stop) or len(bare.messages) > 1


def test_text_that_a_header_held_has_its_tokens(vocabulary: Vocabulary) -> None:
    script = vocabulary.encode("Sorry, but I can't help with that.<|end|>", parse_special=True)
    reply = played(vocabulary, script, (1,)).reply
    assert reply.repairs and reply.text and bytes_of(reply.logprobs) == reply.text.encode()
    long = vocabulary.encode("日本 " * 40 + "<|return|>", parse_special=True)
    reply = played(vocabulary, long, (1,)).reply
    assert len(reply.text) > 100 and bytes_of(reply.logprobs) == reply.text.encode()


def test_they_are_the_engines(llm: LLM) -> None:
    """Whole and streamed, and the same as the engine reports for the same ids; reporting changes no id."""
    asked, prompt = "Say something.", llm.render("Say something.")
    for seed in range(3):
        plain = llm.chat(asked, seed=seed, max_tokens=60, constrained=False)
        reply = llm.chat(asked, seed=seed, max_tokens=60, constrained=False, logprobs=3)
        assert plain.token_ids == reply.token_ids
        params = replace(llm.sampling, seed=seed, max_tokens=60, logprobs=3)
        params = replace(params, stop_ids=tuple(llm.vocabulary.stop_ids))
        [generation] = llm.engine.generate([prompt], params)
        reported = {n: (one.id, one.logprob, one.top) for n, one in enumerate(generation.logprobs)}
        said = [*reply.reasoning_logprobs, *reply.logprobs]
        assert len(said) > 5
        found = [(token.id, token.logprob, tuple((t.id, t.logprob) for t in token.top)) for token in said]
        assert [one for one in reported.values() if one in found] == found
        streamed = Reply.of(llm.stream(asked, seed=seed, max_tokens=60, constrained=False, logprobs=3))
        assert streamed.logprobs == reply.logprobs and streamed.reasoning_logprobs == reply.reasoning_logprobs


def test_several_answers_to_one_prompt(llm: LLM) -> None:
    asked = "Say something."
    several = llm.chat(asked, n=3, seed=5, max_tokens=20)
    alone = [llm.chat(asked, seed=seed, max_tokens=20) for seed in (5, 6, 7)]
    assert [reply.token_ids for reply in several] == [reply.token_ids for reply in alone]
    assert len({reply.token_ids for reply in several}) == 3
    assert len({reply.token_ids for reply in llm.chat(asked, n=3, max_tokens=20)}) == 3


def test_penalties_and_biases_reach_the_engine(llm: LLM) -> None:
    wanted = llm.vocabulary.encode("weather")[0]
    assert wanted in llm.chat("Hello", logit_bias={str(wanted): 1e4}, temperature=0, max_tokens=30).token_ids
    options = {"temperature": 0.0, "max_tokens": 60, "constrained": False}
    plain = llm.chat("Hello", **options)  # type: ignore[arg-type]
    for name, value in (("presence_penalty", 50.0), ("frequency_penalty", 50.0), ("repetition_penalty", 50.0)):
        reply = llm.chat("Hello", **options, **{name: value})  # type: ignore[arg-type]
        assert len(set(reply.token_ids)) > len(set(plain.token_ids)), name
