"""Pieces of a text that came together are one event, and nothing that is read of them changes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harmonium.chat.events import Event, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta, joined

texts = st.sampled_from(["\n", "a", "bc", "\n\n", "é"])
tokens = st.lists(st.builds(TokenLogprob, st.integers(0, 9), st.floats(-9, 0), st.just(b"a")), max_size=2).map(tuple)
deltas = st.one_of(
    st.builds(ReasoningDelta, texts, tokens),
    st.builds(TextDelta, texts, st.sampled_from(["final", "commentary"]), tokens),
    st.builds(ToolCallDelta, st.sampled_from(["one", "two"]), st.just("sum"), texts, tokens),
)


def said(events: Sequence[Event]) -> list[object]:
    """Each character and token with all that its event says of it besides."""
    found: list[object] = []
    for event in events:
        assert isinstance(event, ReasoningDelta | TextDelta | ToolCallDelta)
        rest = tuple(value for name, value in vars(event).items() if name not in ("text", "logprobs"))
        found += [(type(event), rest, character) for character in event.text]
    return found


@given(st.lists(deltas, max_size=12))
def test_joined_pieces_say_the_same(events: list[Event]) -> None:
    whole: list[Event] = []
    for event in events:
        both = joined(whole[-1], event) if whole else None
        whole[-1:] = [both] if both is not None else [*whole[-1:], event]
    assert said(whole) == said(events)
    chances = [[one for event in found for one in event.logprobs] for found in (whole, events)]  # type: ignore[union-attr]
    assert chances[0] == chances[1]
    breaks = [[event for event in found if event == ReasoningDelta("\n")] for found in (whole, events)]
    assert breaks[0] == breaks[1], "a break between two analyses stays apart"


def test_pieces_of_one_text_are_joined() -> None:
    assert joined(TextDelta("a"), TextDelta("b")) == TextDelta("ab")
    assert joined(TextDelta("a"), TextDelta("b", "commentary")) is None
    assert joined(ReasoningDelta("a"), TextDelta("b")) is None
