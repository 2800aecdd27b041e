"""Rows of requests -> the tensors of one step: prepared in numpy, moved to the device in one copy.

`Inputs` is all that a step needs; the ids that come back are all that leaves. Every row of a step is computed; those
that end with their request's last known token are sampled too. An id that the step before is still choosing is FLYING:
the device puts in what it last chose for that lane.

Where steps are replayed as graphs, those that only decode are filled up to one of few sizes, and come to the same
addresses each time. What they are filled up with is the first row again, which costs no expert that is not read anyway,
but its keys and values go to a page, and its id to a lane, that nobody has.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine import adjust, noise
from harmonium.engine.adjust import Arrays, Biases, Penalties, Wishes
from harmonium.engine.constraint import UNLIMITED, Place, Table
from harmonium.engine.host_masking import NO_EDGES, HostMasking, RowDraw
from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.engine.logprobs import Reports
from harmonium.engine.request import Request
from harmonium.engine.sampler import Draw, Filters, Masking, Randomness
from harmonium.engine.scheduler import Row
from harmonium.engine.sizes import PageCounts
from harmonium.engine.table_arena import FREE, TableArena
from harmonium.engine.transfer import Transfer
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.model.config import PAGE_SIZE

COLDEST = 1e-5
"""Below this temperature a row is greedy."""

NO_TOP_P = 2.0

FLYING = -1
"""In ids: the device knows it."""

LEAST_WIDTH = 64
"""Pages of a graph's tables, at least; more are a power of two, or the context's."""

SETTINGS = np.dtype(
    [
        ("is_random", np.bool_),
        ("inverse_temperature", np.float32),
        ("key", np.uint64),
        ("top_k", np.int64),
        ("top_p", np.float32),
        ("log_min_p", np.float32),
    ],
    align=True,  # so that torch can share the fields
)
"""What a lane's request wants of the sampler, in the sampler's terms."""


@dataclass(frozen=True)
class Inputs:
    """One step. ids: (tokens,) int64, and lanes those of their rows, for ids that are FLYING; None where none is.
    logits_at: (n,) int64, the n places in ids after which one is sampled: where sampled rows end, and before each of
    their drafts; sampled_lanes (n,) int64: their lanes.

    draw, or row_draws: how all of them are sampled, where it is in the simplest way. Otherwise randomness is None where
    every sampled row is greedy, masking where none has a constraint, penalties, biases, reports where none wants any.
    key: that of the graph that may be replayed; None for no graph. n_real: how many of the n are rows and no filling.
    """

    ids: Tensor
    batch: StepBatch
    logits_at: Tensor
    lanes: Tensor | None
    sampled_lanes: Tensor
    n_real: int
    key: Hashable = None
    draw: Draw | None = None
    row_draws: Sequence[RowDraw] = ()
    randomness: Randomness | None = None
    masking: Masking | HostMasking | None = None
    penalties: Penalties | None = None
    biases: Biases | None = None
    reports: Reports | None = None


class BatchBuilder:
    """Builds `Inputs` from scheduled rows. Reads the cache's tables and the arena's bases; keeps settings by lane.

    masks_on_host: requests' cursors mask every row, and the arena is not used: see host_masking.py.
    draws: the device has an operation for `RowDraw`, where masks_on_host, else for `Draw`. spare: decoding steps are
    for graphs, and their filling writes into these pages, and to the lane after the last.
    """

    def __init__(
        self,
        cache: KvCache,
        arena: TableArena,
        vocab_size: int,
        device: torch.device,
        masks_on_host: bool = False,
        *,
        draws: bool = False,
        spare: PageCounts | None = None,
    ) -> None:
        self.cache, self.arena, self.vocab_size, self.masks_on_host = cache, arena, vocab_size, masks_on_host
        self._draws, self._draws_rows, self._spare = draws and not masks_on_host, draws and masks_on_host, spare
        self._everything = np.zeros(vocab_size, np.bool_), NO_EDGES
        self._transfer = Transfer(device)
        n_lanes = len(cache.full_table)
        self._settings = np.zeros(n_lanes, SETTINGS)
        self._simple: list[tuple[float, float, int] | None] = [None] * n_lanes
        self._wishes = Wishes(n_lanes)
        self._seated = [-1] * n_lanes
        self._tables: list[Table | None] = [None] * n_lanes

    def build(self, rows: list[Row]) -> Inputs:
        """The step's tensors, for rows whose pages are reserved."""
        for row in rows:
            if self._seated[row.request.lane] != row.request.id:
                self._seat(row.request)
        sampled, offsets = _sampled(rows)
        lanes = np.array([request.lane for request in sampled], np.int64)
        arrays, drawing = self._step_arrays(rows), self._drawing(rows, sampled, lanes)
        arrays["sampled_lanes"] = lanes
        key = None
        if self._spare is not None and all(row.is_sampled and row.stop == row.start + 1 for row in rows):
            n = filled_rows(len(rows), len(self._seated))
            arrays = self._filled(arrays, n)
            key = n, arrays["full_table"].shape[1], bool(drawing)
            drawing = {name: _padded(array, n) for name, array in drawing.items()}
            if drawing:
                drawing["places"][len(rows) :] = FREE, 0
        at = self._transfer(arrays | drawing, key)
        batch = StepBatch(
            positions=at["positions"],
            query_starts=at["query_starts"],
            lengths=at["lengths"],
            full=PageGroup(at["full_table"], at["full_slots"]),
            sliding=PageGroup(at["sliding_table"], at["sliding_slots"]),
            max_query=max(row.stop - row.start for row in rows),
            max_length=max(row.stop for row in rows) if key is None else arrays["full_table"].shape[1] * PAGE_SIZE,
        )
        inputs = Inputs(
            *(at["ids"], batch, at["logits_at"], at.get("lanes"), at["sampled_lanes"], len(sampled), key),
            *(_draw(at), self._row_draws(rows) if self._draws_rows else ()),
        )
        return inputs if drawing or inputs.row_draws else self._with_choice(inputs, rows, sampled, offsets, lanes)

    def _with_choice(
        self, inputs: Inputs, rows: list[Row], sampled: list[Request], offsets: list[int], lanes: NDArray[np.int64]
    ) -> Inputs:
        """The inputs with what the sampled rows want, each by its own settings."""
        arrays: Arrays = {}
        if is_random := bool(self._settings["is_random"][lanes].any()):
            arrays |= self._random_arrays(_positions(rows, offsets), lanes)
        places = _places(rows) if any(request.cursor is not None for request in sampled) else None
        if places is not None and not self.masks_on_host:
            arrays |= self._mask_arrays(sampled, places)
        if self._wishes.lanes:
            arrays |= self._wishes.arrays(sampled)
        reporting = [row for row, request in enumerate(sampled) if request.params.logprobs is not None]
        reports = None
        if reporting:
            arrays["report_rows"] = np.array(reporting, np.int64)
        at = self._transfer(arrays) if arrays else {}
        if reporting:
            n_top = max(sampled[row].params.logprobs or 0 for row in reporting)
            reports = Reports(reporting, at["report_rows"], n_top)
        largest = int(arrays["top_k"].max()) if "top_k" in arrays else 0
        randomness = _randomness(at, largest) if is_random else None
        masking: Masking | HostMasking | None = None
        if places is not None and self.masks_on_host:
            masking = HostMasking(sampled, places, self.vocab_size)
        elif places is not None:
            masking = _masking(at, inputs.sampled_lanes[: len(sampled)])
        penalties, biases = adjust.wanted(at, self._wishes.n_slots)
        return replace(
            inputs, randomness=randomness, masking=masking, penalties=penalties, biases=biases, reports=reports
        )

    def _filled(self, arrays: Arrays, n: int) -> Arrays:
        """A decoding step's arrays for n rows, with tables of few widths."""
        n_rows, width = len(arrays["ids"]), arrays["full_table"].shape[1]
        most = self.cache.full_table.shape[1]
        wide = min(max(LEAST_WIDTH, 1 << (width - 1).bit_length()), most)
        changing = ("query_starts", "lanes")  # a key's arrays come in one order, whether ids are flying or not
        filled = {name: _padded(array, n) for name, array in arrays.items() if name not in changing}
        for name in ("full_table", "sliding_table"):
            filled[name] = np.pad(filled[name], ((0, 0), (0, wide - width)))
        assert self._spare is not None
        filled["full_slots"][n_rows:] = self._spare.full * PAGE_SIZE
        filled["sliding_slots"][n_rows:] = self._spare.sliding * PAGE_SIZE
        filled["lanes"] = filled["sampled_lanes"]
        filled["sampled_lanes"] = filled["sampled_lanes"].copy()
        filled["sampled_lanes"][n_rows:] = len(self._seated)
        return filled | {"query_starts": np.arange(n + 1, dtype=np.int32), "logits_at": np.arange(n)}

    def _seat(self, request: Request) -> None:
        """Notes the settings of a request that got a lane, and swaps the last one's table for its own."""
        params, lane = request.params, request.lane
        self._seated[lane] = -1  # nobody, until all of it is noted
        table = None if request.cursor is None or self.masks_on_host else request.cursor.table
        if table is not None:
            self.arena.acquire(table)
        if (last := self._tables[lane]) is not None:
            self.arena.release(last)
        self._tables[lane] = table
        self._wishes.seat(request)
        is_random = params.temperature >= COLDEST
        inverse, key = 1 / params.temperature if is_random else 1, noise.seed_key(request.seed)
        is_simple = not (params.is_penalized or params.logit_bias or params.logprobs is not None) and not (
            is_random and (params.top_k or params.top_p < 1 or params.min_p)
        )
        self._simple[lane] = (inverse, float(is_random), key) if is_simple else None
        self._settings[lane] = (
            *(is_random, inverse, key),
            min(params.top_k or self.vocab_size, self.vocab_size),
            params.top_p if params.top_p < 1 else NO_TOP_P,
            np.log(params.min_p) if params.min_p else -np.inf,
        )
        self._seated[lane] = request.id

    def _step_arrays(self, rows: list[Row]) -> Arrays:
        lanes = np.array([row.request.lane for row in rows], np.int64)
        width = pages_for(max(row.stop for row in rows))
        full, sliding = self.cache.full_table[lanes, :width], self.cache.sliding_table[lanes, :width]
        lengths = np.array([row.stop for row in rows], np.int64)
        if all(row.n_tokens == 1 and not row.drafts for row in rows):  # decoding, the common case
            row_of, positions = np.arange(len(rows)), lengths - 1
            ends = row_of + 1
            ids = np.array([_token(row) for row in rows], np.int64)
        else:
            n_tokens = np.array([row.stop - row.start for row in rows], np.int64)
            row_of, ends = np.repeat(np.arange(len(rows)), n_tokens), n_tokens.cumsum()
            positions = np.arange(ends[-1]) + (lengths - ends)[row_of]
            known = array("q")
            for row in rows:
                known.extend(row.request.tokens[row.start : row.start + row.n_tokens] or (FLYING,))
                known.extend(row.drafts)
            ids = np.frombuffer(known, np.int64)
            assert len(ids) == len(positions), "a row without its ids would shift those of all others"
        query_starts = np.zeros(len(rows) + 1, np.int32)
        query_starts[1:] = ends
        pages, offsets = positions // PAGE_SIZE, positions % PAGE_SIZE
        flying = {"lanes": lanes[row_of]} if any(row.start >= len(row.request.tokens) for row in rows) else {}
        return flying | {
            "ids": ids,
            "positions": positions,
            "query_starts": query_starts,
            "lengths": lengths.astype(np.int32),
            "full_table": full,
            "full_slots": full[row_of, pages].astype(np.int64) * PAGE_SIZE + offsets,
            "sliding_table": sliding,
            "sliding_slots": sliding[row_of, pages].astype(np.int64) * PAGE_SIZE + offsets,
            "logits_at": _logits_at(rows, ends),
        }

    def _drawing(self, rows: list[Row], sampled: list[Request], lanes: NDArray[np.int64]) -> Arrays:
        """What `Draw` takes, where all of the sampled rows want no more than that; else nothing."""
        if not self._draws or not sampled or any(row.drafts for row in rows):
            return {}
        if any(request.mask is not None or self._simple[request.lane] is None for request in sampled):
            return {}
        wanted = self._settings[lanes]
        positions = np.array([row.stop for row in rows if row.is_sampled], np.int64)
        budgets = [UNLIMITED if request.cursor is None else request.cursor.budget for request in sampled]
        return {
            "inverse_temperature": wanted["inverse_temperature"],
            "scale": wanted["is_random"].astype(np.float32),
            "keys": noise.position_keys(wanted["key"], positions),
            "places": np.array([self._place(request, None) for request in sampled], np.int64),
            "budgets": np.array(budgets, np.int64),
        }

    def _row_draws(self, rows: list[Row]) -> list[RowDraw]:
        """How each sampled row is drawn, where all of them want no more than that; else nothing."""
        found: list[RowDraw] = []
        for row in (row for row in rows if row.is_sampled):
            request, simple = row.request, self._simple[row.request.lane]
            if simple is None or row.drafts:
                return []
            inverse, scale, key = simple
            words = noise.position_key(key, row.stop) if scale else (0, 0)
            legal = self._everything if request.cursor is None else request.cursor.legal(request.mask)
            found.append((*legal, inverse, scale, *words))
        return found

    def _random_arrays(self, positions: NDArray[np.int64], lanes: NDArray[np.int64]) -> Arrays:
        wanted = self._settings[lanes]
        arrays: Arrays = {
            "inverse_temperature": wanted["inverse_temperature"][:, None],
            "scale": wanted["is_random"].astype(np.float32)[:, None],
            "keys": noise.position_keys(wanted["key"], positions),
        }
        if (wanted["log_min_p"] > -np.inf).any():
            arrays["log_min_p"] = wanted["log_min_p"][:, None]
        is_sorted = (wanted["top_k"] < self.vocab_size) | (wanted["top_p"] < NO_TOP_P)
        if is_sorted.any():
            arrays["filter_rows"] = np.flatnonzero(is_sorted)
            arrays["top_k"], arrays["top_p"] = (wanted[name][is_sorted][:, None] for name in ("top_k", "top_p"))
        return arrays

    def _mask_arrays(self, sampled: list[Request], places: list[Place | None]) -> Arrays:
        each = zip(sampled, places, strict=True)
        arrays: Arrays = {"places": np.array([self._place(request, place) for request, place in each], np.int64)}
        budgets = [UNLIMITED if request.cursor is None else request.cursor.budget for request in sampled]
        if min(budgets) < UNLIMITED:
            arrays["budgets"] = np.array(budgets, np.int64)
        decided = [(row, request.mask) for row, request in enumerate(sampled) if request.mask is not None]
        if decided:
            arrays["host_rows"] = np.array([row for row, _ in decided], np.int64)
            arrays["host_masks"] = np.stack([mask for _, mask in decided])
        return arrays

    def _place(self, request: Request, place: Place | None) -> Place:
        """State and what was spent, to send; -1 for what the device's lane already holds."""
        cursor = request.cursor
        if cursor is None:
            return FREE, 0
        if place is not None:
            request.synced_at = -1  # which of the drafts' places the device keeps is left open
            return self.arena.base(cursor.table) + place[0], place[1]
        if request.synced_at == self.arena.generation:
            return -1, -1
        assert request.n_flying <= 1, "the device knows the place of a request whose last id the host does not know"
        request.synced_at = self.arena.generation
        return self.arena.base(cursor.table) + cursor.state, cursor.spent


