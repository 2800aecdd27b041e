"""Whether ids have begun to go round in circles. No torch.

A sequence counts as a loop when its last 256 ids or more are one piece, said four times and more. Text that is meant
repeats itself less: a table, a spelled word and a list of zeros stay below, and a piece that differs in a single id, as
counting up does, is no repetition.
"""

from __future__ import annotations

from collections.abc import Sequence

COPIES = 4
SHORTEST, LONGEST = 256, 4096
"""Ids that are looked at, at least and at most; so a piece has 1,024 ids at most."""


class LoopWatch:
    """Sees ids one by one. is_loop: they went round in circles at some point."""

    def __init__(self) -> None:
        self.is_loop = False
        self._ids: list[int] = []

    def __call__(self, token: int) -> bool:
        """Takes the next id, and says whether the ids up to here are a loop.

        The last 256 ids are looked at after every 64th, the last 512 after every 128th, and so on: a few operations an
        id on average, and a loop of short pieces is seen before its 320th id.
        """
        self._ids.append(token)
        n = SHORTEST
        while not self.is_loop and n <= min(len(self._ids), LONGEST) and len(self._ids) % (n // COPIES) == 0:
            self.is_loop = _is_loop(self._ids[-n:])
            n *= 2
        return self.is_loop


def _is_loop(ids: Sequence[int]) -> bool:
    """Is it one piece, COPIES times and more? Mostly a short look: the last ids would be all that occur."""
    n_piece = len(ids) // COPIES
    return set(ids[-n_piece:]).issuperset(ids) and period(ids) <= n_piece


def period(ids: Sequence[int]) -> int:
    """The least p > 0 with ids[i] == ids[i - p] wherever both are there; len(ids) where nothing repeats.

    By Knuth, Morris and Pratt's borders: the longest beginning of each beginning that is also its end.
    """
    borders = [0]
    for id_ in ids[1:]:
        border = borders[-1]
        while border and ids[border] != id_:
            border = borders[border - 1]
        borders.append(border + (ids[border] == id_))
    return len(ids) - borders[-1]
