"""Rows of requests -> the tensors of one step: prepared in numpy, moved to the device in one copy.

`Inputs` is all that a step needs; the ids that come back are all that leaves. Every row of a step is computed; those
that end with their request's last known token are sampled too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine import adjust, noise
from harmonium.engine.adjust import Arrays, Biases, Penalties, Wishes
from harmonium.engine.constraint import UNLIMITED, Place, Table
from harmonium.engine.host_masking import HostMasking
from harmonium.engine.kv_cache import KvCache, pages_for
from harmonium.engine.logprobs import Reports
from harmonium.engine.request import Request
from harmonium.engine.sampler import Filters, Masking, Randomness
from harmonium.engine.scheduler import Row
from harmonium.engine.table_arena import FREE, TableArena
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.model.config import PAGE_SIZE

COLDEST = 1e-5
"""Below this temperature a row is greedy."""

NO_TOP_P = 2.0

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
    """One step. ids: (tokens,) int64. logits_at: (n,) int64, the n places in ids after which one is sampled:
    where sampled rows end, and before each of their drafts.

    randomness is None where every sampled row is greedy, masking where none has a constraint, and penalties, biases and
    reports where no row wants them.
    """

    ids: Tensor
    batch: StepBatch
    logits_at: Tensor
    randomness: Randomness | None
    masking: Masking | HostMasking | None
    penalties: Penalties | None = None
    biases: Biases | None = None
    reports: Reports | None = None


class BatchBuilder:
    """Builds `Inputs` from scheduled rows. Reads the cache's tables and the arena's bases; keeps settings by lane.

    masks_on_host: requests' cursors mask every row, and the arena is not used: see host_masking.py.
    """

    def __init__(
        self, cache: KvCache, arena: TableArena, vocab_size: int, device: torch.device, masks_on_host: bool = False
    ) -> None:
        self.cache, self.arena, self.vocab_size, self.masks_on_host = cache, arena, vocab_size, masks_on_host
        self._transfer = Transfer(device)
        n_lanes = len(cache.full_table)
        self._settings = np.zeros(n_lanes, SETTINGS)
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
        arrays = self._step_arrays(rows)
        if is_random := bool(self._settings["is_random"][lanes].any()):
            arrays |= self._random_arrays(sampled, offsets, lanes)
        places = _places(rows) if any(request.cursor is not None for request in sampled) else None
        if places is not None and not self.masks_on_host:
            arrays |= self._mask_arrays(sampled, places, lanes)
        if self._wishes.lanes:
            arrays |= self._wishes.arrays(sampled)
        reporting = [row for row, request in enumerate(sampled) if request.params.logprobs is not None]
        if reporting:
            arrays["report_rows"] = np.array(reporting, np.int64)
        at = self._transfer(arrays)
        batch = StepBatch(
            positions=at["positions"],
            query_starts=at["query_starts"],
            lengths=at["lengths"],
            full=PageGroup(at["full_table"], at["full_slots"]),
            sliding=PageGroup(at["sliding_table"], at["sliding_slots"]),
            max_query=max(row.stop - row.start for row in rows),
            max_length=max(row.stop for row in rows),
        )
        largest = int(arrays["top_k"].max()) if "top_k" in arrays else 0
        randomness = _randomness(at, largest) if is_random else None
        reports = None
        if reporting:
            n_top = max(sampled[row].params.logprobs or 0 for row in reporting)
            reports = Reports(reporting, at["report_rows"], n_top)
        masking: Masking | HostMasking | None = None
        if places is not None:
            masking = HostMasking(sampled, places, self.vocab_size) if self.masks_on_host else _masking(at)
        return Inputs(
            at["ids"], batch, at["logits_at"], randomness, masking, *adjust.wanted(at, self._wishes.n_slots), reports
        )

    def _seat(self, request: Request) -> None:
        """Notes the settings of a request that got a lane, and swaps the last one's table for its own."""
        params, lane = request.params, request.lane
        last, table = self._tables[lane], None if request.cursor is None else request.cursor.table
        if self.masks_on_host:
            table = None
        if table is not None:
            self.arena.acquire(table)
        if last is not None:
            self.arena.release(last)
        self._tables[lane] = table
        self._wishes.seat(request)
        is_random = params.temperature >= COLDEST
        self._settings[lane] = (
            is_random,
            1 / params.temperature if is_random else 1,
            noise.seed_key(request.seed),
            min(params.top_k or self.vocab_size, self.vocab_size),
            params.top_p if params.top_p < 1 else NO_TOP_P,
            np.log(params.min_p) if params.min_p else -np.inf,
        )
        self._seated[lane] = request.id

    def _step_arrays(self, rows: list[Row]) -> Arrays:
        lanes = np.array([row.request.lane for row in rows])
        width = pages_for(max(row.stop for row in rows))
        full, sliding = self.cache.full_table[lanes, :width], self.cache.sliding_table[lanes, :width]
        lengths = np.array([row.stop for row in rows], np.int64)
        if all(row.n_tokens == 1 and not row.drafts for row in rows):  # decoding, the common case
            row_of, positions = np.arange(len(rows)), lengths - 1
            ends = row_of + 1
            ids = np.array([row.request.tokens[row.start] for row in rows], np.int64)
        else:
            n_tokens = np.array([row.stop - row.start for row in rows], np.int64)
            row_of, ends = np.repeat(np.arange(len(rows)), n_tokens), n_tokens.cumsum()
            positions = np.arange(ends[-1]) + (lengths - ends)[row_of]
            known = [(*row.request.tokens[row.start : row.start + row.n_tokens], *row.drafts) for row in rows]
            ids = np.array([token for tokens in known for token in tokens], np.int64)
        query_starts = np.zeros(len(rows) + 1, np.int32)
        query_starts[1:] = ends
        pages, offsets = positions // PAGE_SIZE, positions % PAGE_SIZE
        return {
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

    def _random_arrays(self, sampled: list[Request], offsets: list[int], lanes: NDArray[np.int64]) -> Arrays:
        wanted = self._settings[lanes]
        positions = np.array([len(r.tokens) + offset for r, offset in zip(sampled, offsets, strict=True)], np.int64)
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

    def _mask_arrays(self, sampled: list[Request], places: list[Place | None], lanes: NDArray[np.int64]) -> Arrays:
        each = zip(sampled, places, strict=True)
        arrays: Arrays = {
            "lanes": lanes,
            "places": np.array([self._place(request, place) for request, place in each], np.int64),
        }
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
        if row.is_sampled:
            cursor = row.request.cursor if row.drafts else None
            places += [None] * (1 + len(row.drafts)) if cursor is None else [cursor.place, *cursor.ahead(row.drafts)]
    return places


def _logits_at(rows: list[Row], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the sampled places are among the step's tokens; ends (rows,): where the rows end there."""
    if not any(row.drafts for row in rows):
        return ends[[row.is_sampled for row in rows]] - 1
    sampled = [(end, len(row.drafts)) for row, end in zip(rows, ends.tolist(), strict=True) if row.is_sampled]
    return np.array([place for end, n in sampled for place in range(end - 1 - n, end)], np.int64)


class Transfer:
    """Moves a step's arrays to the device: a CPU shares them, any other device gets all of them in one copy."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._staging = torch.empty(0, dtype=torch.uint8)

    def __call__(self, arrays: Arrays) -> dict[str, Tensor]:
        if self.device.type == "cpu":
            return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return self.packed(arrays)

    def packed(self, arrays: Arrays) -> dict[str, Tensor]:
        """The arrays by one copy through pinned memory, each at a multiple of 16 bytes."""
        offsets = np.cumsum([0] + [-(-array.nbytes // 16) * 16 for array in arrays.values()]).tolist()
        n_bytes = offsets.pop()
        if n_bytes > len(self._staging):
            self._staging = torch.empty(2 * n_bytes, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        staging = self._staging.numpy()
        for offset, array in zip(offsets, arrays.values(), strict=True):
            staging[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        moved = self._staging[:n_bytes].to(self.device, copy=True)
        return {
            name: moved[offset : offset + array.nbytes].view(TORCH_TYPES[array.dtype.name]).view(array.shape)
            for offset, (name, array) in zip(offsets, arrays.items(), strict=True)
        }


TORCH_TYPES = {"bool": torch.bool, "int32": torch.int32, "int64": torch.int64, "float32": torch.float32}


def _randomness(at: Mapping[str, Tensor], largest: int) -> Randomness:
    filters = Filters(at["filter_rows"], at["top_k"], at["top_p"], largest) if largest else None
    return Randomness(at["inverse_temperature"], at["scale"], at["keys"], at.get("log_min_p"), filters)


def _masking(at: Mapping[str, Tensor]) -> Masking:
    return Masking(at["lanes"], at["places"], at.get("budgets"), at.get("host_rows"), at.get("host_masks"))