def _sampled(rows: list[Row]) -> tuple[list[Request], list[int]]:
    """The request of every place that is sampled, and how many drafts are before it."""
    sampled: list[Request] = []
    offsets: list[int] = []
    for row in rows:
        if row.is_sampled:
            n_places = 1 + len(row.drafts)
            sampled += [row.request] * n_places
            offsets += range(n_places)
    return sampled, offsets


def _places(rows: list[Row]) -> list[Place | None]:
    """Of every place that is sampled, where its cursor is there; None where that is the cursor's own place."""
    places: list[Place | None] = []
    for row in rows:
        if not row.drafts:
            places += [None] * row.is_sampled
        elif row.is_sampled:
            cursor = row.request.cursor if row.drafts else None
            places += [None] * (1 + len(row.drafts)) if cursor is None else [cursor.place, *cursor.ahead(row.drafts)]
    return places


def _logits_at(rows: list[Row], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the sampled places are among the step's tokens; ends (rows,): where the rows end there."""
    if not any(row.drafts for row in rows):
        return ends[[row.is_sampled for row in rows]] - 1
    sampled = [(end, len(row.drafts)) for row, end in zip(rows, ends.tolist(), strict=True) if row.is_sampled]
    return np.array([place for end, n in sampled for place in range(end - 1 - n, end)], np.int64)


def _randomness(at: Mapping[str, Tensor], largest: int) -> Randomness:
    filters = Filters(at["filter_rows"], at["top_k"], at["top_p"], largest) if largest else None
    return Randomness(at["inverse_temperature"], at["scale"], at["keys"], at.get("log_min_p"), filters)


def _masking(at: Mapping[str, Tensor], lanes: Tensor) -> Masking:
    return Masking(lanes, at["places"], at.get("budgets"), at.get("host_rows"), at.get("host_masks"))


def _draw(at: Mapping[str, Tensor]) -> Draw | None:
    names = ("inverse_temperature", "scale", "keys", "places", "budgets")
    return Draw(*(at[name] for name in names)) if "keys" in at else None


def _token(row: Row) -> int:
    """The first id that a row computes."""
    tokens = row.request.tokens
    return tokens[row.start] if row.start < len(tokens) else FLYING


def _positions(rows: list[Row], offsets: list[int]) -> NDArray[np.int64]:
    """Those of the ids to be chosen; offsets: how many drafts are before each of them."""
    firsts = [row.start + row.n_tokens for row in rows if row.is_sampled for _ in range(1 + len(row.drafts))]
    return np.array(firsts, np.int64) + np.array(offsets, np.int64)


def filled_rows(n: int, most: int) -> int:
    """The size, of few, to which n rows are filled up: up to an eighth more."""
    step = 1 if n <= 8 else 1 << ((n - 1).bit_length() - 3)
    return min(most, -(-n // step) * step)


def _padded(array: NDArray[np.generic], n: int) -> NDArray[np.generic]:
    """The array with its first row again and again, up to n of them; always a new one."""
    return np.concatenate((array, np.repeat(array[:1], n - len(array), axis=0)))
