"""Tables on the device: many automatons side by side, so that one batch steps rows of different tables at once.

A state's number in the arena is its number in its table plus the table's base. FREE is the state of rows without a
constraint: every id is allowed and leads back to it. Tables are appended as they come and stay until `tidy` rebuilds
the arena without those that no request holds, which moves bases and counts up `generation`.

states (n, 6) int64, edges (n, 2) int64 and masks (n, vocabulary) bool have room for more than there is; where it does
not suffice they are replaced by larger ones, and `version` is counted up: a graph that reads the old ones is of no use.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine.constraint import Table, n_words

log = logging.getLogger(__name__)

FREE = 0
"""The state in which everything is allowed."""

IDLE_TABLES = 16
"""Tables kept for requests to come before a rebuild drops them."""

N_STATES, N_MASKS = 1024, 8
"""Room for states, and as many edges, and for rows of masks, to begin with."""


MASK, DEFAULT, EXIT, FIRST_EDGE, LAST_EDGE, HAS_EDGES = range(6)
"""A state's numbers: row of masks, next state, exit or -1, and its edges, first and last."""


@dataclass(frozen=True)
class StateRows:
    """Rows' states. masks, default_next, exits (n,); their edges' ids and next states, the last one repeated,
    tokens and nexts (n, width), which mean nothing where is_edge (n, 1) is false."""

    masks: Tensor
    default_next: Tensor
    exits: Tensor
    tokens: Tensor
    nexts: Tensor
    is_edge: Tensor


@dataclass(slots=True)
class Resident:
    """A table in the arena, its first state's number, and how many requests hold it."""

    table: Table
    base: int
    n_holders: int = 0


