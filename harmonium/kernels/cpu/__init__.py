"""The operations on a CPU: numba kernels for few tokens, torch's matrix products for many.

Activations are float32. Dense weights stay in float32 or bfloat16 as they come, experts stay packed. See `reference`
for what each operation takes and gives; x is overwritten here.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.cpu import attention, dense, experts
from harmonium.kernels.cpu.dense import Floats, Weights

FEW = 16
"""Tokens up to which matrix-vector kernels beat torch's matrix products."""
FEW_PER_EXPERT = 16
"""Tokens of one expert, on average, up to which packed products beat decoding the expert first."""


def _floats(tensor: Tensor) -> Floats:
    """A float32 array of a tensor: a view where it is one already."""
    array: Floats = tensor.detach().float().contiguous().numpy()
    return array


def _matrix(tensor: Tensor) -> Weights:
    """A view of a float32 matrix, or of a bfloat16 one as uint16."""
    tensor = tensor.detach().contiguous()
    array: Weights = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor.float()).numpy()
    return array


class NormQKV:
    def __init__(self, plain: reference.NormQKV) -> None:
        self.plain = plain
        self.norm = _floats(plain.norm)
        self.weights = (_matrix(plain.q), _matrix(plain.k), _matrix(plain.v))
        self.biases = (_floats(plain.q_bias), _floats(plain.k_bias), _floats(plain.v_bias))

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> Tensor:
        plain = self.plain
        angles_and_cache = (cos.numpy(), sin.numpy(), slots.numpy(), k_cache.numpy(), v_cache.numpy())
        if len(x) <= FEW:
            q = torch.empty(len(x), len(plain.q))
            dense.norm_qkv(x.numpy(), self.norm, plain.eps, self.weights, self.biases, *angles_and_cache, q.numpy())
        else:
            normed = _normed(x, self.norm, plain.eps)
            q = reference.linear(normed, plain.q, plain.q_bias)
            k, v = reference.linear(normed, plain.k, plain.k_bias), reference.linear(normed, plain.v, plain.v_bias)
            dense.rotate_store(q.numpy(), k.numpy(), v.numpy(), *angles_and_cache)
        return q.view(len(x), -1, plain.head_dim)


