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


@inlined
def normalize(x: Floats, weight: Floats, eps: float, out: Floats) -> None:
    """RMSNorm of one token."""
    total = np.float32(0.0)
    for i in range(len(x)):
        total += x[i] * x[i]
    scale = np.float32(1.0) / np.sqrt(total / np.float32(len(x)) + np.float32(eps))
    for i in range(len(x)):
        out[i] = x[i] * scale * weight[i]


@inlined
def row_dot(row: Weights, x: Floats) -> np.float32:
    total = np.float32(0.0)
    for i in range(len(x)):
        total += widen(row[i]) * x[i]
    return total


@inlined
def rotate(head: Floats, cos: Floats, sin: Floats) -> None:
    """Rotary embedding of one head, in place."""
    half = len(cos)
    for i in range(half):
        first, second = head[i], head[half + i]
        head[i] = first * cos[i] - second * sin[i]
        head[half + i] = second * cos[i] + first * sin[i]


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
    """Fills q (tokens, heads, head_dim) and the slots of the caches (pages, kv_heads, page_size, head_dim)."""
    kv_heads, page_size, head_dim = k_cache.shape[1:]
    normed = np.empty(x.shape[1], np.float32)
    for t in range(len(x)):
        normalize(x[t], norm, eps, normed)
        for head in range(q.shape[1]):
            for i in range(head_dim):
                row = head * head_dim + i
                q[t, head, i] = row_dot(weights[0][row], normed) + biases[0][row]
            rotate(q[t, head], cos[t], sin[t])
        page, offset = slots[t] // page_size, slots[t] % page_size
        for head in range(kv_heads):
            k, v = k_cache[page, head, offset], v_cache[page, head, offset]
            for i in range(head_dim):
                row = head * head_dim + i
                k[i] = row_dot(weights[1][row], normed) + biases[1][row]
                v[i] = row_dot(weights[2][row], normed) + biases[2][row]
            rotate(k, cos[t], sin[t])


@compiled
def project_add(x: Floats, attended: Floats, weight: Weights, bias: Floats) -> None:
    """x (tokens, hidden) += weight @ attended (tokens, heads * head_dim) + bias."""
    for t in range(len(x)):
        for row in range(x.shape[1]):
            x[t, row] += row_dot(weight[row], attended[t]) + bias[row]


@compiled
def norm_rows(x: Floats, weight: Floats, eps: float, out: Floats) -> None:
    for t in range(len(x)):
        normalize(x[t], weight, eps, out[t])


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
    """Fills normed (tokens, hidden), indices and shares (tokens, k), best expert first."""
    k = indices.shape[1]
    logits = np.empty(len(bias), np.float32)
    for t in range(len(x)):
        normalize(x[t], norm, eps, normed[t])
        for expert in range(len(bias)):
            logits[expert] = row_dot(weight[expert], normed[t]) + bias[expert]
        top, total = logits.max(), np.float32(0.0)
        for choice in range(k):
            best = np.argmax(logits)
            indices[t, choice] = best
            shares[t, choice] = exp(logits[best] - top)
            total += shares[t, choice]
            logits[best] = -np.inf
        for choice in range(k):
            shares[t, choice] /= total
