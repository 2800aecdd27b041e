"""A loop is seen soon, wherever it begins, and nothing else is taken for one."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonium.engine.repetition import COPIES, LONGEST, SHORTEST, LoopWatch, period


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_the_period_is_the_least_shift_that_fits(ids: list[int]) -> None:
    assert period(ids) == next(p for p in range(1, len(ids) + 1) if ids[p:] == ids[: len(ids) - p])


def seen_at(ids: list[int]) -> int | None:
    """How many ids it took."""
    watch = LoopWatch()
    at = next((n for n, id_ in enumerate(ids, 1) if watch(id_)), None)
    assert watch.is_loop == (at is not None)
    return at


@pytest.mark.parametrize("n_piece", [1, 2, 3, 17, 64, 65, 200, 600, LONGEST // COPIES])
@pytest.mark.parametrize("n_before", [0, 1, 100, 5000])
def test_a_loop_is_seen(n_piece: int, n_before: int) -> None:
    """Behind any beginning, once it is there four times and over 256 ids, before another five or 320."""
    random = Random(n_piece)
    before, piece = ([random.randrange(1000) for _ in range(n)] for n in (n_before, n_piece))
    at = seen_at(before + piece * (LONGEST // n_piece + 12))
    assert at is not None
    assert max(SHORTEST, COPIES * n_piece) <= at - n_before + len(shared(before, piece)) <= max(320, 10 * n_piece)


def shared(before: list[int], piece: list[int]) -> list[int]:
    """The end of `before` that could belong to the loop already."""
    n = 0
    while n < len(before) and before[-1 - n] == piece[-1 - n % len(piece)]:
        n += 1
    return before[len(before) - n :]


def test_what_is_no_loop() -> None:
    random = Random(0)
    noise = [random.randrange(4) for _ in range(20_000)]
    row = [random.randrange(100) for _ in range(50)]
    counted = [id_ for number in range(200) for id_ in (*row, 1000 + number)]
    short = [id_ for number in range(50) for id_ in (*([7] * 250), 1000 + number)]
    thrice = row[:9] + 3 * [random.randrange(100) for _ in range(300)]
    assert [seen_at(ids) for ids in (noise, counted, short, thrice)] == [None] * 4
