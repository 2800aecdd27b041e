"""Which ids may come next in a turn: harmony's frame with the tools that were offered, compiled to state tables.

The legal headers are few: a channel, or a call of an offered tool, each spelled as the model was trained to spell it.
All of them as one trie over ids, with equal ends shared, are the header states. A body is one state: every text token,
and the one id that ends its channel. So from any logits comes a turn that the parser reads without a repair.

The tables are plain numpy, in the form of the engine's constraint: a row of bits for bodies, short lists of ids
elsewhere. Where a body has to follow a grammar the state names a matcher, which decides there in the tables' place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from harmonium.errors import BadRequest
from harmonium.harmony.messages import Channel, Role
from harmonium.harmony.names import spoken_names
from harmonium.harmony.namespaces import BROWSER_FUNCTIONS, FUNCTIONS
from harmonium.harmony.vocabulary import Vocabulary

ANSWER = "final"
"""The matcher of the final body; the matchers of calls go by their recipient."""

BUILTIN_RECIPIENTS = {
    "browser": tuple(f"browser.{function.name}" for function in BROWSER_FUNCTIONS),
    "python": ("python",),
}
Header = tuple[tuple[int, ...], int]
"""The ids behind `<|start|>assistant`, `<|message|>` the last, and the state of the body that follows."""


@dataclass(frozen=True)
class Offer:
    """What the assistant may do in a turn.

    functions, builtin: recipients that it may call, "functions.get_weather", "python", "browser.open". strict: those
    whose arguments a matcher decides. must_call: it cannot answer; it may reason once, say once what it is about to do,
    and then calls. is_matched: a matcher decides the final body. channels: those on which it may say something; calls
    have theirs whatever these are, and an answer that has to be can be given.
    """

    functions: tuple[str, ...] = ()
    builtin: tuple[str, ...] = ()
    strict: tuple[str, ...] = ()
    must_call: bool = False
    is_matched: bool = False
    channels: tuple[Channel, ...] = tuple(Channel)

    @staticmethod
    def of(functions: Iterable[str], builtin_tools: Iterable[str] = ()) -> Offer:
        """By names of functions, which a header may have to spell in another way, and of builtin tools."""
        names = tuple(dict.fromkeys(functions))
        spoken = spoken_names(names)
        builtin = tuple(recipient for name in builtin_tools for recipient in BUILTIN_RECIPIENTS.get(name, ()))
        return Offer(tuple(f"{FUNCTIONS}.{spoken.get(name, name)}" for name in names), tuple(dict.fromkeys(builtin)))

    def only(self, recipients: Collection[str]) -> Offer:
        """No other tools than these."""
        functions, builtin, strict = (
            tuple(recipient for recipient in offered if recipient in recipients)
            for offered in (self.functions, self.builtin, self.strict)
        )
        return replace(self, functions=functions, builtin=builtin, strict=strict)

    @property
    def recipients(self) -> tuple[str, ...]:
        return self.functions + self.builtin

    @property
    def matchers(self) -> tuple[str, ...]:
        """What the tables' matchers are for, in their order: ANSWER or a recipient."""
        return ((ANSWER,) if self.is_matched else ()) + self.strict


class Arrays(NamedTuple):
    """The states: masks (n_masks, words) uint32, id i being bit i % 32 of word i // 32; the others int32.

    State s allows the ids of row mask_of[s] of masks (-1: none), which lead to default_next[s], and its edges' ids
    edge_tokens[edge_starts[s]:edge_starts[s + 1]], which lead to edge_nexts. Reasoning and the place behind it have an
    exit (else -1), where a spent budget leads. Where matcher_of is not -1, that matcher decides instead of the row, and
    the edges are its ends.
    """

    masks: NDArray[np.uint32]
    mask_of: NDArray[np.int32]
    default_next: NDArray[np.int32]
    edge_starts: NDArray[np.int32]
    edge_tokens: NDArray[np.int32]
    edge_nexts: NDArray[np.int32]
    exits: NDArray[np.int32]
    matcher_of: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Automaton:
    """A compiled offer. start: behind the prompt's `<|start|>assistant`; start_closed: there, when it may reason no
    more. done: behind the id that ended the turn."""

    arrays: Arrays
    vocab_size: int
    start: int
    start_closed: int
    done: int

    @property
    def n_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


