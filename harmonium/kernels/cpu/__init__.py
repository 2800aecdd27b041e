"""The operations on a CPU: numba kernels that share their work among threads and read each weight once.

Activations are float32. Weights stay as they come, float32, bfloat16 or int8 with scales, and experts packed; nothing
is copied. What the kernels leave to the reference: dense experts, matrices whose rows are no blocks of 32, and heads
whose size is no multiple of eight or of which more than 32 share a key. See `reference` for what each operation takes
and gives; x is overwritten here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.coded import CodedMatrix
from harmonium.kernels.cpu import attention, dense, experts, tile
from harmonium.kernels.cpu.dots import BLOCK, Matrix
from harmonium.kernels.cpu.pool import POOL
from harmonium.kernels.cpu.products import Floats
from harmonium.kernels.cpu.sampling import draw_row as draw_row
from harmonium.kernels.int8 import Int8Matrix
from harmonium.kernels.matrices import Matrix as AnyMatrix


def _floats(tensor: Tensor) -> Floats:
    """A float32 array of a tensor: a view where it is one already."""
    array: Floats = tensor.detach().float().contiguous().numpy()
    return array


def _matrix(matrix: AnyMatrix) -> Matrix:
    """A flat view of a matrix: of float32, of bfloat16's bits, coded or not, of int8, or of float32 made of another."""
    if isinstance(matrix, CodedMatrix):
        exceptions = (part.view(torch.uint16).numpy() for part in (matrix.columns, matrix.bits))
        return matrix.lines.view(-1).numpy(), matrix.bases.numpy(), matrix.starts.numpy(), *exceptions
    if isinstance(matrix, Int8Matrix):
        return matrix.codes.view(-1).numpy(), matrix.scales.view(-1).view(torch.uint16).numpy()
    flat = matrix.detach().contiguous().view(-1)
    return flat.view(torch.uint16).numpy() if flat.dtype == torch.bfloat16 else flat.float().numpy()


def _is_in_blocks(*weights: AnyMatrix) -> bool:
    """Whether the kernels can read rows of these (out, in); they take two at a time."""
    return all(weight.shape[1] % BLOCK == 0 and len(weight) > 1 for weight in weights)


class NormQKV:
    def __init__(self, plain: reference.NormQKV) -> None:
        self.plain = plain
        self.norm = _floats(plain.norm)
        self.weights = None
        if _is_in_blocks(plain.q, plain.k, plain.v):
            self.weights = (
                (_matrix(plain.q), _floats(plain.q_bias)),
                (_matrix(plain.k), _floats(plain.k_bias)),
                (_matrix(plain.v), _floats(plain.v_bias)),
            )

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> Tensor:
        if self.weights is None:
            return self.plain(x, cos, sin, k_cache, v_cache, slots)
        q = torch.empty(len(x), len(self.plain.q))
        dense.norm_qkv(
            *(POOL.state, x.numpy(), self.norm, self.plain.eps, *self.weights),
            *(cos.numpy(), sin.numpy(), slots.numpy(), k_cache.numpy(), v_cache.numpy(), q.numpy()),
        )
        return q.view(len(x), -1, self.plain.head_dim)


class Attend:
    def __init__(self, plain: reference.Attend) -> None:
        self.plain, self.sinks = plain, _floats(plain.sinks)

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, batch: StepBatch, group: PageGroup) -> Tensor:
        _, kv_heads, page_size, head_dim = k_cache.shape
        if head_dim % tile.ROWS or page_size % tile.ROWS or q.shape[1] > tile.WIDTH * kv_heads:
            return self.plain(q, k_cache, v_cache, batch, group)
        out = torch.empty_like(q)
        attention.attend(
            *(POOL.state, q.numpy(), k_cache.numpy(), v_cache.numpy(), self.sinks, self.plain.window or 0),
            *(group.table.numpy(), batch.query_starts.numpy(), batch.lengths.numpy(), out.numpy()),
        )
        return out


class ProjectAdd:
    def __init__(self, plain: reference.ProjectAdd) -> None:
        self.plain = plain
        self.weight = _matrix(plain.weight) if _is_in_blocks(plain.weight) else None
        self.bias = _floats(plain.bias)

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        if self.weight is None:
            return self.plain(x, attended)
        dense.project_add(POOL.state, x.numpy(), attended.flatten(1).numpy(), self.weight, self.bias)
        return x


class NormRoute:
    def __init__(self, plain: reference.NormRoute) -> None:
        self.plain = plain
        self.weight = _matrix(plain.weight) if _is_in_blocks(plain.weight) else None
        self.norm, self.bias = _floats(plain.norm), _floats(plain.bias)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plain = self.plain
        if self.weight is None:
            return plain(x)
        normed, shares = torch.empty_like(x), torch.empty(len(x), plain.k)
        indices = torch.empty(len(x), plain.k, dtype=torch.int64)
        dense.norm_route(
            *(POOL.state, x.numpy(), self.norm, plain.eps, self.weight, self.bias),
            *(normed.numpy(), indices.numpy(), shares.numpy()),
        )
        return normed, indices, shares


class ExpertsAdd:
    def __init__(self, plain: reference.ExpertsAdd) -> None:
        weights = plain.weights
        self.plain = plain
        self.packed: tuple[tuple[Matrix, Floats], tuple[Matrix, Floats]] | None = None
        if weights.gate_up_scales is not None and weights.down_scales is not None:
            self.packed = (
                (_packed(weights.gate_up, weights.gate_up_scales), _floats(weights.gate_up_bias)),
                (_packed(weights.down, weights.down_scales), _floats(weights.down_bias)),
            )

    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        if self.packed is None:
            return self.plain(x, normed, indices, weights)
        experts.experts_add(POOL.state, x.numpy(), normed.numpy(), indices.numpy(), weights.numpy(), *self.packed)
        return x


def _packed(blocks: Tensor, scales: Tensor) -> Matrix:
    """Flat views of blocks and scales."""
    return blocks.contiguous().view(-1).numpy(), scales.contiguous().view(-1).numpy()


class NormHead:
    def __init__(self, plain: reference.NormHead) -> None:
        self.plain = plain
        self.norm = _floats(plain.norm)
        self.weight = _matrix(plain.weight) if _is_in_blocks(plain.weight) else None
        self.zeros = np.zeros(len(plain.weight), np.float32)

    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor:
        if self.weight is None:
            return self.plain(x, rows)
        chosen = x if rows is None else x[rows]
        logits = torch.empty(len(chosen), len(self.zeros))
        dense.norm_head(POOL.state, chosen.numpy(), self.norm, self.plain.eps, self.weight, self.zeros, logits.numpy())
        return logits
