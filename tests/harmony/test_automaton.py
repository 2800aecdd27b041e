"""What the automaton lets pass is read without a repair, and what is rendered passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from string import ascii_lowercase, digits

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harmonium.errors import BadRequest
from harmonium.harmony.automaton import MOST_BYTES, Automaton, Offer, compile_offer
from harmonium.harmony.messages import Channel, Conversation, DeveloperContent, Message, Role, SystemContent
from harmonium.harmony.parse import Parsed, parse
from harmonium.harmony.render import render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from tests.harmony.conversations import conversations
from tests.harmony.golden import GOLDEN

N_ROWS = 4200
"""Rows of logits beyond nano's vocabulary, to which no token belongs."""
LONG = "look_up_" + "the_current_weather_and_the_forecast_of_" * 12 + "a_city"
OFFERS = {
    "nothing": Offer(),
    "functions": Offer.of(["get_weather", "get", "get_weather_tomorrow", "天気", "a.b-c", LONG]),
    "builtin": Offer.of([], ["python", "browser"]),
    "both": Offer.of(["python", "search", "functions.search"], ["browser", "python"]),
    "must call": Offer(("functions.now", "functions.then"), ("python",), must_call=True),
    "one builtin": Offer.of(["now"], ["browser"]).only(["browser.open"]),
    "final alone": Offer(channels=(Channel.FINAL,)),
    "no commentary": replace(Offer.of(["now"]), channels=(Channel.ANALYSIS, Channel.FINAL)),
    "must call at once": Offer(("functions.now",), must_call=True, channels=(Channel.FINAL,)),
}


@pytest.fixture(scope="module")
def vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


@pytest.fixture(scope="module", params=OFFERS)
def offer(request: pytest.FixtureRequest) -> Offer:
    return OFFERS[request.param]


@pytest.fixture(scope="module")
def automaton(offer: Offer, vocabulary: Vocabulary) -> Automaton:
    return compile_offer(offer, vocabulary, N_ROWS)


class Walk:
    """Steps through an automaton's arrays as their description says."""

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        arrays = self.arrays = automaton.arrays
        pairs = list(zip(arrays.edge_tokens.tolist(), arrays.edge_nexts.tolist(), strict=True))
        self.edges = [dict(pairs[start:stop]) for start, stop in pairwise(arrays.edge_starts.tolist())]
        self.texts = [set(np.flatnonzero(bits(row)).tolist()) for row in arrays.masks]

    def text(self, state: int) -> set[int]:
        row = self.arrays.mask_of[state]
        return self.texts[row] if row >= 0 else set()

    def step(self, state: int, id_: int) -> int:
        if id_ in self.edges[state]:
            return self.edges[state][id_]
        assert id_ in self.text(state), f"id {id_} in state {state}"
        return int(self.arrays.default_next[state])

    def follow(self, ids: list[int], state: int) -> int:
        for id_ in ids:
            state = self.step(state, id_)
        return state


