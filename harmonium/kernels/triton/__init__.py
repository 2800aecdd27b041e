"""The operations on an NVIDIA GPU, in Triton: fused matrix-vector kernels for few tokens, tensor cores for many.

Nothing here waits for the device, and shapes follow from host integers alone, so a step can be captured in a graph. See
`reference` for what each operation takes and gives; x is overwritten here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.triton import attention, experts, grouped, linear, rows
from harmonium.kernels.triton.tiles import Tiles

FEW = 2
"""Tokens up to which a matrix is read once per token by matrix-vector kernels."""
FEW_PAIRS = 16
"""Pairs of token and expert up to which each pair reads its own expert."""
LOG2E = 1.4426950408889634


def launch_options(tensor: Tensor) -> dict[str, Any]:
    """Whether kernels may start while the one ahead of them ends: on Hopper and later."""
    is_able = tensor.is_cuda and torch.cuda.get_device_capability(tensor.device)[0] >= 9
    return {"PDL": True, "launch_pdl": True} if is_able else {"PDL": False}


class NormQKV:
    def __init__(self, plain: reference.NormQKV) -> None:
        self.plain, self.options = plain, launch_options(plain.q)

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> Tensor:
        plain, head_dim = self.plain, self.plain.head_dim
        heads, kv_heads, hidden = len(plain.q) // head_dim, len(plain.k) // head_dim, x.shape[1]
        page_size = k_cache.shape[2]
        if len(x) > FEW:
            normed = norm_rows(x, plain.norm, plain.eps)
            q, k, v = (
                F.linear(normed, weight.to(x.dtype), bias.to(x.dtype))
                for weight, bias in ((plain.q, plain.q_bias), (plain.k, plain.k_bias), (plain.v, plain.v_bias))
            )
            blocks = triton.next_power_of_2(heads), triton.next_power_of_2(kv_heads)
            rows.rotate_store[(len(x),)](
                q, k, v, cos, sin, slots, k_cache, v_cache, heads, kv_heads, head_dim, page_size, *blocks
            )
            return q.view(len(x), heads, head_dim)
        q = torch.empty((len(x), heads, head_dim), dtype=x.dtype, device=x.device)
        pairs = min(Tiles.qkv_pairs, head_dim // 2)
        linear.norm_qkv[((heads + 2 * kv_heads) * (head_dim // 2 // pairs), len(x))](
            *(x, plain.norm, plain.q, plain.q_bias, plain.k, plain.k_bias, plain.v, plain.v_bias),
            *(cos, sin, slots, q, k_cache, v_cache, plain.eps),
            *(hidden, heads, kv_heads, head_dim, page_size, pairs, triton.next_power_of_2(hidden)),
            **self.options,
            num_warps=Tiles.qkv_warps,
        )
        return q


class Attend:
    def __init__(self, plain: reference.Attend) -> None:
        self.sinks, self.window, self.options = plain.sinks, plain.window, launch_options(plain.sinks)
        self.arrived = torch.zeros(4096, dtype=torch.int32, device=plain.sinks.device)

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
                num_warps=4,
            )
            return out
        members, n = heads // kv_heads, Tiles.one_keys
        splits = self._splits(n_rows * kv_heads, batch.max_length, n)
        parts = torch.empty((n_rows, kv_heads, splits, members, head_dim), dtype=torch.float32, device=q.device)
        tops = torch.empty((n_rows, kv_heads, 2, splits, members), dtype=torch.float32, device=q.device)
        if len(self.arrived) < n_rows * kv_heads:
            self.arrived = torch.zeros(n_rows * kv_heads, dtype=torch.int32, device=q.device)
        attention.attend_one[(kv_heads, splits, n_rows)](
            *(q, k_cache, v_cache, table, batch.lengths, self.sinks, out, parts, tops, self.arrived),
            *(table.stride(0), scale, self.window or 0, members, max(16, triton.next_power_of_2(members)), n, splits),
            *(kv_heads, page_size, head_dim),
            **self.options,
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
        self.plain, self.options = plain, launch_options(plain.weight)

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        weight, bias = self.plain.weight, self.plain.bias
        if len(x) > FEW:
            return x.add_(F.linear(attended.flatten(1), weight.to(x.dtype), bias.to(x.dtype)))
        hidden, width = weight.shape
        linear.project_add[(triton.cdiv(hidden, Tiles.project_rows), len(x))](
            *(x, attended, weight, bias, hidden, width, Tiles.project_rows, triton.next_power_of_2(width)),
            **self.options,
            num_warps=Tiles.project_warps,
        )
        return x


class NormRoute:
    def __init__(self, plain: reference.NormRoute) -> None:
        self.plain, self.options = plain, launch_options(plain.weight)
        self.arrived = torch.zeros(FEW, dtype=torch.int32, device=plain.weight.device)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plain, (n_experts, hidden) = self.plain, self.plain.weight.shape
        indices = torch.empty((len(x), plain.k), dtype=torch.int64, device=x.device)
        shares = torch.empty((len(x), plain.k), dtype=torch.float32, device=x.device)
        experts_block = triton.next_power_of_2(n_experts)
        if len(x) > FEW:
            normed = norm_rows(x, plain.norm, plain.eps)
            logits = F.linear(normed, plain.weight.to(x.dtype), plain.bias.to(x.dtype))
            rows.choose_rows[(len(x),)](logits, indices, shares, n_experts, experts_block, plain.k, num_warps=1)
            return normed, indices, shares
        normed = torch.empty_like(x)
        logits = torch.empty((len(x), n_experts), dtype=torch.float32, device=x.device)
        linear.norm_route[(triton.cdiv(n_experts, Tiles.route_rows), len(x))](
            *(x, plain.norm, plain.weight, plain.bias, normed, indices, shares, logits, self.arrived, plain.eps),
            *(hidden, n_experts, plain.k, Tiles.route_rows, experts_block, triton.next_power_of_2(hidden)),
            **self.options,
            num_warps=Tiles.route_warps,
        )
        return normed, indices, shares


@dataclass(frozen=True)
class Packed:
    """One projection of all experts. words (experts, out, in / 8) int32, scales (experts, out, in / 32) uint8."""

    words: Tensor
    scales: Tensor
    bias: Tensor

    @classmethod
    def of(cls, blocks: Tensor, scales: Tensor, bias: Tensor) -> Packed:
        return cls(blocks.contiguous().flatten(2).view(torch.int32), scales.contiguous(), bias)


class ExpertsAdd:
    """Packed: pair by pair for few, sorted by expert for many. Dense: the reference."""

    def __init__(self, plain: reference.ExpertsAdd) -> None:
        weights = plain.weights
        self.plain, self.options = plain, launch_options(weights.gate_up)
        self.packed: tuple[Packed, Packed] | None = None
        if weights.gate_up_scales is not None and weights.down_scales is not None:
            self.packed = (
                Packed.of(weights.gate_up, weights.gate_up_scales, weights.gate_up_bias),
                Packed.of(weights.down, weights.down_scales, weights.down_bias),
            )

    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        if self.packed is None:
            return self.plain(x, normed, indices, weights)
        run = self._few if indices.numel() <= FEW_PAIRS else self._many
        run(x, normed, indices, weights, *self.packed)
        return x

    def _few(self, x: Tensor, normed: Tensor, indices: Tensor, shares: Tensor, gate_up: Packed, down: Packed) -> None:
        (tokens, k), hidden, inner = indices.shape, x.shape[1], down.words.shape[2] * 8
        between = torch.empty((tokens, k, inner), dtype=torch.float16, device=x.device)
        tile = Tiles.gate_up
        experts.few_gate_up[(triton.cdiv(2 * inner, tile.rows), tokens * k)](
            *(normed, indices, gate_up.words, gate_up.scales, gate_up.bias, between),
            *(k, hidden, inner, tile.rows, tile.blocks, tile.chunks),
            **self.options,
            num_warps=tile.warps,
        )
        tile = Tiles.down
        experts.few_down[(triton.cdiv(hidden, tile.rows), tokens)](
            *(x, between, indices, shares, down.words, down.scales, down.bias),
            *(k, hidden, inner, tile.rows, tile.blocks, tile.chunks),
            **self.options,
            num_warps=tile.warps,
        )

    def _many(self, x: Tensor, normed: Tensor, indices: Tensor, shares: Tensor, gate_up: Packed, down: Packed) -> None:
        (tokens, k), hidden, inner = indices.shape, x.shape[1], down.words.shape[2] * 8
        n_experts, n_pairs = len(gate_up.words), indices.numel()
        chosen, order = indices.flatten().sort(stable=True)
        starts = torch.searchsorted(chosen, torch.arange(n_experts + 1, device=x.device))
        m = min(Tiles.many_pairs, max(16, triton.next_power_of_2(n_pairs // n_experts)))
        n_tiles = min(n_pairs, triton.cdiv(n_pairs, m) + n_experts)
        between = torch.empty((n_pairs, inner), dtype=x.dtype, device=x.device)
        parts = torch.empty((n_pairs, hidden), dtype=x.dtype, device=x.device)
        n, block = Tiles.many_outs, Tiles.many_block
        sizes = n_experts, triton.next_power_of_2(n_experts), m, n, block
        for projection, source, target, is_first in ((gate_up, normed, between, True), (down, between, parts, False)):
            width, outs = projection.words.shape[2] * 8, projection.words.shape[1]
            grouped.grouped[(triton.cdiv(outs, n), n_tiles)](
                *(source, order, starts, projection.words, projection.scales, projection.bias, shares, target),
                *(k, width, outs, *sizes, is_first),
                num_warps=4,
                num_stages=Tiles.many_stages,
            )
        grouped.sum_add[(tokens,)](x, parts, k, hidden, triton.next_power_of_2(hidden))


class NormHead:
    def __init__(self, plain: reference.NormHead) -> None:
        self.plain, self.options = plain, launch_options(plain.weight)
        self.places = torch.arange(FEW, device=plain.weight.device)

    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor:
        plain, n = self.plain, len(x) if rows is None else len(rows)
        if not n:
            return torch.empty((0, len(plain.weight)), dtype=torch.float32, device=x.device)
        if n > FEW:
            return F.linear(norm_rows(x, plain.norm, plain.eps, rows), plain.weight.to(x.dtype)).float()
        vocabulary, hidden = plain.weight.shape
        logits = torch.empty((n, vocabulary), dtype=torch.float32, device=x.device)
        linear.norm_head[(triton.cdiv(vocabulary, Tiles.head_rows * Tiles.head_tiles), n)](
            *(x, self.places if rows is None else rows, plain.norm, plain.weight, logits, vocabulary, plain.eps),
            *(hidden, Tiles.head_rows, Tiles.head_tiles, triton.next_power_of_2(hidden)),
            **self.options,
            num_warps=Tiles.head_warps,
        )
        return logits


def norm_rows(x: Tensor, norm: Tensor, eps: float, picked: Tensor | None = None) -> Tensor:
    """RMSNorm of all rows of x (tokens, hidden), or of those picked (n,) int64."""
    width, n = x.shape[1], len(x) if picked is None else len(picked)
    out = torch.empty((n, width), dtype=x.dtype, device=x.device)
    where = x if picked is None else picked
    rows.norm_rows[(n,)](x, where, norm, out, eps, width, triton.next_power_of_2(width), picked is not None)
    return out