MOST_BYTES = 256 << 10
"""Of an automaton. 128 functions with names of 64 random characters fit."""


def compile_offer(offer: Offer, vocabulary: Vocabulary, vocab_size: int) -> Automaton:
    """The automaton of an offer. vocab_size: rows of the logits; those to which no token belongs are never allowed.

    Where calls in both orders would take more than MOST_BYTES, they are made in that which is rendered alone. Raises
    BadRequest for names that do not fit even so.
    """
    automaton = _compiled(offer, vocabulary, vocab_size, has_both_orders=True)
    if automaton.n_bytes > MOST_BYTES:
        automaton = _compiled(offer, vocabulary, vocab_size, has_both_orders=False)
    if automaton.n_bytes > MOST_BYTES:
        raise BadRequest(
            f"The {len(offer.recipients)} tools have names too long and too different to be enforced together "
            f"({automaton.n_bytes >> 10} KB of tables; {MOST_BYTES >> 10} are the most); shorten them, offer fewer "
            "tools, or do without (constrained=False).",
            param="tools",
        )
    return automaton


def _compiled(offer: Offer, vocabulary: Vocabulary, vocab_size: int, has_both_orders: bool) -> Automaton:
    assert vocab_size >= vocabulary.size, "logits have a row for every token"
    assert not offer.must_call or offer.recipients, "a call that has to be made needs a tool"
    control = vocabulary.control
    states = _States(offer)
    bodies = {Channel.ANALYSIS: states.analysis, Channel.COMMENTARY: states.preamble}
    words = {channel: _says(channel, body, vocabulary) for channel, body in bodies.items() if channel in offer.channels}
    ends = [] if offer.must_call else _answers(states.final, vocabulary)
    for recipient in offer.recipients:
        is_function = recipient in offer.functions
        calls = _calls(recipient, is_function, states.strict.get(recipient, states.call), vocabulary)
        ends += [header for header, is_rendered in calls if is_rendered or has_both_orders]
    start, start_closed = states.add_headers([*words.values(), *ends]), states.add_headers(ends)
    followers = {states.analysis: start, states.preamble: start, states.closing: start_closed}
    if offer.must_call:  # else a model that will not call could reason for ever
        words.pop(Channel.ANALYSIS, None)
        followers |= {states.analysis: states.add_headers([*words.values(), *ends]), states.preamble: start_closed}
    speaker = (control.start, *vocabulary.encode_fixed(Role.ASSISTANT))
    closed = states.add_headers([(speaker, start_closed)])
    for body, header in followers.items():
        # The end of reasoning is charged, too: a model that says nothing in it could begin anew for ever.
        exit_ = closed if body == states.analysis and header != start_closed else -1
        states.edges[body] = {control.end: states.add_headers([(speaker, header)], exit_)}
    states.edges[states.final] = {control.return_: states.done}
    states.edges[states.done] = {control.return_: states.done}  # so that what samples one id too many finds one
    for call in (states.call, *states.strict.values()):
        states.edges[call] = {control.call: states.done}
    return Automaton(states.arrays(text_mask(vocabulary, vocab_size)), vocab_size, start, start_closed, states.done)


