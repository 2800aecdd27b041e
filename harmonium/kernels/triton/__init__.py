"""The operations on an NVIDIA GPU, in Triton: fused matrix-vector kernels for few tokens, tensor cores for many.

Nothing here waits for the device, and shapes follow from host integers alone, so a step can be captured in a graph. See
`reference` for what each operation takes and gives; x is overwritten here.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from harmonium import hardware
from harmonium.errors import Unsupported
from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.reference import ExpertWeights
from harmonium.kernels.triton import attention, experts, linear, rows, sampling, skinny
from harmonium.kernels.triton.gluon import hopper_kernels
from harmonium.kernels.triton.packed import ArrangedExperts, Packed
from harmonium.kernels.triton.tiles import ExpertTile, Tiles

# Machine code stays for the next process. Triton asks for the folder when it first compiles.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harmonium" / "triton"
os.environ.setdefault("TRITON_CACHE_DIR", str(CACHE))

FEW = 2
"""Tokens up to which a matrix is read once per token by matrix-vector kernels."""
FEW_ROUTED = 64
"""Tokens up to which one kernel routes."""
FEW_PAIRS = 8
"""Pairs of token and expert up to which each pair reads its own expert."""
MOST_HEADS = 1 << 15
"""Rows times key/value heads that decode in a step, at most."""
LOG2E = 1.4426950408889634


def launch_options(device: torch.device) -> dict[str, Any]:
    """Those of the experts' kernels: whether they start while the one ahead of them ends."""
    is_able = Tiles.is_overlapped and device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 9
    return {"PDL": True, "launch_pdl": True} if is_able else {"PDL": False}


def skinny_block(tokens: int) -> int:
    """Tokens of a tile that holds them all: tensor cores take no fewer than 16."""
    return max(16, int(triton.next_power_of_2(tokens)))


def skinny_columns(x: Tensor) -> int:
    """Columns that a program of theirs takes at a time: float32's are half as many, for shared memory holds them."""
    return Tiles.skinny_columns * 2 // x.element_size()


def skinny_options() -> dict[str, int]:
    return {"num_warps": Tiles.skinny_warps, "num_stages": Tiles.skinny_stages}


def adjacent(parts: list[Tensor]) -> list[Tensor]:
    """The matrices (.., in), one behind another in one that holds them all; as they are if they lie so already."""
    ends = [part.data_ptr() + part.nbytes for part in parts]
    is_one = len({part.untyped_storage().data_ptr() for part in parts}) == 1
    if is_one and [part.data_ptr() for part in parts[1:]] == ends[:-1]:
        return parts
    return list(torch.cat(parts).split([len(part) for part in parts]))


