"""Kernels around the dense matrices: norm, projections, rotation, cache write, routing, the head.

Each takes the state of the pool whose threads it shares its work with, and, but for the weights (`dots.Matrix`),
float32. Matrices are flat; how many rows they have is how many numbers are to be filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.dots import Matrix
from harmonium.kernels.cpu.pool import State, shared
from harmonium.kernels.cpu.products import Floats, multiply, multiply_three, pack_many
from harmonium.kernels.cpu.simd import exp

Integers = NDArray[np.int64]

TOKENS_PER_ITEM = 8


@shared
def _norm_tokens(item: int, x: Floats, weight: Floats, eps: float, out: Floats) -> None:
    for t in range(item * TOKENS_PER_ITEM, min((item + 1) * TOKENS_PER_ITEM, len(x))):
        total = np.float32(0.0)
        for i in range(x.shape[1]):
            total += x[t, i] * x[t, i]
        scale = np.float32(1.0) / np.sqrt(total / np.float32(x.shape[1]) + np.float32(eps))
        for i in range(x.shape[1]):
            out[t, i] = x[t, i] * scale * weight[i]


@inlined
def norm_rows(state: State, x: Floats, weight: Floats, eps: float, out: Floats) -> None:
    """RMSNorm of x (tokens, hidden) into out."""
    _norm_tokens(state, (len(x) + TOKENS_PER_ITEM - 1) // TOKENS_PER_ITEM, (x, weight, eps, out))


@inlined
def rotate(head: Floats, cos: Floats, sin: Floats, out: Floats) -> None:
    """Rotary embedding of one head; out may be head itself."""
    half = len(cos)
    for i in range(half):
        first, second = head[i], head[half + i]
        out[i] = first * cos[i] - second * sin[i]
        out[half + i] = second * cos[i] + first * sin[i]


@shared
def _rotate_store(
    item: int,
    q: Floats,
    k: Floats,
    v: Floats,
    cos: Floats,
    sin: Floats,
    slots: Integers,
    k_cache: Floats,
    v_cache: Floats,
) -> None:
    """Rotates q (tokens, heads * head_dim) in place; caches k, rotated, and v (tokens, kv_heads * head_dim)."""
    _, kv_heads, page_size, head_dim = k_cache.shape
    for t in range(item * TOKENS_PER_ITEM, min((item + 1) * TOKENS_PER_ITEM, len(q))):
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
    state: State,
    x: Floats,
    norm: Floats,
    eps: float,
    q_weights: tuple[Matrix, Floats],
    k_weights: tuple[Matrix, Floats],
    v_weights: tuple[Matrix, Floats],
    cos: Floats,
    sin: Floats,
    slots: Integers,
    k_cache: Floats,
    v_cache: Floats,
    q: Floats,
) -> None:
    """Fills q (tokens, heads * head_dim) and the slots of the caches (pages, kv_heads, page_size, head_dim)."""
    normed = np.empty_like(x)
    k = np.empty((len(x), len(k_weights[1])), np.float32)
    v = np.empty_like(k)
    norm_rows(state, x, norm, eps, normed)
    parts = ((q_weights[0], q_weights[1], q), (k_weights[0], k_weights[1], k), (v_weights[0], v_weights[1], v))
    multiply_three(state, normed, pack_many(state, normed), parts)
    n_items = (len(x) + TOKENS_PER_ITEM - 1) // TOKENS_PER_ITEM
    _rotate_store(state, n_items, (q, k, v, cos, sin, slots, k_cache, v_cache))


@compiled
def project_add(state: State, x: Floats, attended: Floats, weight: Matrix, bias: Floats) -> None:
    """x (tokens, hidden) += weight times attended (tokens, heads * head_dim) + bias."""
    multiply(state, attended, pack_many(state, attended), weight, bias, True, x)


@inlined
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
    state: State,
    x: Floats,
    norm: Floats,
    eps: float,
    weight: Matrix,
    bias: Floats,
    normed: Floats,
    indices: Integers,
    shares: Floats,
) -> None:
    """Fills normed (tokens, hidden), indices and shares (tokens, k)."""
    logits = np.empty((len(x), len(bias)), np.float32)
    norm_rows(state, x, norm, eps, normed)
    multiply(state, normed, pack_many(state, normed), weight, bias, False, logits)
    choose(logits, indices, shares)


@compiled
def norm_head(state: State, x: Floats, norm: Floats, eps: float, weight: Matrix, zeros: Floats, logits: Floats) -> None:
    """Fills logits (tokens, vocabulary)."""
    normed = np.empty_like(x)
    norm_rows(state, x, norm, eps, normed)
    multiply(state, normed, pack_many(state, normed), weight, zeros, False, logits)
