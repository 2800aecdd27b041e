"""Hand-made automatons and matchers for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harmonium.engine.constraint import Table, n_words, set_bits


@dataclass(frozen=True)
class State:
    """text: ids of its mask, which lead to `after` (None: to itself); edges: id to state."""

    text: Collection[int] = ()
    after: int | None = None
    edges: Mapping[int, int] = field(default_factory=dict)
    exit: int = -1
    matcher: int = -1


def packed(vocab_size: int, ids: Collection[int]) -> NDArray[np.int32]:
    words = np.zeros(n_words(vocab_size), np.int32)
    set_bits(words, list(ids), is_allowed=True)
    return words


def unpacked(words: NDArray[np.int32]) -> set[int]:
    return {32 * w + b for w, word in enumerate(words.view(np.uint32).tolist()) for b in range(32) if word >> b & 1}


def table(vocab_size: int, states: Sequence[State]) -> Table:
    masks = [packed(vocab_size, state.text).view(np.uint32) for state in states]
    rows = np.cumsum([bool(state.text) for state in states]) - 1
    return Table(
        vocab_size=vocab_size,
        masks=np.array([m for m, s in zip(masks, states, strict=True) if s.text], np.uint32).reshape(-1, len(masks[0])),
        mask_of=np.array([row if s.text else -1 for row, s in zip(rows, states, strict=True)], np.int32),
        default_next=np.array(
            [(i if s.after is None else s.after) if s.text or s.matcher >= 0 else -1 for i, s in enumerate(states)],
            np.int32,
        ),
        edge_starts=np.cumsum([0] + [len(state.edges) for state in states]).astype(np.int32),
        edge_tokens=np.array([token for state in states for token in state.edges], np.int32),
        edge_nexts=np.array([after for state in states for after in state.edges.values()], np.int32),
        exits=np.array([state.exit for state in states], np.int32),
        matcher_of=np.array([state.matcher for state in states], np.int32),
    )


class Pairs:
    """A matcher: each id of `first` must be followed by its successor id + 1, and the body may end after a pair."""

    def __init__(self, vocab_size: int, first: Collection[int], most: int, *, is_forcing: bool = False) -> None:
        self.vocab_size, self.first, self.most, self.is_forcing = vocab_size, set(first), most, is_forcing
        self.ids: list[int] = []

    @property
    def legal(self) -> set[int]:
        if len(self.ids) % 2:
            return {self.ids[-1] + 1}
        return self.first if len(self.ids) < 2 * self.most else set()

    def mask(self) -> NDArray[np.int32]:
        return packed(self.vocab_size, self.legal)

    def can_end(self) -> bool:
        return len(self.ids) % 2 == 0 and bool(self.ids)

    def accept(self, token: int) -> None:
        assert token in self.legal
        self.ids.append(token)

    def forced(self) -> Sequence[int]:
        return [self.ids[-1] + 1] if self.is_forcing and len(self.ids) % 2 else []


class Broken(Pairs):
    """Raises in the method named, once it has taken some ids."""

    def __init__(self, vocab_size: int, first: Collection[int], *, method: str, after: int) -> None:
        super().__init__(vocab_size, first, 100)
        whole: Callable[..., object] = getattr(self, method)

        def broken(*values: int) -> object:
            if len(self.ids) >= after:
                raise ValueError("out of order")
            return whole(*values)

        setattr(self, method, broken)
