"""Which ids may come next: what a source of masks hands to the engine, in two forms that work together. No torch.

A `Table` is an automaton compiled elsewhere into numpy arrays; many requests share one, and the sampler steps it on
the device. A `HostMatcher` (a grammar, a JSON schema) needs each id on the host before it can say what follows. States
of a table may be marked as a matcher's: there the matcher alone decides, until the body is complete and one of the
state's edges is taken, where the table goes on.

A `TableConstraint` is one request's use of a table; a `Cursor` is its place in it on the host, and the specification
that the device (table_arena.py) equals. The engine reads ids and knows nothing of what they mean.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import pairwise
from numbers import Integral
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, int]
"""A state, and how much of the budget was spent on the way to it."""

UNLIMITED = 2**40
"""The budget of a request that has none."""


class HostMatcher(Protocol):
    """A stateful source of masks for one body. What it raises ends its request with an error, and no other."""

    def mask(self) -> NDArray[np.int32]:
        """The ids allowed next, packed: (ceil(vocabulary / 32),), id i is bit i % 32 of word i // 32."""

    def can_end(self) -> bool:
        """Whether the body may end here."""

    def accept(self, token: int) -> None:
        """Takes the next id of the body; the id that ends it is not shown."""

    def forced(self) -> Sequence[int]:
        """Ids that must follow now, accepted one by one by the caller; empty where there is a choice."""


