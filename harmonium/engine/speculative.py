"""Guessing ids ahead, so that one step can bring several: drafters, and how far ahead it pays. Plain Python, no torch.

A step computes a request's last id and the drafted ones after it, and draws an id at every one of these places with the
noise of its position, exactly as it would without drafts. A draft stands as long as it is what was drawn; the first id
that differs is taken, and what follows it is dropped. So drafts change how many ids a step brings, and no id.

What a draft earns is the chance that it stands times the ids a second that steps bring without drafts; what it costs is
the time of one more token in a step. Both are measured, and drafts end where the cost begins to be more.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harmonium.engine.constraint import as_ids
from harmonium.engine.interrupts import Interrupts
from harmonium.engine.request import Request

log = logging.getLogger(__name__)

MOST = 7
"""Drafts of one request in a step."""

LONGEST_PAUSE = 256
"""Steps without a draft before it is tried again, where drafts earned nothing again and again."""

FIRST_PAUSE = 4
LONGEST_FIRST_PAUSE = 32
"""Steps that a new request waits at most, where other requests' trials have earned nothing."""

UNKNOWN_SHARE = 0.3
"""What one more token costs relative to a step without tokens, until it has been measured."""


class Drafter(Protocol):
    """A source of guesses. What it raises, and guesses that are no ids, switch speculation off for the requests that it
    was asked for; where it raises when it is to forget one, for all. It may be interrupted while it guesses."""

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> Sequence[Sequence[int]]:
        """For each request and number n: up to n ids, all in the vocabulary, that may follow its tokens."""

    def forget(self, request_id: int) -> None:
        """The request has ended, or is not asked about any more."""


class NgramDrafter:
    """Guesses that what followed the last few ids earlier, in the prompt or in the answer, follows them again.

    The latest earlier place counts, of the last three ids if there is one, else of the last two. When a request is
    first asked about, its latest LOOK_BACK ids are looked at.
    """

    SIZES = (3, 2)
    LOOK_BACK = 8192

    def __init__(self) -> None:
        self._seen: dict[int, tuple[list[int], dict[tuple[int, ...], int]]] = {}

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        return [self._propose(request, n) for request, n in wanted]

    def forget(self, request_id: int) -> None:
        self._seen.pop(request_id, None)

    def _propose(self, request: Request, n: int) -> list[int]:
        tokens = request.tokens
        done, places = self._seen.setdefault(request.id, ([max(0, len(tokens) - self.LOOK_BACK)], {}))
        for stop in range(done[0] + 1, len(tokens)):  # all but the last, whose successor is asked for
            for size in self.SIZES:
                places[tuple(tokens[max(0, stop - size) : stop])] = stop
        done[0] = max(done[0], len(tokens) - 1)
        place = next((at for size in self.SIZES if (at := places.get(tuple(tokens[-size:]), -1)) >= 0), -1)
        if place < 0:
            return []
        period = len(tokens) - place
        return [tokens[place + i % period] for i in range(n)]


class Costs:
    """What steps of decoding requests take: base + per_token * tokens, a line through the latest steps.

    drafter_s: seconds that the drafter takes for one draft.
    """

    DECAY = 0.98

    def __init__(self) -> None:
        self.drafter_s = 0.0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, n_tokens: int, seconds: float) -> None:
        if self._weight > 8:  # a step that was held up says little
            seconds = min(seconds, 3 * self._y / self._weight)
        keep = self.DECAY
        self._weight = self._weight * keep + 1
        self._x = self._x * keep + n_tokens
        self._y = self._y * keep + seconds
        self._xx = self._xx * keep + n_tokens**2
        self._xy = self._xy * keep + n_tokens * seconds

    def observe_drafter(self, n_drafts: int, seconds: float) -> None:
        self.drafter_s += (seconds / n_drafts - self.drafter_s) / 8

    def least_chance(self, n_rows: int) -> float:
        """The chance with which a draft has to stand to earn its cost, in a step of n_rows requests; 1 is never."""
        if not self._weight:
            return n_rows * UNKNOWN_SHARE / (1 + n_rows * UNKNOWN_SHARE)
        x, y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - x * x
        if variance > 0.02 * x:
            per_token = (self._xy / self._weight - x * y) / variance
            per_token = min(max(per_token, 0.02 * y / x), y / x)
        else:
            per_token = y * UNKNOWN_SHARE / (1 + x * UNKNOWN_SHARE)
        plain = y + (n_rows - x) * per_token  # a step without drafts
        return min(1.0, n_rows * (per_token + self.drafter_s) / plain)


