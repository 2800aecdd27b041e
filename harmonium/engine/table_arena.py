"""Tables on the device: many automatons side by side, so that one batch steps rows of different tables at once.

A state's number in the arena is its number in its table plus the table's base. FREE is the state of rows without a
constraint: every id is allowed and leads back to it. Tables are appended as they come and stay until the arena is
rebuilt without those that no request holds; a rebuild moves bases and counts up `generation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine.constraint import Table, n_words

FREE = 0
"""The state in which everything is allowed."""

IDLE_TABLES = 16
"""Tables kept for requests to come before a rebuild drops them."""


@dataclass(slots=True)
class Resident:
    """A table in the arena, its first state's number, and how many requests hold it."""

    table: Table
    base: int = 0
    n_holders: int = 0


class TableArena:
    """mask() and step() of any mix of tables; acquire() and release() say which tables are needed."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self.vocab_size, self.device, self.generation = vocab_size, device, 0
        self._residents: dict[int, Resident] = {}
        self._clear()

    def acquire(self, table: Table) -> None:
        """Brings the table to the device, or finds it there, and holds it until `release`."""
        assert table.vocab_size == self.vocab_size, "a table of another vocabulary"
        if id(table) not in self._residents:
            if sum(resident.n_holders == 0 for resident in self._residents.values()) >= IDLE_TABLES:
                self._rebuild()
            self._residents[id(table)] = Resident(table)
            self._append(self._residents[id(table)])
        self._residents[id(table)].n_holders += 1

    def release(self, table: Table) -> None:
        self._residents[id(table)].n_holders -= 1

    def base(self, table: Table) -> int:
        """The arena's number of the table's state 0, until `generation` changes."""
        return self._residents[id(table)].base

    def mask(self, logits: Tensor, states: Tensor) -> Tensor:
        """logits (n, vocabulary) with -inf where states (n,) forbid the id; a new tensor."""
        masked = torch.where(self._masks[self._mask_of[states]], logits, -torch.inf)
        tokens, _, is_edge = self._edges(states)
        values = torch.where(is_edge, logits.gather(1, tokens), masked.gather(1, tokens))
        return masked.scatter_(1, tokens, values)

    def step(self, states: Tensor, spent: Tensor, budgets: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States and spent budgets after ids, all (n,) int64; equals `Cursor.advance` for ids that were allowed."""
        tokens, nexts, is_edge = self._edges(states)
        found, place = ((tokens == ids.unsqueeze(1)) & is_edge).max(dim=1)
        after = torch.where(found, nexts.gather(1, place.unsqueeze(1)).squeeze(1), self._default_next[states])
        exits = self._exits[after]
        spent = spent + ((self._exits[states] >= 0) & (exits >= 0))
        return torch.where((exits >= 0) & (spent >= budgets), exits, after), spent

    def _edges(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and next states (n, width) of the states' edges, the last repeated, and whether there are any (n, 1)."""
        place = torch.minimum(
            self._first_edge[states].unsqueeze(1) + self._places, self._last_edge[states].unsqueeze(1)
        )
        return self._edge_tokens[place], self._edge_nexts[place], self._has_edges[states].unsqueeze(1)

    def _clear(self) -> None:
        self.n_states = 1
        self._mask_rows: dict[bytes, int] = {}
        self._masks = torch.empty((0, self.vocab_size), dtype=torch.bool, device=self.device)
        everything = self._mask_row(np.full(n_words(self.vocab_size), 2**32 - 1, np.uint32))
        none = np.zeros(1, np.int64)
        self._mask_of = self._moved(none + everything)
        self._default_next, self._exits = self._moved(none), self._moved(none - 1)
        self._first_edge, self._last_edge, self._has_edges = (self._moved(a) for a in (none, none, none > 0))
        self._edge_tokens, self._edge_nexts = self._moved(none), self._moved(none)
        self._places = torch.arange(1, device=self.device)

    def _rebuild(self) -> None:
        """Drops the tables that no request holds, and packs the others anew."""
        kept = {key: resident for key, resident in self._residents.items() if resident.n_holders}
        self._residents = kept
        self.generation += 1
        self._clear()
        for resident in kept.values():
            self._append(resident)

    def _append(self, resident: Resident) -> None:
        table, base = resident.table, self.n_states
        resident.base = base
        own = np.arange(table.n_states) + base
        first, stop = table.edge_starts[:-1].astype(np.int64), table.edge_starts[1:].astype(np.int64)
        has_edges, offset = stop > first, len(self._edge_tokens)
        nothing = self._mask_row(np.zeros(n_words(self.vocab_size), np.uint32))
        rows = np.array([*(self._mask_row(row) for row in table.masks), nothing], np.int64)
        self._mask_of = self._joined(self._mask_of, rows[table.mask_of])
        self._default_next = self._joined(
            self._default_next, np.where(table.default_next >= 0, table.default_next + base, own)
        )
        self._exits = self._joined(self._exits, np.where(table.exits >= 0, table.exits + base, -1))
        self._first_edge = self._joined(self._first_edge, np.where(has_edges, first + offset, 0))
        self._last_edge = self._joined(self._last_edge, np.where(has_edges, stop - 1 + offset, 0))
        self._has_edges = self._joined(self._has_edges, has_edges)
        self._edge_tokens = self._joined(self._edge_tokens, table.edge_tokens.astype(np.int64))
        self._edge_nexts = self._joined(self._edge_nexts, table.edge_nexts.astype(np.int64) + base)
        width = max(len(self._places), int((stop - first).max(initial=1)))
        self._places = torch.arange(width, device=self.device)
        self.n_states += table.n_states

    def _mask_row(self, words: NDArray[np.uint32]) -> int:
        """The row of _masks with these bits; equal rows of all tables are one."""
        key = words.tobytes()
        if key not in self._mask_rows:
            self._mask_rows[key] = len(self._masks)
            bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")[: self.vocab_size]
            self._masks = torch.cat((self._masks, self._moved(bits.astype(np.bool_)[None])))
        return self._mask_rows[key]

    def _joined(self, held: Tensor, more: NDArray[np.generic]) -> Tensor:
        return torch.cat((held, self._moved(more)))

    def _moved(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array.copy()).to(self.device)
