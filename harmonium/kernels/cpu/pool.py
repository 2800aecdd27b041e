"""Threads that share out a kernel's work, item by item, with no call of the system between two kernels.

A thread holds a step open (`working`); meanwhile workers spin on a ticket, since a kernel of a token takes microseconds
and waking a thread takes tens of them. Between steps they sleep. The ticket is a job's number and its next item:
whoever swaps it for the next one owns the item, so late or absent workers delay nobody, and nobody takes an item of a
job that is over or not written yet. One step is open at a time; the kernels of another that runs meanwhile work alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonium import hardware
from harmonium.kernels.cpu.atomic import add, address_of, call, give_way, load, pause, store, swap, task_of
from harmonium.kernels.cpu.compile import compiled, inlined

State = NDArray[np.int64]

MOST_PAUSES = 1000
"""Some tens of microseconds."""

TICKET, TASK, ARGUMENTS, N_ITEMS, DONE, IS_OPEN, N_THREADS = range(0, 56, 8)
"""Places in a pool's state, each in a cache line of its own."""

ITEM_BITS = 24
"""Of the ticket, for the item; the rest counts jobs."""
NO_ITEM = (1 << ITEM_BITS) - 1
"""In place of an item: the job is not written yet."""


@inlined
def _wait(n_waits: int) -> int:
    """Another wait, after so many: at first for what comes in microseconds, then for threads that lost their core."""
    if n_waits < MOST_PAUSES:
        pause()
    else:
        give_way()
    return n_waits + 1


@inlined
def _take_part(state: State, ticket: int) -> None:
    """Does items of the ticket's job until none is left."""
    while True:
        job, item = ticket >> ITEM_BITS, ticket & NO_ITEM
        task, data, n_items = load(state, TASK), load(state, ARGUMENTS), load(state, N_ITEMS)
        if item >= n_items:
            return
        if swap(state, TICKET, ticket, ticket + 1):
            call(task, data, item)
            add(state, DONE, 1)
        ticket = load(state, TICKET)
        if ticket >> ITEM_BITS != job:
            return


@compiled
def _work(state: State) -> None:
    """A worker's part of a step: it takes part in jobs until the step is closed."""
    ticket, n_waits = load(state, TICKET), 0
    while load(state, IS_OPEN):
        new = load(state, TICKET)
        if new != ticket:
            _take_part(state, new)
            ticket, n_waits = load(state, TICKET), 0
        else:
            n_waits = _wait(n_waits)


@inlined
def _run_job(state: State, task: int, data: int, n_items: int) -> None:
    if n_items == 1 or not load(state, IS_OPEN):
        for item in range(n_items):
            call(task, data, item)
        return
    job = (load(state, TICKET) >> ITEM_BITS) + 1
    store(state, TICKET, (job << ITEM_BITS) | NO_ITEM)  # nobody takes the last job's ticket for this one's
    store(state, TASK, task)
    store(state, ARGUMENTS, data)
    store(state, N_ITEMS, n_items)
    store(state, DONE, 0)
    store(state, TICKET, job << ITEM_BITS)
    _take_part(state, job << ITEM_BITS)
    n_waits = 0
    while load(state, DONE) < n_items:
        n_waits = _wait(n_waits)


def shared(body: Callable[..., None]) -> Callable[[State, int, Any], None]:
    """Decorates what is done for one item, body(item, *arguments): kernels call it as (state, n_items, arguments).

    It is then done for each item below n_items, in any order, by the threads of an open step.
    """
    task = task_of(inlined(body))

    @inlined
    def share(state: State, n_items: int, arguments: Any) -> None:
        _run_job(state, task(arguments), address_of(arguments), n_items)

    return share


class Pool:
    """n_workers threads beside the one that computes, which start with the first step that wants them."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._state = np.zeros(64, np.int64)
        self._state[N_THREADS] = 1 + n_workers
        self._lock, self._wanted = threading.Lock(), threading.Semaphore(0)
        self._owner = 0
        self._started = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keeps the workers awake for a step of this thread. Where another's is open, this one works alone."""
        if not self.n_workers or not self._lock.acquire(blocking=False):
            yield
            return
        try:
            self._start()
            self._owner = threading.get_ident()
            self._state[IS_OPEN] = 1
            self._wanted.release(self.n_workers)
            yield
        finally:
            self._owner = self._state[IS_OPEN] = 0
            self._lock.release()

    @property
    def state(self) -> State:
        """What kernels of this thread share their work by."""
        return self._state if self._owner == threading.get_ident() else ALONE

    def _start(self) -> None:
        if not self._started:
            self._started = True
            _work(ALONE)  # compiled before several need it
            for number in range(self.n_workers):
                threading.Thread(target=self._serve, name=f"kernels-{number}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._wanted.acquire()
            _work(self._state)


ALONE: State = np.zeros(64, np.int64)
"""The state of no pool: kernels that get it do all of their work themselves."""
ALONE[N_THREADS] = 1

POOL = Pool(hardware.n_threads() - 1)
"""The process's, since its cores are."""