class NormQKV:
    """The projections lie in one matrix, of which the layer's own tensors become parts: memory holds them once."""

    def __init__(self, plain: reference.NormQKV) -> None:
        self.plain = plain
        parts = [part for part in (plain.q, plain.k, plain.v) if isinstance(part, Tensor)]
        assert len(parts) == 3, "int8 is the CPU's"
        if refusal := hardware.head_refusal(plain.head_dim):
            raise Unsupported(refusal)
        for part, its in zip(parts, adjacent(parts), strict=True):
            part.data = its
        self.weight = parts[0].as_strided((sum(map(len, parts)), parts[0].shape[1]), parts[0].stride())
        self.bias = torch.cat((plain.q_bias, plain.k_bias, plain.v_bias))

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> Tensor:
        plain, head_dim = self.plain, self.plain.head_dim
        heads, kv_heads, hidden = len(plain.q) // head_dim, len(plain.k) // head_dim, x.shape[1]
        page_size = k_cache.shape[2]
        if len(x) > FEW:
            normed = norm_rows(x, plain.norm, plain.eps)
            if len(x) <= Tiles.skinny_tokens:
                q = torch.empty((len(x), heads, head_dim), dtype=x.dtype, device=x.device)
                pairs = min(Tiles.skinny_rows, head_dim // 2)
                skinny.qkv[((heads + 2 * kv_heads) * (head_dim // 2 // pairs),)](
                    *(normed, self.weight, self.bias, cos, sin, slots, q, k_cache, v_cache, len(x)),
                    *(hidden, heads, kv_heads, head_dim, page_size, pairs, skinny_block(len(x)), skinny_columns(x)),
                    **skinny_options(),
                )
                return q
            projected = F.linear(normed, self.weight.to(x.dtype), self.bias.to(x.dtype))
            q = torch.empty((len(x), heads, head_dim), dtype=x.dtype, device=x.device)
            blocks = triton.next_power_of_2(heads), triton.next_power_of_2(kv_heads)
            rows.rotate_store[(len(x),)](
                *(projected, q, cos, sin, slots, k_cache, v_cache, heads, kv_heads, head_dim, page_size, *blocks)
            )
            return q
        q = torch.empty((len(x), heads, head_dim), dtype=x.dtype, device=x.device)
        pairs = min(Tiles.qkv_pairs, head_dim // 2)
        linear.norm_qkv[((heads + 2 * kv_heads) * (head_dim // 2 // pairs), len(x))](
            *(x, plain.norm, plain.q, plain.q_bias, plain.k, plain.k_bias, plain.v, plain.v_bias),
            *(cos, sin, slots, q, k_cache, v_cache, plain.eps),
            *(hidden, heads, kv_heads, head_dim, page_size, pairs, triton.next_power_of_2(hidden)),
            num_warps=Tiles.qkv_warps,
        )
        return q


class Attend:
    def __init__(self, plain: reference.Attend) -> None:
        self.sinks, self.window = plain.sinks, plain.window
        self.arrived = torch.zeros(MOST_HEADS, dtype=torch.int32, device=plain.sinks.device)

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, batch: StepBatch, group: PageGroup) -> Tensor:
        out = torch.empty_like(q)
        n_rows, table = len(batch.lengths), group.table
        _, heads, head_dim = q.shape
        kv_heads, page_size = k_cache.shape[1:3]
        scale = head_dim**-0.5 * LOG2E
        if batch.max_query > 1:
            m, n = Tiles.many_queries, Tiles.many_keys
            attention.attend_many[(triton.cdiv(batch.max_query, m), heads, n_rows)](
                *(q, k_cache, v_cache, table, batch.query_starts, batch.lengths, self.sinks, out),
                *(table.stride(0), scale, self.window or 0, heads, m, n, kv_heads, page_size, head_dim),
                num_warps=Tiles.many_warps,
                num_stages=Tiles.many_stages,
            )
            return out
        members, n = heads // kv_heads, Tiles.one_keys
        splits = self._splits(n_rows * kv_heads, batch.max_length, n)
        parts = torch.empty((n_rows, kv_heads, splits, members, head_dim), dtype=torch.float32, device=q.device)
        tops = torch.empty((n_rows, kv_heads, 2, splits, members), dtype=torch.float32, device=q.device)
        assert n_rows * kv_heads <= MOST_HEADS, "graphs keep the counters' address"
        attention.attend_one[(kv_heads, splits, n_rows)](
            *(q, k_cache, v_cache, table, batch.lengths, self.sinks, out, parts, tops, self.arrived),
            *(table.stride(0), scale, self.window or 0, members, max(16, triton.next_power_of_2(members)), n, splits),
            *(kv_heads, page_size, head_dim),
            num_warps=4,
        )
        return out

    def _splits(self, n_heads: int, max_length: int, n: int) -> int:
        """How many programs share a row's context: as many as fill the device, each with a tile at least."""
        reach = max_length if self.window is None else min(max_length, self.window)
        most = max(1, Tiles.one_programs // n_heads)
        return int(min(triton.next_power_of_2(triton.cdiv(reach, n)), triton.next_power_of_2(most)))


class ProjectAdd:
    def __init__(self, plain: reference.ProjectAdd) -> None:
        self.plain = plain

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        weight, bias = self.plain.weight, self.plain.bias
        if len(x) > Tiles.skinny_tokens:
            return x.add_(F.linear(attended.flatten(1), weight.to(x.dtype), bias.to(x.dtype)))
        (hidden, width), n_rows = weight.shape, Tiles.skinny_rows
        skinny.project_add[(triton.cdiv(hidden, n_rows),)](
            *(x, attended, weight, bias, len(x), hidden, width, n_rows, skinny_block(len(x))),
            skinny_columns(x),
            **skinny_options(),
        )
        return x


class NormRoute:
    def __init__(self, plain: reference.NormRoute) -> None:
        self.plain = plain
        self.arrived = torch.zeros(FEW_ROUTED, dtype=torch.int32, device=plain.weight.device)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plain, (n_experts, hidden) = self.plain, self.plain.weight.shape
        experts_block = triton.next_power_of_2(n_experts)
        if len(x) > FEW_ROUTED:
            normed = norm_rows(x, plain.norm, plain.eps)
            logits = product(normed, plain.weight.to(x.dtype)).add_(plain.bias)
            indices, shares = self.choices(x)
            rows.choose_rows[(len(x),)](*(logits, indices, shares, n_experts, experts_block, plain.k), num_warps=1)
            return normed, indices, shares
        normed, indices, shares, logits = torch.empty_like(x), *self.choices(x), self.scratch(x)
        n_rows = Tiles.route_rows if len(x) <= FEW else Tiles.many_route_rows
        linear.norm_route[(triton.cdiv(n_experts, n_rows), len(x))](
            *(x, plain.norm, plain.weight, plain.bias, normed, indices, shares, logits, self.arrived, plain.eps),
            *(hidden, n_experts, plain.k, n_rows, experts_block, triton.next_power_of_2(hidden)),
            num_warps=Tiles.route_warps,
        )
        return normed, indices, shares

    def choices(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Room for indices and shares."""
        shape = len(x), self.plain.k
        return torch.empty(shape, dtype=torch.int64, device=x.device), torch.empty(shape, device=x.device)

    def scratch(self, x: Tensor) -> Tensor:
        """Room for logits of all experts."""
        return torch.empty((len(x), len(self.plain.weight)), device=x.device)


class ProjectRoute:
    """One kernel for few tokens."""

    def __init__(self, project: ProjectAdd, route: NormRoute) -> None:
        self.project, self.route = project, route
        self.projected = torch.zeros(FEW, dtype=torch.int32, device=route.plain.weight.device)

    def __call__(self, x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if len(x) > FEW:
            x = self.project(x, attended)
            return x, *self.route(x)
        o, plain = self.project.plain, self.route.plain
        (hidden, width), n_experts = o.weight.shape, len(plain.weight)
        normed, indices, shares, logits = torch.empty_like(x), *self.route.choices(x), self.route.scratch(x)
        n_programs = triton.cdiv(hidden, Tiles.project_rows) + triton.cdiv(n_experts, Tiles.route_rows)
        linear.project_route[(n_programs, len(x))](
            *(x, attended, o.weight, o.bias, plain.norm, plain.weight, plain.bias, normed, indices, shares, logits),
            *(self.projected, self.route.arrived, plain.eps, hidden, width, n_experts, plain.k),
            *(Tiles.project_rows, Tiles.route_rows, triton.next_power_of_2(n_experts)),
            *(triton.next_power_of_2(hidden), triton.next_power_of_2(width)),
            num_warps=Tiles.project_warps,
        )
        return x, normed, indices, shares


def arranged(weights: ExpertWeights) -> ExpertWeights:
    """Packed experts in the kernels' order alone; dense ones as they are."""
    return ArrangedExperts(weights) if weights.is_packed and not isinstance(weights, ArrangedExperts) else weights


class ExpertsAdd:
    """Packed: pair by pair for few, listed by expert for many. Dense: the reference."""

    def __init__(self, plain: reference.ExpertsAdd) -> None:
        weights = arranged(plain.weights)
        self.plain, self.options = reference.ExpertsAdd(weights), launch_options(weights.device)
        self.packed: tuple[Packed, Packed] | None = None
        self.hopper: ModuleType | None = None
        if isinstance(weights, ArrangedExperts):
            self.packed = weights.packed
            self.hopper = hopper_kernels(weights.device, [packed.width for packed in self.packed])
            n_counters = FEW_PAIRS * self.packed[1].words.shape[1]  # of `down`, whose programs count
            self.arrived = torch.zeros(n_counters, dtype=torch.int32, device=weights.device)

    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        if self.packed is None:
            return self.plain(x, normed, indices, weights)
        first, second = self.packed
        (tokens, k), hidden, inner = indices.shape, x.shape[1], second.width
        n_pairs, n_experts, device = tokens * k, len(first.words), x.device
        is_direct = n_pairs <= FEW_PAIRS
        is_exact = x.is_cuda and x.dtype == torch.float32
        n = Tiles.one_columns if is_direct else Tiles.exact_columns if is_exact else Tiles.columns(n_pairs / n_experts)
        n_tiles = n_pairs if is_direct else n_pairs // n + n_experts
        order, places = torch.empty((2, n_pairs), dtype=torch.int32, device=device)
        tiles = torch.empty((n_tiles, 3), dtype=torch.int32, device=device)
        between = torch.empty((n_pairs, inner), dtype=x.dtype, device=device)
        if not is_direct:
            block = min(4096, triton.next_power_of_2(n_pairs))
            experts.group[(n_experts, triton.cdiv(n_pairs, block))](
                *(indices, order, places, tiles, n_pairs, n, block), **self.options, num_warps=4 if block <= 1024 else 8
            )
        if self.hopper is not None and n == Tiles.hopper_pairs and x.dtype == torch.bfloat16:
            parts = torch.empty((n_pairs, hidden), dtype=x.dtype, device=device)
            self.hopper.launch(first, normed, order, tiles, between, k, n)
            self.hopper.launch(second, between, order, tiles, parts, k, n)
        else:
            size = 0 if is_direct else n
            grid, shape, options = self._launch(first, Tiles.exact if is_exact else Tiles.gate_up[size], n_tiles)
            experts.gate_up[grid](
                *(normed, indices, order, tiles, first.words, first.scales, first.bias, between, first.unit),
                *(k, first.width, inner, n, *shape, is_direct),
                **options,
            )
            grid, shape, options = self._launch(second, Tiles.exact if is_exact else Tiles.down[size], n_tiles)
            splits = grid[2]
            parts_dtype = torch.float32 if is_direct else x.dtype
            parts = torch.empty((splits, n_pairs, hidden), dtype=parts_dtype, device=device)
            experts.down[grid](
                *(between, indices, tiles, second.words, second.scales, second.bias, weights, parts, x),
                *(self.arrived, second.unit, k, second.width, hidden, n, *shape, splits, is_direct),
                **options,
            )
        if not is_direct:
            experts.sum_add[(tokens, triton.cdiv(hidden, Tiles.sum_columns))](
                x, parts, places, weights, k, hidden, Tiles.sum_columns, **self.options
            )
        return x

    def _launch(
        self, packed: Packed, tile: ExpertTile, n_tiles: int
    ) -> tuple[tuple[int, int, int], tuple[int, int], dict[str, Any]]:
        """The grid, the sizes of a program's tile, and the options."""
        _, row_tiles, column_tiles, _ = packed.words.shape
        steps, splits = tile.steps, tile.splits
        if column_tiles % (steps * splits):
            steps = splits = 1
        has_ptx = packed.words.is_cuda and tile is not Tiles.exact
        options = {**self.options, "PTX": has_ptx, "num_warps": tile.warps, "num_stages": tile.stages}
        return (triton.cdiv(row_tiles, tile.rows), n_tiles, splits), (tile.rows, steps), options


class NormHead:
    def __init__(self, plain: reference.NormHead) -> None:
        self.plain = plain
        self.places = torch.zeros(1, dtype=torch.int64, device=plain.weight.device)

    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor:
        plain, n = self.plain, len(x) if rows is None else len(rows)
        if not n:
            return torch.empty((0, len(plain.weight)), dtype=torch.float32, device=x.device)
        if n > 1:
            return product(norm_rows(x, plain.norm, plain.eps, rows), plain.weight.to(x.dtype))
        vocabulary, hidden = plain.weight.shape
        logits = torch.empty((n, vocabulary), dtype=torch.float32, device=x.device)
        linear.norm_head[(triton.cdiv(vocabulary, Tiles.head_rows * Tiles.head_tiles), n)](
            *(x, self.places if rows is None else rows, plain.norm, plain.weight, logits, vocabulary, plain.eps),
            *(hidden, Tiles.head_rows, Tiles.head_tiles, triton.next_power_of_2(hidden)),
            num_warps=Tiles.head_warps,
        )
        return logits


def draw(
    logits: Tensor,
    inverse_temperature: Tensor,
    scale: Tensor,
    keys: Tensor,
    lanes: Tensor,
    places: Tensor,
    budgets: Tensor,
    states: Tensor,
    edges: Tensor,
    masks: Tensor,
    lane_places: Tensor,
    last_ids: Tensor,
) -> Tensor:
    """An id (n,) int64 for each row of logits (n, vocabulary) float32, -1 where none can be chosen.

    Logits where the row's state allows the id, times inverse_temperature (n,), plus the noise of keys (n, 2) int32
    times scale (n,): the largest wins. A row's state and what it spent are places (n, 2) int64 or, where that is -1,
    those of its lane, lanes (n,) int64, in lane_places (.., 2), where they stand afterwards; budgets (n,) int64 are of
    the latter. The id goes to last_ids (..,), too. states (.., 6), edges (.., 2) int64 and masks (.., vocabulary) bool
    are those of the engine's table arena.
    """
    n, vocabulary = logits.shape
    block = Tiles.draw_columns
    n_blocks = triton.cdiv(vocabulary, block)
    ids = torch.empty(n, dtype=torch.int64, device=logits.device)
    best = torch.empty((n, n_blocks), dtype=torch.float32, device=logits.device)
    best_ids = torch.empty((n, n_blocks), dtype=torch.int64, device=logits.device)
    arrived = torch.zeros(n, dtype=torch.int32, device=logits.device)
    sampling.draw[(n_blocks, n)](
        *(logits, inverse_temperature, scale, keys, lanes, places, budgets, states, edges, masks),
        *(lane_places, last_ids, best, best_ids, arrived, ids, vocabulary),
        *(n_blocks, block, triton.next_power_of_2(n_blocks), Tiles.draw_edges),
    )
    return ids


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (tokens, in) times weight (out, in) of its dtype, float32 as it was summed.

    Rounded, it would tell how many others are in the batch: one row's product is float32, too.
    """
    if x.dtype == torch.bfloat16 and x.is_cuda:
        return torch.mm(x, weight.t(), out_dtype=torch.float32)
    return F.linear(x, weight).float()


def norm_rows(x: Tensor, norm: Tensor, eps: float, picked: Tensor | None = None) -> Tensor:
    """RMSNorm of all rows of x (tokens, hidden), or of those picked (n,) int64."""
    width, n = x.shape[1], len(x) if picked is None else len(picked)
    out = torch.empty((n, width), dtype=x.dtype, device=x.device)
    where = x if picked is None else picked
    rows.norm_rows[(n,)](x, where, norm, out, eps, width, triton.next_power_of_2(width), picked is not None)
    return out