class Attend:
    def __init__(self, plain: reference.Attend) -> None:
        self.sinks, self.window = plain.sinks.detach().float(), plain.window

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, batch: StepBatch, group: PageGroup) -> Tensor:
        out = torch.empty_like(q)
        starts, lengths = batch.query_starts.numpy(), batch.lengths.numpy()
        attention.attend_rows(
            *(q.numpy(), k_cache.numpy(), v_cache.numpy(), self.sinks.numpy(), self.window or 0),
            *(group.table.numpy(), starts, lengths, out.numpy()),
        )
        if batch.max_query <= attention.MOST_NEW:
            return out
        for row in np.flatnonzero(np.diff(starts) > attention.MOST_NEW).tolist():
            span = slice(int(starts[row]), int(starts[row + 1]))
            out[span] = self._attend_prompt(q[span], k_cache, v_cache, group.table[row], int(lengths[row]))
        return out

    def _attend_prompt(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, table: Tensor, length: int) -> Tensor:
        page_size = k_cache.shape[2]
        first = 0 if self.window is None else max(0, length - len(q) - self.window + 1) // page_size
        pages = table[first : -(-length // page_size)]
        k, v = (  # (kv_heads, n_keys, head_dim)
            cache.index_select(0, pages).transpose(0, 1).flatten(1, 2)[:, : length - first * page_size]
            for cache in (k_cache, v_cache)
        )
        if self.window is None or length <= self.window:
            return attention.attend_chunk(q, k, v, self.sinks)
        return attention.attend_band(q, k, v, self.sinks, self.window)


class ProjectAdd:
    def __init__(self, plain: reference.ProjectAdd) -> None:
        self.plain = plain
        self.weight, self.bias = _matrix(plain.weight), _floats(plain.bias)

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        if len(x) > FEW:
            return self.plain(x, attended)
        dense.project_add(x.numpy(), attended.flatten(1).numpy(), self.weight, self.bias)
        return x


class NormRoute:
    def __init__(self, plain: reference.NormRoute) -> None:
        self.plain = plain
        self.norm, self.weight, self.bias = _floats(plain.norm), _matrix(plain.weight), _floats(plain.bias)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plain = self.plain
        indices, shares = torch.empty(len(x), plain.k, dtype=torch.int64), torch.empty(len(x), plain.k)
        choice = (indices.numpy(), shares.numpy())
        if len(x) <= FEW:
            normed = torch.empty_like(x)
            dense.norm_route(x.numpy(), self.norm, plain.eps, self.weight, self.bias, normed.numpy(), *choice)
        else:
            normed = _normed(x, self.norm, plain.eps)
            dense.choose(reference.linear(normed, plain.weight, plain.bias).numpy(), *choice)
        return normed, indices, shares


class ExpertsAdd:
    """Packed: tokens one by one or, where experts get many each, one expert decoded at a time. Dense: the reference."""

    def __init__(self, plain: reference.ExpertsAdd) -> None:
        weights = plain.weights
        self.plain, self.n_experts = plain, weights.n_experts
        self.packed: tuple[Packed, Packed] | None = None
        if weights.gate_up_scales is not None and weights.down_scales is not None:
            self.packed = (
                _packed(weights.gate_up, weights.gate_up_scales, weights.gate_up_bias),
                _packed(weights.down, weights.down_scales, weights.down_bias),
            )

    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        if self.packed is None:
            return self.plain(x, normed, indices, weights)
        if indices.numel() > FEW_PER_EXPERT * self.n_experts:
            return self._many(x, normed, indices, weights, *self.packed)
        experts.experts_add(x.numpy(), normed.numpy(), indices.numpy(), weights.numpy(), *self.packed)
        return x

    def _many(
        self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor, gate_up: Packed, down: Packed
    ) -> Tensor:
        k, hidden = indices.shape[1], x.shape[1]
        order = indices.flatten().argsort(stable=True)  # pairs of token and choice, by expert
        counts = torch.bincount(indices.flatten(), minlength=self.n_experts).tolist()
        rows, outer = normed[order // k], torch.empty(len(order), hidden)
        start = 0
        for expert, count in enumerate(counts):
            if not count:
                continue
            mine = slice(start, start := start + count)
            pairs = F.linear(rows[mine], _decoded(gate_up, expert, hidden))  # (count, 2 * intermediate)
            inner = torch.empty(count, pairs.shape[1] // 2)
            experts.swiglu(pairs.numpy(), gate_up[2][expert], inner.numpy())
            matrix = _decoded(down, expert, inner.shape[1])
            torch.addmm(torch.from_numpy(down[2][expert]), inner, matrix.t(), out=outer[mine])
        # Added up once: a sum per expert wakes torch's threads for nearly nothing.
        by_choice = torch.empty_like(outer)
        by_choice[order] = outer
        x += torch.bmm(weights.unsqueeze(1), by_choice.view(-1, k, hidden)).squeeze(1)
        return x


Packed = tuple[NDArray[np.uint8], NDArray[np.uint8], Floats]


def _packed(blocks: Tensor, scales: Tensor, bias: Tensor) -> Packed:
    """Flat views of blocks and scales, and the bias (experts, out)."""
    return blocks.contiguous().view(-1).numpy(), scales.contiguous().view(-1).numpy(), _floats(bias)


def _decoded(packed: Packed, expert: int, width: int) -> Tensor:
    """One expert's matrix, (out, width)."""
    blocks, scales, bias = packed
    out = torch.empty(bias.shape[1], width)
    start, stop = (i * out.numel() // 32 for i in (expert, expert + 1))
    experts.decode(blocks[start * 16 : stop * 16], scales[start:stop], out.view(-1).numpy())
    return out


class NormHead:
    def __init__(self, plain: reference.NormHead) -> None:
        self.plain = plain
        self.norm, self.weight = _floats(plain.norm), _matrix(plain.weight)
        self.zeros = np.zeros(len(plain.weight), np.float32)

    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor:
        chosen = x if rows is None else x[rows]
        if len(chosen) > FEW:
            return reference.linear(_normed(chosen, self.norm, self.plain.eps), self.plain.weight)
        logits = torch.empty(len(chosen), len(self.zeros))
        dense.norm_head(chosen.numpy(), self.norm, self.plain.eps, self.weight, self.zeros, logits.numpy())
        return logits


def _normed(x: Tensor, norm: Floats, eps: float) -> Tensor:
    normed = torch.empty_like(x)
    dense.norm_rows(x.numpy(), norm, eps, normed.numpy())
    return normed