def bits(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").astype(np.bool_)


def turns(automaton: Automaton, n: int, start: int | None) -> Iterator[list[int]]:
    """Random turns, each up to its end; in a body one id in four is the one that ends it."""
    walk, random = Walk(automaton), Random(n)
    texts = [sorted(text) for text in walk.texts]
    for _ in range(n):
        state, ids = automaton.start if start is None else start, list[int]()
        while state != automaton.done:
            edges, row = sorted(walk.edges[state]), walk.arrays.mask_of[state]
            is_edge = row < 0 or random.random() < 0.25
            ids.append(random.choice(edges if is_edge else texts[row]))
            state = walk.step(state, ids[-1])
        yield ids


def test_random_turns_need_no_repair(automaton: Automaton, offer: Offer, vocabulary: Vocabulary) -> None:
    said = {True: set[str | None](), False: set[str | None]()}
    for is_closed in (False, True):
        for ids in turns(automaton, 150, automaton.start_closed if is_closed else automaton.start):
            parsed = parse(ids, vocabulary)
            assert not parsed.repairs and parsed.is_complete, vocabulary.decode(ids)
            assert {message.recipient for message in parsed.messages[:-1]} <= {None}
            last = parsed.messages[-1]
            assert last.channel == channel_of(last.recipient, offer)
            assert last.recipient not in offer.builtin or last.content_type == "code"
            assert {message.channel for message in parsed.messages if message.recipient is None} <= {*offer.channels}
            assert not is_closed or len(parsed.messages) == 1
            assert not offer.must_call or len(parsed.messages) <= 3
            said[is_closed].add(last.recipient)
    wanted = {*offer.recipients} | (set() if offer.must_call else {None})
    assert said[False] == said[True] == wanted


def channel_of(recipient: str | None, offer: Offer) -> Channel:
    if recipient is None:
        return Channel.FINAL
    return Channel.COMMENTARY if recipient in offer.functions else Channel.ANALYSIS


def test_no_state_is_a_dead_end(automaton: Automaton) -> None:
    """From each state some ids lead to the end, and each is reached."""
    walk = Walk(automaton)
    n = len(walk.edges)
    ways = {state: set(walk.edges[state].values()) for state in range(n)}
    backwards: dict[int, set[int]] = {state: {s for s in range(n) if state in ways[s]} for state in range(n)}
    assert reached(automaton.done, backwards) == set(range(n))
    exits = {state: {*ways[state], int(walk.arrays.exits[state])} - {-1} for state in range(n)}
    used = reached(automaton.start, exits) | reached(automaton.start_closed, exits)
    bodies = [state for state in set(range(n)) - used if walk.arrays.default_next[state] == state]
    assert used.union(*(reached(body, exits) for body in bodies)) == set(range(n)), "but for bodies without a header"


def reached(start: int, ways: dict[int, set[int]]) -> set[int]:
    found, todo = {start}, [start]
    while todo:
        new = ways[todo.pop()] - found
        found |= new
        todo += new
    return found


def test_a_body_is_text_and_its_own_end(automaton: Automaton, offer: Offer, vocabulary: Vocabulary) -> None:
    walk = Walk(automaton)
    is_text = {id_ for id_ in range(vocabulary.size) if vocabulary.has_token(id_)} - vocabulary.special_ids
    control = vocabulary.control
    ends = {"analysis": control.end, "commentary": control.end, "final": control.return_}
    for channel, end in ends.items():
        header = vocabulary.encode(f"<|channel|>{channel}<|message|>", parse_special=True)
        if channel not in offer.channels or (channel == "final" and offer.must_call):
            with pytest.raises(AssertionError):
                walk.follow(header, automaton.start)
            continue
        state = walk.follow(header, automaton.start)
        assert walk.text(state) == is_text and set(walk.edges[state]) == {end}
        assert walk.step(state, min(is_text)) == state


def test_ids_without_a_token_are_nowhere(o200k: Vocabulary) -> None:
    automaton = compile_offer(OFFERS["both"], o200k, 201088)
    assert automaton.vocab_size == 201088
    allowed = np.flatnonzero(bits(automaton.arrays.masks[0])).tolist() + automaton.arrays.edge_tokens.tolist()
    assert all(o200k.has_token(id_) for id_ in allowed)
    assert max(allowed) < o200k.size


def test_a_spent_budget_closes_the_reasoning(vocabulary: Vocabulary) -> None:
    """The exit of reasoning leads to the final message and nowhere else where there are no tools."""
    automaton = compile_offer(Offer(), vocabulary, N_ROWS)
    walk = Walk(automaton)
    body, behind = np.flatnonzero(automaton.arrays.exits >= 0).tolist()
    assert walk.step(body, vocabulary.control.end) == behind, "more reasoning may follow, and is charged"
    for state, frame in ((body, "<|end|>"), (behind, "")):
        state, ids = int(automaton.arrays.exits[state]), list[int]()
        while not walk.text(state):
            message = vocabulary.control.message  # or the content type of JSON
            ids.append(message if message in walk.edges[state] else min(walk.edges[state]))
            state = walk.edges[state][ids[-1]]
        assert vocabulary.decode(ids) == f"{frame}<|start|>assistant<|channel|>final<|message|>"


def test_rendered_turns_pass(o200k: Vocabulary) -> None:
    """Every golden turn of the assistant's that the parser takes as it is, with the tools that it calls."""
    passed, repaired = set[str](), set[str]()
    for name, conversation in GOLDEN.items():
        for ids in assistant_turns(conversation, o200k):
            parsed = parse(ids, o200k)
            if parsed.repairs:
                repaired.add(name)
                continue
            automaton = compile_offer(offered(conversation, parsed), o200k, 201088)
            Walk(automaton).follow(ids, automaton.start)
            passed.add(name)
    spoken = {n for n, said in GOLDEN.items() if any(m.role is Role.ASSISTANT for m in said.messages)}
    assert passed == spoken - {"names"} and repaired == {"names", "content types"}


def assistant_turns(conversation: Conversation, vocabulary: Vocabulary) -> Iterator[list[int]]:
    """What the assistant says, behind `<|start|>assistant`, up to the next speaker or an end that history changed."""
    said: list[int] = []
    for id_, code in zip(*render_for_training(conversation, vocabulary), strict=True):
        if code:
            said.append(id_)
        elif said:
            yield said
            said = []
    if said:
        yield said


def offered(conversation: Conversation, parsed: Parsed) -> Offer:
    parts = [part for message in conversation.messages for part in message.content]
    functions = [tool.name for part in parts if isinstance(part, DeveloperContent) for tool in part.tools]
    builtin = [name for part in parts if isinstance(part, SystemContent) for name in part.builtin_tools]
    called = [message.recipient for message in parsed.messages if message.recipient is not None]
    undeclared = [name.removeprefix("functions.") for name in called if name.startswith("functions.")]
    return Offer.of([*functions, *undeclared], builtin)


def test_many_tools_take_little_memory(o200k: Vocabulary) -> None:
    names = [f"{verb}_{thing}_{n}" for verb in ("get", "set") for thing in ("door", "light", "user") for n in range(50)]
    assert compile_offer(Offer.of(names, ["browser", "python"]), o200k, 201088).n_bytes < 64 * 1024


@pytest.mark.parametrize("is_strict", [False, True])
def test_names_that_share_nothing_take_no_more_than_there_is(is_strict: bool, vocabulary: Vocabulary) -> None:
    """As many functions with names as long as OpenAI's API allows; nano's vocabulary needs an id a character."""
    random = Random(1)
    names = ["".join(random.choices(ascii_lowercase + digits + "_", k=64)) for _ in range(128)]
    offer = Offer.of(names)
    offer = replace(offer, strict=offer.functions) if is_strict else offer
    automaton = compile_offer(offer, vocabulary, 201_088)
    assert automaton.n_bytes <= MOST_BYTES
    for ids in turns(compile_offer(replace(Offer.of(names), must_call=True), vocabulary, N_ROWS), 5, None):
        parsed = parse(ids, vocabulary, functions=names)
        assert not parsed.repairs and parsed.messages[-1].recipient in offer.functions
    with pytest.raises(BadRequest, match=r"KB of tables.*shorten"):
        compile_offer(Offer.of(name * 3 for name in names), vocabulary, N_ROWS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=12) | st.sampled_from(["a b", "a_b", "a?b", "", "end-", "<|end|>"]), min_size=1))
