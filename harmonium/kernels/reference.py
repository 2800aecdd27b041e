"""Every operation in plain torch: the specification that backends are tested against, differentiable where it trains.

First the small pure functions, then the six fused operations over the paged cache. An operation is an object: built
once from a layer's tensors (a backend arranges them as it likes), then called at every step. Rows of a step are
gathered one by one here, which is plain and slow.

Source of the formulas: openai/gpt-oss, gpt_oss/torch/model.py.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.matrices import Matrix

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""The values of the sixteen four-bit codes. Source: OCP Microscaling Formats (MX) v1.0, table 5."""

SWIGLU_LIMIT, SWIGLU_ALPHA = 7.0, 1.702


@dataclass(frozen=True)
class ExpertWeights:
    """One layer's experts: dense matrices, or packed MXFP4 where the scales are given.

    Dense: gate_up (experts, hidden, 2 * intermediate), down (experts, intermediate, hidden), in any float type.
    Packed: gate_up (experts, 2 * intermediate, hidden / 32, 16) and down (experts, hidden, intermediate / 32, 16)
    uint8, each with scales of the same shape less the last axis. gate_up interleaves gate (even) and up (odd).
    """

    gate_up: Tensor
    gate_up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    gate_up_scales: Tensor | None = None
    down_scales: Tensor | None = None

    @property
    def is_packed(self) -> bool:
        return self.gate_up_scales is not None

    @property
    def n_experts(self) -> int:
        return len(self.gate_up)

    @property
    def device(self) -> torch.device:
        return self.gate_up.device

    def matrices(self, expert: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """One expert's gate_up (hidden, 2 * intermediate) and down (intermediate, hidden), decoded where packed."""
        if self.gate_up_scales is None or self.down_scales is None:
            return self.gate_up[expert].to(dtype), self.down[expert].to(dtype)
        gate_up = decode_mxfp4(self.gate_up[expert], self.gate_up_scales[expert], dtype)
        return gate_up.t(), decode_mxfp4(self.down[expert], self.down_scales[expert], dtype).t()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., hidden) over its root mean square, times weight; computed in float32, returned in x's dtype."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * weight.float()).to(x.dtype)


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates x (..., heads, head_dim), whose halves are the pairs, by angles given as cos, sin (..., head_dim / 2)."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)  # (..., 1, head_dim / 2)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def linear(x: Tensor, weight: Matrix, bias: Tensor | None = None) -> Tensor:
    """x (..., in) times weight (out, in) plus bias, in x's dtype whatever the weights are kept in."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def visible(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """Which of keys (n_keys,) each of queries (n_queries,) sees, all positions: past and itself, within the window."""
    distance = queries[:, None] - keys  # (n_queries, n_keys)
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention with one more logit per head, the sink, that takes weight and gives no value.

    q (batch, n_queries, heads, head_dim); k, v (batch, n_keys, kv_heads, head_dim); sinks (heads,); mask, true where a
    query sees a key, broadcastable to (batch, 1, n_queries, n_keys). Returns q's shape and dtype.
    """
    batch, n_queries, heads, head_dim = q.shape
    groups = heads // k.shape[2]
    k = k.transpose(1, 2).repeat_interleave(groups, dim=1)  # (batch, heads, n_keys, head_dim)
    v = v.transpose(1, 2).repeat_interleave(groups, dim=1)
    scores = (q.transpose(1, 2) @ k.transpose(2, 3)).float() * head_dim**-0.5  # (batch, heads, n_queries, n_keys)
    scores = scores.masked_fill(~mask, float("-inf"))
    sink = sinks.float().view(1, heads, 1, 1).expand(batch, heads, n_queries, 1)
    weights = torch.cat((scores, sink), dim=-1).softmax(dim=-1)[..., :-1]
    return (weights.to(v.dtype) @ v).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int | None) -> Tensor:
    """Causal attention over whole sequences: q (batch, length, heads, head_dim), k and v with kv_heads heads."""
    places = torch.arange(q.shape[1], device=q.device)
    return masked_attention(q, k, v, sinks, visible(places, places, window))