@dataclass(frozen=True, eq=False)
class Table:
    """An automaton over ids as numpy arrays; state s allows its row's ids and its edges' ids, and no other.

    masks: (n_masks, ceil(vocab_size / 32)) uint32, packed as in `HostMatcher.mask`, shared between states.
    mask_of: (n_states,) int32, the state's row of masks, or -1.
    default_next: (n_states,) int32, the state after an id of its row that is not among its edges.
    edge_starts: (n_states + 1,) int32; edges edge_starts[s] to edge_starts[s + 1] are state s's.
    edge_tokens, edge_nexts: (n_edges,) int32, an id and the state after it.
    exits: (n_states,) int32. States with an exit are budgeted: an id that leads from one budgeted state to another is
    charged to the request's budget, and when that is used up a budgeted state gives way to its exit. -1 for the others.
    matcher_of: (n_states,) int32, which of the request's matchers decides in this state instead of mask_of, or -1.
    """

    vocab_size: int
    masks: NDArray[np.uint32]
    mask_of: NDArray[np.int32]
    default_next: NDArray[np.int32]
    edge_starts: NDArray[np.int32]
    edge_tokens: NDArray[np.int32]
    edge_nexts: NDArray[np.int32]
    exits: NDArray[np.int32]
    matcher_of: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = self.n_states
        assert self.masks.shape[1:] == (n_words(self.vocab_size),), "masks have one bit per id"
        assert len(self.default_next) == len(self.exits) == len(self.matcher_of) == n, "one entry per state"
        assert len(self.edge_starts) == n + 1 and self.edge_starts[-1] == len(self.edge_tokens), (
            "edges cover the states"
        )
        exits = self.exits[self.exits >= 0]
        assert (self.exits[exits] < 0).all(), "an exit leads out of the budgeted states"

    @property
    def n_states(self) -> int:
        return len(self.mask_of)

    @cached_property
    def edges(self) -> list[dict[int, int]]:
        """Each state's edges, id to state."""
        pairs = list(zip(self.edge_tokens.tolist(), self.edge_nexts.tolist(), strict=True))
        starts = self.edge_starts.tolist()
        return [dict(pairs[start:stop]) for start, stop in pairwise(starts)]

    @cached_property
    def forbidden(self) -> list[NDArray[np.bool_]]:
        """(vocab_size,) each: the ids that each state's row of masks forbids. Shared between states and tables, not to
        be changed."""
        rows = [*self.masks, np.zeros(n_words(self.vocab_size), np.uint32)]
        return [_unpacked(rows[row].tobytes(), self.vocab_size) for row in self.mask_of]

    @cached_property
    def only(self) -> list[int]:
        """The one id that each state allows, -1 where there are several or a matcher decides."""
        has_row = np.append(self.masks.any(axis=1), False)[self.mask_of]
        is_single = ~has_row & (self.matcher_of < 0)
        return [next(iter(to)) if one and len(to) == 1 else -1 for one, to in zip(is_single, self.edges, strict=True)]

    @cached_property
    def leads_to_matcher(self) -> list[bool]:
        """Whether the next id may lead from each state to one where a matcher decides, by its exit too."""
        decides = self.matcher_of >= 0
        decides = decides | (decides[self.exits] & (self.exits >= 0))
        leads = decides[self.default_next] & (self.default_next >= 0)
        sources = np.repeat(np.arange(self.n_states), np.diff(self.edge_starts))
        leads[sources[decides[self.edge_nexts]]] = True
        found: list[bool] = leads.tolist()
        return found

    @cached_property
    def steps(self) -> tuple[list[int], list[int], list[int], list[int]]:
        """default_next, exits, matcher_of and edge_starts, for the host, which steps one state at a time."""
        arrays = self.default_next, self.exits, self.matcher_of, self.edge_starts
        default_next, exits, matcher_of, edge_starts = (array.tolist() for array in arrays)
        return default_next, exits, matcher_of, edge_starts

    @property
    def n_bytes(self) -> int:
        """What the table takes on the host: its arrays and what steps it there. What `forbidden` lists is shared."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
        held += sys.getsizeof(self.edges) + sum(
            map(sys.getsizeof, (*self.edges, *self.steps, self.only, self.forbidden))
        )
        return held + 2 * sys.getsizeof(2**20) * len(self.edge_tokens)


def _forbidden(words: bytes, vocab_size: int) -> NDArray[np.bool_]:
    """(vocab_size,): the ids that a packed mask forbids."""
    bits = np.unpackbits(~np.frombuffer(words, "<u4").view(np.uint8), bitorder="little")[:vocab_size].astype(np.bool_)
    bits.flags.writeable = False
    return bits


_unpacked = lru_cache(maxsize=16)(_forbidden)


def as_ids(values: Sequence[int], vocab_size: int) -> list[int]:
    """Ids that somebody else says there are. Raises ValueError for what is no id of the vocabulary."""
    ids: list[int] = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value < vocab_size:
            raise ValueError(f"{value!r} is no id of the vocabulary")
        ids.append(int(value))
    return ids


def n_words(vocab_size: int) -> int:
    """Words of a packed mask."""
    return -(-vocab_size // 32)


def set_bits(words: NDArray[np.int32], tokens: Sequence[int], is_allowed: bool) -> None:
    """Allows or forbids tokens in the packed mask words, in place."""
    bits = words.view(np.uint32)
    for token in tokens:
        bit = np.uint32(1 << token % 32)
        bits[token // 32] = bits[token // 32] | bit if is_allowed else bits[token // 32] & ~bit


@dataclass(frozen=True, eq=False)
class TableConstraint:
    """One request's constraint: a table, where to begin, its budget, and what makes the matchers its states name.

    budget: ids that budgeted states may take in all, None for no limit. matchers[i] is called whenever a state with
    matcher i is entered from one without. watch: shown each id that is charged; where it says True the budget is used
    up with that id, so that the host has to see an id before the next one is chosen.
    """

    table: Table
    start: int = 0
    budget: int | None = None
    matchers: tuple[Callable[[], HostMatcher], ...] = ()
    watch: Callable[[int], bool] | None = None


def body(make: Callable[[], HostMatcher], vocab_size: int, end_ids: Sequence[int]) -> TableConstraint:
    """A constraint that is one matcher's body from the first id on, and then one of end_ids."""
    one, ends = np.array([-1, -1], np.int32), np.array(sorted(set(end_ids)), np.int32)
    table = Table(
        vocab_size=vocab_size,
        masks=np.zeros((0, n_words(vocab_size)), np.uint32),
        mask_of=one,
        default_next=np.array([0, 1], np.int32),
        edge_starts=np.array([0, len(ends), len(ends)], np.int32),
        edge_tokens=ends,
        edge_nexts=np.ones(len(ends), np.int32),
        exits=one,
        matcher_of=np.array([0, -1], np.int32),
    )
    return TableConstraint(table, matchers=(make,))