def text_mask(vocabulary: Vocabulary, vocab_size: int) -> NDArray[np.uint32]:
    """(ceil(vocab_size / 32),): the ids of text: all tokens but the control tokens. Shared; not to be changed."""
    known = _TEXT_MASKS.setdefault(vocabulary, {})
    if vocab_size not in known:
        is_text = np.zeros(-(-vocab_size // 32) * 32, np.bool_)
        is_text[[id_ for id_ in range(vocabulary.size) if vocabulary.has_token(id_)]] = True
        is_text[list(vocabulary.special_ids)] = False
        known[vocab_size] = np.packbits(is_text, bitorder="little").view("<u4").astype(np.uint32)
        known[vocab_size].flags.writeable = False
    return known[vocab_size]


_TEXT_MASKS: WeakKeyDictionary[Vocabulary, dict[int, NDArray[np.uint32]]] = WeakKeyDictionary()


def _says(channel: Channel, body: int, vocabulary: Vocabulary) -> Header:
    control = vocabulary.control
    return (control.channel, *vocabulary.encode_fixed(channel), control.message), body


def _answers(body: int, vocabulary: Vocabulary) -> list[Header]:
    """The final channel, plain or with the content type that models give to JSON."""
    control = vocabulary.control
    channel = (control.channel, *vocabulary.encode_fixed(Channel.FINAL))
    return [((*channel, *type_, control.message), body) for type_ in ((), *_json_types(vocabulary))]


def _calls(recipient: str, is_function: bool, body: int, vocabulary: Vocabulary) -> Iterator[tuple[Header, bool]]:
    """A call with its recipient before the channel, as it is rendered (True), or behind it, as models write it too."""
    control, encode = vocabulary.control, vocabulary.encode_fixed
    to = encode(f" to={recipient}")
    channel = (control.channel, *encode(Channel.COMMENTARY if is_function else Channel.ANALYSIS))
    types = ((), *_json_types(vocabulary)) if is_function else (encode(" code"),)
    for type_ in types:
        yield ((*to, *channel, *type_, control.message), body), True
        yield ((*channel, *to, *type_, control.message), body), False


def _json_types(vocabulary: Vocabulary) -> tuple[tuple[int, ...], ...]:
    control, encode = vocabulary.control, vocabulary.encode_fixed
    return (*encode(" "), control.constrain, *encode("json")), (control.constrain, *encode("json")), encode(" json")


class _States:
    """States while they are made: the bodies first, then headers, equal ones once."""

    def __init__(self, offer: Offer) -> None:
        self.edges: list[dict[int, int]] = []
        self._is_text: list[bool] = []
        self._exits: list[int] = []
        self._matchers: list[int] = []
        self._known: dict[tuple[tuple[tuple[int, int], ...], int], int] = {}
        matcher_of = {name: number for number, name in enumerate(offer.matchers)}
        self.done = self._add(is_text=False)
        self.closing = self._add(is_text=False)
        self.analysis = self._add(exit_=self.closing)
        self.preamble = self._add()
        self.final = self._add(matcher=matcher_of.get(ANSWER, -1))
        self.call = self._add()
        self.strict = {recipient: self._add(matcher=matcher_of[recipient]) for recipient in offer.strict}

    def add_headers(self, headers: Iterable[Header], exit_: int = -1) -> int:
        """The state from which each header's ids lead to its body. exit_: where a spent budget leads from it."""
        nodes: list[dict[int, int]] = [{}]  # an id to the node behind it, or to ~state
        for ids, body in headers:
            node = nodes[0]
            for id_ in ids[:-1]:
                if id_ not in node:
                    node[id_] = len(nodes)
                    nodes.append({})
                node = nodes[node[id_]]
            assert ids[-1] not in node, "two headers are one"
            node[ids[-1]] = ~body
        state_of: dict[int, int] = {}
        for number in reversed(range(len(nodes))):  # a node comes before those behind it
            edges = {id_: state_of[after] if after >= 0 else ~after for id_, after in nodes[number].items()}
            key = tuple(sorted(edges.items())), exit_ if number == 0 else -1
            if key not in self._known:
                self._known[key] = self._add(is_text=False, exit_=key[1])
                self.edges[-1] = edges
            state_of[number] = self._known[key]
        return state_of[0]

    def _add(self, is_text: bool = True, exit_: int = -1, matcher: int = -1) -> int:
        self.edges.append({})
        self._is_text.append(is_text)
        self._exits.append(exit_)
        self._matchers.append(matcher)
        return len(self.edges) - 1

    def arrays(self, text: NDArray[np.uint32]) -> Arrays:
        n = len(self.edges)
        is_text, matcher_of = np.array(self._is_text), np.array(self._matchers, np.int32)
        pairs = [pair for edges in self.edges for pair in edges.items()]
        return Arrays(
            masks=text[None],
            mask_of=np.where(is_text & (matcher_of < 0), 0, -1).astype(np.int32),
            default_next=np.where(is_text, np.arange(n), -1).astype(np.int32),
            edge_starts=np.cumsum([0, *map(len, self.edges)]).astype(np.int32),
            edge_tokens=np.array([id_ for id_, _ in pairs], np.int32),
            edge_nexts=np.array([after for _, after in pairs], np.int32),
            exits=np.array(self._exits, np.int32),
            matcher_of=matcher_of,
        )