def route(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best experts of each token, (tokens, k) int64, and their weights: a float32 softmax over those k only."""
    best, indices = torch.topk(logits, k, dim=-1)
    return indices, best.float().softmax(dim=-1)


def swiglu(gate_up: Tensor, limit: float = SWIGLU_LIMIT, alpha: float = SWIGLU_ALPHA) -> Tensor:
    """Clamped SwiGLU on interleaved pairs: gate_up (..., 2 * d), gate at even and up at odd positions, to (..., d)."""
    gate, up = gate_up[..., 0::2].clamp(max=limit), gate_up[..., 1::2].clamp(-limit, limit)
    return (up + 1) * gate * torch.sigmoid(alpha * gate)


def decode_mxfp4(blocks: Tensor, scales: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """blocks (..., n, 16) uint8 and scales (..., n) uint8 to (..., 32 * n) values, exact in bfloat16 and float32.

    Byte j of a block holds value 2j in its low and 2j + 1 in its high four bits; a scale s stands for 2 ** (s - 127).
    """
    pairs = F.embedding(blocks.int(), _byte_values(blocks.device))  # (..., n, 16, 2)
    powers = torch.ldexp(torch.ones_like(scales, dtype=torch.float32), scales.int() - 127)  # (..., n)
    return (pairs.flatten(-2) * powers.unsqueeze(-1)).flatten(-2).to(dtype)


@functools.cache
def _byte_values(device: torch.device) -> Tensor:
    """(256, 2) float32: the two values in each byte."""
    return torch.tensor([(E2M1[byte & 15], E2M1[byte >> 4]) for byte in range(256)], device=device)


def experts(x: Tensor, indices: Tensor, weights: Tensor, layer: ExpertWeights) -> Tensor:
    """Each token's chosen experts, summed by weight: x (tokens, hidden), indices and weights (tokens, k) to x's shape.

    Tokens are grouped by expert, so sizes depend on the data; compiled training passes its own form.
    """
    out = torch.zeros_like(x)
    for expert in sorted(set(indices.flatten().tolist())):
        tokens, choice = torch.where(indices == expert)
        gate_up, down = layer.matrices(expert, x.dtype)
        inner = swiglu(x[tokens] @ gate_up + layer.gate_up_bias[expert].to(x.dtype))
        outer = inner @ down + layer.down_bias[expert].to(x.dtype)
        out = out.index_add(0, tokens, (outer * weights[tokens, choice].unsqueeze(-1)).to(x.dtype))
    return out


@dataclass(frozen=True)
class NormQKV:
    """x -> q, with k and v written to the cache: norm, projections with bias, rotation of q and k.

    norm (hidden,); q (heads * head_dim, hidden); k, v (kv_heads * head_dim, hidden); biases of their first sizes.
    """

    norm: Tensor
    q: Matrix
    q_bias: Tensor
    k: Matrix
    k_bias: Tensor
    v: Matrix
    v_bias: Tensor
    head_dim: int
    eps: float

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor) -> Tensor:
        """x (tokens, hidden); cos, sin (tokens, head_dim / 2); slots (tokens,). Returns (tokens, heads, head_dim)."""
        normed = rms_norm(x, self.norm, self.eps)
        heads = (len(x), -1, self.head_dim)
        q = rope(linear(normed, self.q, self.q_bias).view(heads), cos, sin)
        k = rope(linear(normed, self.k, self.k_bias).view(heads), cos, sin)
        v = linear(normed, self.v, self.v_bias).view(heads)
        page_size = k_cache.shape[2]
        k_cache[slots // page_size, :, slots % page_size] = k.to(k_cache.dtype)
        v_cache[slots // page_size, :, slots % page_size] = v.to(v_cache.dtype)
        return q


@dataclass(frozen=True)
class Attend:
    """Attention of a step's new tokens to their rows' cached context, themselves included. sinks (heads,)."""

    sinks: Tensor
    window: int | None

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, batch: StepBatch, group: PageGroup) -> Tensor:
        """q (tokens, heads, head_dim) to the same shape. Of a sliding layer only pages in reach are read."""
        out = torch.empty_like(q)
        starts, lengths = batch.query_starts.tolist(), batch.lengths.tolist()
        for row, length in enumerate(lengths):
            start, stop = starts[row], starts[row + 1]
            if start == stop:
                continue
            keys, k, v = self._context(k_cache, v_cache, group.table[row], length, stop - start)
            mask = visible(batch.positions[start:stop], keys, self.window)
            out[start:stop] = masked_attention(q[None, start:stop], k, v, self.sinks, mask)[0]
        return out

    def _context(
        self, k_cache: Tensor, v_cache: Tensor, table: Tensor, length: int, n_new: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Positions (n_keys,) that the row's new tokens may see, and their k and v (1, n_keys, kv_heads, head_dim)."""
        page_size = k_cache.shape[2]
        first = 0 if self.window is None else max(0, length - n_new - self.window + 1) // page_size
        pages = table[first : -(-length // page_size)].long()
        keys = torch.arange(first * page_size, length, device=table.device)
        k, v = (
            cache[pages].transpose(1, 2).flatten(0, 1)[None, : len(keys)]  # (1, n_keys, kv_heads, head_dim)
            for cache in (k_cache, v_cache)
        )
        return keys, k, v


@dataclass(frozen=True)
class ProjectAdd:
    """Adds the attention's output projection to the residual stream. weight (hidden, heads * head_dim)."""

    weight: Matrix
    bias: Tensor

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """x (tokens, hidden), which may be overwritten; attended (tokens, heads, head_dim). Returns the new x."""
        return x + linear(attended.flatten(-2), self.weight, self.bias)


@dataclass(frozen=True)
class NormRoute:
    """Norm before the experts, and the choice of experts. norm (hidden,), weight (experts, hidden), bias (experts,)."""

    norm: Tensor
    weight: Tensor
    bias: Tensor
    k: int
    eps: float

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (tokens, hidden) to: normed x, indices (tokens, k) int64, weights (tokens, k) float32."""
        normed = rms_norm(x, self.norm, self.eps)
        indices, weights = route(linear(normed, self.weight, self.bias), self.k)
        return normed, indices, weights


@dataclass(frozen=True)
class ExpertsAdd:
    """Adds the chosen experts' weighted outputs to the residual stream."""

    weights: ExpertWeights

    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """x, normed (tokens, hidden), x may be overwritten; indices, weights (tokens, k). Returns the new x."""
        return x + experts(normed, indices, weights, self.weights)


@dataclass(frozen=True)
class NormHead:
    """Last norm and vocabulary projection, only where asked. norm (hidden,), weight (vocabulary, hidden)."""

    norm: Tensor
    weight: Matrix
    eps: float

    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """x (tokens, hidden), rows (n,) int64 or None for all. Returns logits (n, vocabulary) float32."""
        chosen = x if rows is None else x[rows]
        return linear(rms_norm(chosen, self.norm, self.eps), self.weight).float()