def test_functions_of_any_name(vocabulary: Vocabulary, names: list[str]) -> None:
    """Each is called by a name of its own, in a header that is read back as the name that was declared."""
    offer = Offer.of(names)
    assert len(offer.functions) == len(set(names))
    called = set[str]()
    for ids in turns(compile_offer(replace(offer, must_call=True), vocabulary, N_ROWS), 20, None):
        parsed = parse(ids, vocabulary, functions=names)
        assert not parsed.repairs, vocabulary.decode(ids)
        called.add(parsed.messages[-1].recipient or "")
    assert called <= {f"functions.{name}" for name in names}


def test_any_rendered_turn_passes(vocabulary: Vocabulary) -> None:
    """Whatever well-formed messages a conversation has, the assistant could have said them: none is refused."""
    walks, passed = dict[Offer, Walk](), Counter[str]()

    @settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
    @given(conversations)
    def check(drawn: Conversation) -> None:
        said = Conversation(tuple(message for message in drawn.messages if is_well_formed(message)))
        for ids in rendered_turns(said, vocabulary):
            parsed = parse(ids, vocabulary)
            offer = replace(offered(said, parsed), builtin=OFFERS["builtin"].builtin)
            if offer not in walks:
                walks[offer] = Walk(compile_offer(offer, vocabulary, N_ROWS))
            walks[offer].follow(ids, walks[offer].automaton.start)
            passed.update(f"{message.channel}, {message.content_type}" for message in parsed.messages)

    check()
    kinds = (
        "analysis, None",
        "analysis, code",
        "commentary, None",
        "commentary, json",
        "commentary, <|constrain|>json",
    )
    for kind in (*kinds, "final, None", "final, <|constrain|>json"):
        assert passed[kind] >= 5, (kind, passed)


def is_well_formed(message: Message) -> bool:
    """As the format has it; the strategy's odd ones, which the parser only makes sense of, are not."""
    if message.role is not Role.ASSISTANT:
        return True
    is_call = message.recipient is not None and message.recipient != "all"
    types = (None, "json", "<|constrain|>json", *(["code"] if message.channel == Channel.ANALYSIS else []))
    return bool(
        message.channel
        and message.author.name is None
        and message.content_type in types
        and (is_call or message.recipient is None)
    )


def rendered_turns(conversation: Conversation, vocabulary: Vocabulary) -> Iterator[list[int]]:
    """`assistant_turns`, each cut where it ended."""
    speaker = [vocabulary.control.start, *vocabulary.encode_fixed(Role.ASSISTANT)]
    for ids in assistant_turns(conversation, vocabulary):
        ends = [at + 1 for at, id_ in enumerate(ids) if id_ in vocabulary.stop_ids]
        for first, stop in pairwise([0, *ends, len(ids)]):
            piece = ids[first:stop]
            if piece:
                yield piece[len(speaker) :] if piece[: len(speaker)] == speaker else piece