@dataclass(slots=True)
class Record:
    """How drafts fared, the latest counting most: how many stood of those that were put to the test.

    pause: steps to wait where drafts earn nothing, and wait how many are left of it. is_new: the drafter, which may
    have to read a long prompt then, was not asked yet.
    """

    stood: float
    tested: float
    pause: int = FIRST_PAUSE
    wait: int = 0
    is_new: bool = True

    @property
    def chance(self) -> float:
        return self.stood / self.tested

    def note(self, n_drafts: int, n_stood: int, keep: float) -> None:
        n_tested = min(n_stood + 1, n_drafts)
        self.stood = self.stood * keep**n_tested + n_stood
        self.tested = self.tested * keep**n_tested + n_tested


class Worth:
    """Whether steps with drafts bring clearly more ids a second than steps without, whatever was expected of them.

    Where they do not, there are none for a while, longer each time; now and then one step goes without anyway.
    """

    DECAY, TRIAL, SHORTEST, LONGEST = 0.95, 8, 64, 1024
    LEAST_GAIN = 1.05

    def __init__(self) -> None:
        self._plain, self._drafted = [0.0, 0.0], [0.0, 0.0]  # seconds and ids, the latest counting most
        self._n_steps = self._n_drafted = self._wait = 0
        self._pause = self.SHORTEST

    def allows(self) -> bool:
        """Whether the next step may have drafts."""
        self._n_steps += 1
        self._wait = max(0, self._wait - 1)
        return not self._wait and self._n_steps % 32 > 0

    def observe(self, seconds: float, n_ids: int, *, has_drafts: bool) -> None:
        kept = self._drafted if has_drafts else self._plain
        if kept[1] > 4 * n_ids:  # a step that was held up says little
            seconds = min(seconds, 3 * n_ids * kept[0] / kept[1])
        kept[:] = kept[0] * self.DECAY + seconds, kept[1] * self.DECAY + n_ids
        self._n_drafted += has_drafts
        if not has_drafts or self._n_drafted < self.TRIAL or not self._plain[1]:
            return
        if self._drafted[1] * self._plain[0] < self.LEAST_GAIN * self._plain[1] * self._drafted[0]:
            self._wait, self._pause = self._pause, min(2 * self._pause, self.LONGEST)
            self._n_drafted, self._drafted = 0, [0.0, 0.0]
        elif self._n_drafted > 4 * self.TRIAL:
            self._pause = self.SHORTEST


