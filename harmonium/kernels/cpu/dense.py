"""Kernels around the dense matrices, for few tokens: norm, projections, rotation, cache write, routing.

Weights are (out, in), float32 or the uint16 bits of bfloat16; everything else is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.simd import exp, widen

Floats = NDArray[np.float32]
Weights = NDArray[Any]
Integers = NDArray[np.int64]


@compiled
def norm_rows(x: Floats, weight: Floats, eps: float, out: Floats) -> None:
    """RMSNorm of x (tokens, hidden) into out."""
    for t in range(len(x)):
        total = np.float32(0.0)
        for i in range(x.shape[1]):
            total += x[t, i] * x[t, i]
        scale = np.float32(1.0) / np.sqrt(total / np.float32(x.shape[1]) + np.float32(eps))
        for i in range(x.shape[1]):
            out[t, i] = x[t, i] * scale * weight[i]


@inlined
def multiply(x: Floats, weight: Weights, bias: Floats, out: Floats) -> None:
    """out (tokens, rows) = x (tokens, width) times weight (rows, width) + bias; a row is read once for all tokens."""
    for row in range(len(weight)):
        for t in range(len(x)):
            total = bias[row]
            for i in range(x.shape[1]):
                total += widen(weight[row, i]) * x[t, i]
            out[t, row] = total


@inlined
def rotate(head: Floats, cos: Floats, sin: Floats, out: Floats) -> None:
    """Rotary embedding of one head; out may be head itself."""
    half = len(cos)
    for i in range(half):
        first, second = head[i], head[half + i]
        out[i] = first * cos[i] - second * sin[i]
        out[half + i] = second * cos[i] + first * sin[i]


@compiled
def rotate_store(
    q: Floats, k: Floats, v: Floats, cos: Floats, sin: Floats, slots: Integers, k_cache: Floats, v_cache: Floats
) -> None:
    """Rotates q (tokens, heads * head_dim) in place; caches k, rotated, and v (tokens, kv_heads * head_dim)."""
    _, kv_heads, page_size, head_dim = k_cache.shape
    for t in range(len(q)):
        for start in range(0, q.shape[1], head_dim):
            head = q[t, start : start + head_dim]
            rotate(head, cos[t], sin[t], head)
        page, offset = slots[t] // page_size, slots[t] % page_size
        for kv_head in range(kv_heads):
            start = kv_head * head_dim
            rotate(k[t, start : start + head_dim], cos[t], sin[t], k_cache[page, kv_head, offset])
            for i in range(head_dim):
                v_cache[page, kv_head, offset, i] = v[t, start + i]


@compiled
def norm_qkv(
    x: Floats,
    norm: Floats,
    eps: float,
    weights: tuple[Weights, Weights, Weights],
    biases: tuple[Floats, Floats, Floats],
    cos: Floats,
    sin: Floats,
    slots: Integers,
    k_cache: Floats,
    v_cache: Floats,
    q: Floats,
) -> None:
    """Fills q (tokens, heads * head_dim) and the slots of the caches (pages, kv_heads, page_size, head_dim)."""
    normed = np.empty_like(x)
    k = np.empty((len(x), len(biases[1])), np.float32)
    v = np.empty_like(k)
    norm_rows(x, norm, eps, normed)
    multiply(normed, weights[0], biases[0], q)
    multiply(normed, weights[1], biases[1], k)
    multiply(normed, weights[2], biases[2], v)
    rotate_store(q, k, v, cos, sin, slots, k_cache, v_cache)


@compiled
def project_add(x: Floats, attended: Floats, weight: Weights, bias: Floats) -> None:
    """x (tokens, hidden) += weight times attended (tokens, heads * head_dim) + bias."""
    projected = np.empty_like(x)
    multiply(attended, weight, bias, projected)
    for t in range(len(x)):
        for i in range(x.shape[1]):
            x[t, i] += projected[t, i]


@compiled
def choose(logits: Floats, indices: Integers, shares: Floats) -> None:
    """Fills indices and shares (tokens, k), best expert first; destroys logits (tokens, experts)."""
    for t in range(len(logits)):
        top, total = np.float32(0.0), np.float32(0.0)
        for choice in range(indices.shape[1]):
            best = 0
            for expert in range(1, logits.shape[1]):
                best = expert if logits[t, expert] > logits[t, best] else best
            top = logits[t, best] if choice == 0 else top
            indices[t, choice] = best
            shares[t, choice] = exp(logits[t, best] - top)
            total += shares[t, choice]
            logits[t, best] = -np.inf
        for choice in range(indices.shape[1]):
            shares[t, choice] /= total


@compiled
def norm_route(
    x: Floats,
    norm: Floats,
    eps: float,
    weight: Weights,
    bias: Floats,
    normed: Floats,
    indices: Integers,
    shares: Floats,
) -> None:
    """Fills normed (tokens, hidden), indices and shares (tokens, k)."""
    logits = np.empty((len(x), len(bias)), np.float32)
    norm_rows(x, norm, eps, normed)
    multiply(normed, weight, bias, logits)
    choose(logits, indices, shares)


@compiled
def norm_head(x: Floats, norm: Floats, eps: float, weight: Weights, zeros: Floats, logits: Floats) -> None:
    """Fills logits (tokens, vocabulary)."""
    normed = np.empty_like(x)
    norm_rows(x, norm, eps, normed)
    multiply(normed, weight, zeros, logits)