class Cursor:
    """A request's place in its constraint, on the host; whatever its matchers raise passes through.

    jumps: `forced` gives what the table forces, too, and not only what a matcher does.
    is_moved: its watch has moved it on, which a device that steps the table cannot know and has to be told.
    """

    def __init__(self, constraint: TableConstraint, *, jumps: bool = False) -> None:
        self.table = constraint.table
        self.budget = UNLIMITED if constraint.budget is None else constraint.budget
        self.spent = 0
        self.is_moved = False
        self._matchers, self._watch, self._jumps = constraint.matchers, constraint.watch, jumps
        self._edges, self._forbidden, self._only = self.table.edges, self.table.forbidden, self.table.only
        self._default, self._exits, self._matcher_of, self._starts = self.table.steps
        self.matcher: HostMatcher | None = None
        self.state = constraint.start
        exit_state = self._exits[self.state]
        if exit_state >= 0 and self.spent >= self.budget:
            self.state = exit_state
        self._enter(-1)

    @property
    def needs_host(self) -> bool:
        """A matcher decides here: the id must reach the host before the next one can be chosen."""
        return self.matcher is not None

    @property
    def awaits_host(self) -> bool:
        """The next id has to reach the host before the one after it can be chosen: it may lead to a matcher's state, or
        is shown to the watch."""
        is_watched = self._watch is not None and self._exits[self.state] >= 0
        return self.needs_host or is_watched or self.table.leads_to_matcher[self.state]

    def advance(self, token: int) -> None:
        """Takes an id that was allowed."""
        before = self.state
        after = self._edges[before].get(token, -1)
        if after < 0:
            after = self._default[before]
            if self.matcher is not None:
                self.matcher.accept(token)
            assert after >= 0, f"id {token} is not allowed in state {before}"
        exit_state = self._exits[after]
        if exit_state >= 0:
            if self._exits[before] >= 0:
                self.spent += 1
                if self._watch is not None and self.spent < self.budget and self._watch(token):
                    self.budget, self.is_moved = self.spent, True
            if self.spent >= self.budget:
                after = exit_state
        if after != before:
            self.state = after
            self._enter(self._matcher_of[before])

    def mask(self) -> NDArray[np.int32]:
        """The ids allowed now, packed as in `HostMatcher.mask`; the matcher's where one decides."""
        table, tokens = self.table, list(self._edges[self.state])
        if self.matcher is not None:
            words = self.matcher.mask().astype(np.int32)
            set_bits(words, tokens, is_allowed=self.matcher.can_end())
            return words
        row = table.mask_of[self.state]
        words = (table.masks[row] if row >= 0 else np.zeros(n_words(table.vocab_size), np.uint32)).view(np.int32).copy()
        set_bits(words, tokens, is_allowed=True)
        return words

    def legal(self, mask: NDArray[np.int32] | None) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """What is allowed now: what an array (vocab_size,) forbids, but for some ids. mask: what a matcher allows."""
        if mask is not None:
            return _forbidden(mask.tobytes(), self.table.vocab_size), self.table.edge_tokens[:0]
        first, stop = self._starts[self.state], self._starts[self.state + 1]
        return self._forbidden[self.state], self.table.edge_tokens[first:stop]

    def allows(self, token: int, state: int | None = None) -> bool:
        """Is it allowed now, where no matcher decides? state: as in `forbid`."""
        state = self.state if state is None else state
        return not self._forbidden[state][token] or token in self._edges[state]

    def forbid(self, ids: NDArray[np.bool_], state: int | None = None) -> None:
        """Marks in ids (vocab_size,) those that are not allowed now: what `mask` says, where no matcher decides.

        state: another than the cursor's, as `ahead` gives them.
        """
        state = self.state if state is None else state
        ids[:] = self._forbidden[state]
        ids[list(self._edges[state])] = False

    def ahead(self, tokens: Sequence[int]) -> list[Place]:
        """Where each of these ids would lead, one after the other; the cursor and its watch do not notice.

        It ends before an id that is not allowed, and before one after which a matcher decides.
        """
        places: list[Place] = []
        state, spent = self.place
        for token in tokens:
            after = self._edges[state].get(token, -1)
            if after < 0 and not self._forbidden[state][token]:
                after = self._default[state]
            if after < 0:
                break
            spent += self._exits[state] >= 0 and self._exits[after] >= 0
            exit_state = self._exits[after]
            state = exit_state if exit_state >= 0 and spent >= self.budget else after
            if self._matcher_of[state] >= 0:
                break
            places.append((state, spent))
        return places

    @property
    def place(self) -> Place:
        return self.state, self.spent

    def forced(self) -> Sequence[int]:
        """Ids that must follow, as a matcher or, with jumps, the table says; take each with `advance`."""
        if self.matcher is not None:
            return as_ids(self.matcher.forced(), self.table.vocab_size)
        only = self._only[self.state] if self._jumps else -1
        return (only,) if only >= 0 else ()

    def _enter(self, previous: int) -> None:
        """Makes or drops the matcher when the state's differs from the previous state's."""
        current = self._matcher_of[self.state]
        if current != previous:
            self.matcher = self._matchers[current]() if current >= 0 else None