class Speculation:
    """Gives running requests their drafts, as many as earn something. n_drafted, n_stood: of all drafts so far.

    interrupts: allowed while the drafter guesses.
    """

    def __init__(self, drafter: Drafter, vocab_size: int, interrupts: Interrupts) -> None:
        self.drafter, self.costs, self.vocab_size = drafter, Costs(), vocab_size
        self._interrupts = interrupts
        self._is_dead = False
        self.n_drafted = self.n_stood = 0
        self._all = Record(6.0, 10.0)  # its pause is that with which a new request begins
        self._worth: dict[int, Worth] = {}  # by the number of requests, in powers of two
        self._records: dict[int, Record | None] = {}  # None: its drafter failed

    def draft(self, running: Sequence[Request]) -> None:
        """Sets the drafts of all these requests for the next step, most of them perhaps to none."""
        n_rows = sum(request.n_pending == 1 for request in running)
        is_worth_it = self._worth_of(n_rows).allows()
        least = self.costs.least_chance(max(1, n_rows))
        wanted = []
        for request in running:
            request.drafts = ()
            if is_worth_it and not self._is_dead and can_speculate(request) and (n := self._length(request, least)):
                wanted.append((request, n))
        if not wanted:
            return
        are_known = True
        for request, _ in wanted:
            if (record := self._records[request.id]) is not None and record.is_new:
                record.is_new = are_known = False
        started = time.perf_counter()
        found = self._propose(wanted)
        n_drafts = 0
        for request, ids in found:
            request.drafts = ids
            n_drafts += len(ids)
        if n_drafts and are_known:
            self.costs.observe_drafter(n_drafts, time.perf_counter() - started)

    def observe(self, n_rows: int, n_drafts: int, n_stood: int, seconds: float) -> None:
        """Notes how long a step took in which n_rows requests decoded, and what its drafts brought."""
        self.costs.observe(n_rows + n_drafts, seconds)
        self._worth_of(n_rows).observe(seconds, n_rows + n_stood, has_drafts=n_drafts > 0)

    def _worth_of(self, n_rows: int) -> Worth:
        return self._worth.setdefault(n_rows.bit_length(), Worth())

    def learn(self, request: Request, n_drafts: int, n_stood: int) -> None:
        """Notes how a request's drafts fared in a step."""
        self.n_drafted += n_drafts
        self.n_stood += n_stood
        self._all.note(n_drafts, n_stood, 0.99)
        record = self._records.get(request.id)
        if record is None:
            return
        record.note(n_drafts, n_stood, 0.9)
        if record.wait < 0:  # it was a trial
            record.pause = FIRST_PAUSE if n_stood else min(2 * record.pause, LONGEST_PAUSE)
            record.wait = record.pause
            self._all.pause = FIRST_PAUSE if n_stood else min(2 * self._all.pause, LONGEST_FIRST_PAUSE)

    def forget(self, request: Request) -> None:
        """The request has ended."""
        self._records.pop(request.id, None)
        try:
            self.drafter.forget(request.id)
        except Exception as error:  # noqa: BLE001 - no reason to end a request, and it is asked no more
            if not self._is_dead:
                log.warning("The drafter failed, and there are no more drafts: %s", type(error).__name__)
            self._is_dead = True

    def _length(self, request: Request, least: float) -> int:
        """How many drafts earn more than they cost: those whose chance to stand, with all before, is `least`."""
        if request.id not in self._records:
            chance = min(max(self._all.chance, 0.01), 0.9)
            wait = self._all.pause if self._all.pause > FIRST_PAUSE else 0
            self._records[request.id] = Record(2 * chance, 2.0, self._all.pause, wait)
        record = self._records[request.id]
        if record is None:
            return 0
        if record.chance >= least and least < 1:
            record.wait = record.pause
            return MOST if record.chance > 0.999 else min(MOST, int(math.log(least) / math.log(record.chance)))
        record.wait -= 1
        return 1 if record.wait < 0 else 0

    def _propose(self, wanted: list[tuple[Request, int]]) -> list[tuple[Request, tuple[int, ...]]]:
        """Requests and their drafts. Where the drafter fails, each is tried alone, and those that fail have no more."""
        try:
            with self._interrupts.allowed():
                found = self.drafter.propose(wanted)
            return [
                (request, self._possible(request, ids[:n])) for (request, n), ids in zip(wanted, found, strict=True)
            ]
        except Exception:  # noqa: BLE001 - a guess that cannot be made is no reason to end a request
            if len(wanted) > 1:
                return [pair for one in wanted for pair in self._propose([one])]
            self._records[wanted[0][0].id] = None
            return []

    def _possible(self, request: Request, ids: Sequence[int]) -> tuple[int, ...]:
        """What a drafter gave, as far as the request's constraint allows it. Raises ValueError for what are no ids."""
        known = as_ids(ids, self.vocab_size)
        return tuple(known if request.cursor is None else known[: len(request.cursor.ahead(known))])


def can_speculate(request: Request) -> bool:
    """It decodes, and what may come next can be told without the ids before being final.

    Penalties count ids that have been said, and a matcher has to see each id before it says what follows.
    """
    if request.n_pending != 1 or request.params.is_penalized:
        return False
    return request.cursor is None or not request.cursor.needs_host