class TableArena:
    """look(), mask() and step() for any mix of tables; acquire() and release() say which tables are needed."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self.vocab_size, self.device, self.generation, self.version = vocab_size, device, 0, 0
        self.states = torch.zeros((N_STATES, 6), dtype=torch.int64, device=device)
        self.edges = torch.zeros((N_STATES, 2), dtype=torch.int64, device=device)
        self.masks = torch.zeros((N_MASKS, vocab_size), dtype=torch.bool, device=device)
        self._residents: dict[int, Resident] = {}
        self._most_idle = IDLE_TABLES
        self.n_states, self._n_edges = 0, 0
        self._mask_rows: dict[bytes, int] = {}
        everything = self._mask_row(np.full(n_words(vocab_size), 2**32 - 1, np.uint32))
        self._add(np.array([[everything, FREE, -1, 0, 0, 0]]), np.zeros((1, 2), np.int64))
        self._places = torch.arange(1, device=device)

    @property
    def is_crowded(self) -> bool:
        """More tables than are kept stand here for nobody."""
        return sum(resident.n_holders == 0 for resident in self._residents.values()) > self._most_idle

    def tidy(self) -> None:
        """Drops the tables that no request holds, where they are many. No step may be running that reads the arena.

        Where that fails nothing has changed, and it is tried again when there are more.
        """
        if not self.is_crowded:
            return
        try:
            self._rebuild()
            self._most_idle = IDLE_TABLES
        except Exception as error:  # noqa: BLE001 - what is too much does no harm yet
            self._most_idle += IDLE_TABLES
            log.warning("Tables of ended requests stay on the device for now: %s", type(error).__name__)

    def acquire(self, table: Table) -> None:
        """Brings the table to the device, or finds it there, and holds it until `release`.

        Where that fails, the table is not there.
        """
        assert table.vocab_size == self.vocab_size, "a table of another vocabulary"
        if id(table) not in self._residents:
            self._residents[id(table)] = Resident(table, self._append(table))
        self._residents[id(table)].n_holders += 1

    def release(self, table: Table) -> None:
        self._residents[id(table)].n_holders -= 1

    def base(self, table: Table) -> int:
        """The arena's number of the table's state 0, until `generation` changes."""
        return self._residents[id(table)].base

    def look(self, states: Tensor) -> StateRows:
        """What the arena holds of states (n,), for `mask` and `step`."""
        info = self.states.index_select(0, states)  # (n, 6)
        places = torch.minimum(info[:, FIRST_EDGE, None] + self._places, info[:, LAST_EDGE, None])  # (n, width)
        edges = self.edges.index_select(0, places.flatten()).view(*places.shape, 2)  # (n, width, 2)
        is_edge = info[:, HAS_EDGES, None] > 0
        return StateRows(info[:, MASK], info[:, DEFAULT], info[:, EXIT], edges[..., 0], edges[..., 1], is_edge)

    def mask(self, logits: Tensor, rows: StateRows) -> Tensor:
        """logits (n, vocabulary) with -inf where the rows' states forbid the id; a new tensor."""
        masked = torch.where(self.masks.index_select(0, rows.masks), logits, -torch.inf)
        values = torch.where(rows.is_edge, logits.gather(1, rows.tokens), masked.gather(1, rows.tokens))
        return masked.scatter_(1, rows.tokens, values)

    def step(self, rows: StateRows, spent: Tensor, budgets: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States and spent budgets after ids, all (n,) int64; equals `Cursor.advance` for ids that were allowed.

        Without budgets nothing is charged and no state gives way.
        """
        found, place = ((rows.tokens == ids.unsqueeze(1)) & rows.is_edge).max(dim=1)
        after = torch.where(found, rows.nexts.gather(1, place.unsqueeze(1)).squeeze(1), rows.default_next)
        if budgets is None:
            return after, spent
        exits = self.states[:, EXIT].index_select(0, after)
        spent = spent + ((rows.exits >= 0) & (exits >= 0))
        return torch.where((exits >= 0) & (spent >= budgets), exits, after), spent

    def _rebuild(self) -> None:
        """Drops the tables that no request holds, and packs the others anew: aside, and then where graphs read them."""
        held = [resident for resident in self._residents.values() if resident.n_holders]
        packed = TableArena(self.vocab_size, torch.device("cpu"))
        kept = {id(one.table): Resident(one.table, packed._append(one.table), one.n_holders) for one in held}
        counts = packed.n_states, packed._n_edges, len(packed._mask_rows)
        theirs = zip((packed.states, packed.edges, packed.masks), counts, strict=True)
        used = [rows[:n].to(self.device) for rows, n in theirs]
        places = packed._places.to(self.device)
        for rows, new in zip((self.states, self.edges, self.masks), used, strict=True):
            rows[: len(new)] = new  # there were more before, so that it needs no memory
        self.n_states, self._n_edges, self._mask_rows = packed.n_states, packed._n_edges, packed._mask_rows
        self._places, self._residents = places, kept
        self.generation += 1

    def _append(self, table: Table) -> int:
        """Puts a table behind the others and returns its base; what fails leaves nothing that anybody reads."""
        base, offset = self.n_states, self._n_edges
        nothing = self._mask_row(np.zeros(n_words(self.vocab_size), np.uint32))
        mask_rows = np.array([*(self._mask_row(row) for row in table.masks), nothing])
        first, stop = table.edge_starts[:-1].astype(np.int64), table.edge_starts[1:].astype(np.int64)
        has_edges = stop > first
        states = np.empty((table.n_states, 6), np.int64)
        states[:, MASK] = mask_rows[table.mask_of]
        states[:, DEFAULT] = np.where(table.default_next >= 0, table.default_next, np.arange(table.n_states)) + base
        states[:, EXIT] = np.where(table.exits >= 0, table.exits + base, -1)
        states[:, FIRST_EDGE] = np.where(has_edges, first + offset, 0)
        states[:, LAST_EDGE] = np.where(has_edges, stop - 1 + offset, 0)
        states[:, HAS_EDGES] = has_edges
        places = torch.arange(max(len(self._places), int((stop - first).max(initial=1))), device=self.device)
        self._add(states, np.stack((table.edge_tokens, table.edge_nexts + base), axis=1).astype(np.int64))
        self._places = places
        return base

    def _add(self, states: NDArray[np.int64], edges: NDArray[np.int64]) -> None:
        self.states = self._with(self.states, self.n_states, states)
        self.edges = self._with(self.edges, self._n_edges, edges)
        self.n_states += len(states)
        self._n_edges += len(edges)

    def _mask_row(self, words: NDArray[np.uint32]) -> int:
        """The row of masks with these bits; equal rows of all tables are one."""
        key = words.tobytes()
        if key not in self._mask_rows:
            bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")[: self.vocab_size]
            self.masks = self._with(self.masks, len(self._mask_rows), bits.astype(np.bool_)[None])
            self._mask_rows[key] = len(self._mask_rows)
        return self._mask_rows[key]

    def _with(self, rows: Tensor, n: int, new: NDArray[np.generic]) -> Tensor:
        """rows, of which n are in use, with the new ones behind those; a larger tensor where they do not fit."""
        if n + len(new) > len(rows):
            larger = rows.new_zeros((2 * (n + len(new)), *rows.shape[1:]))
            larger[:n] = rows[:n]
            rows = larger
            self.version += 1
        rows[n : n + len(new)] = torch.from_numpy(new.copy()).to(self.device)
        return rows
