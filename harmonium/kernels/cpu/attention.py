"""Attention with sinks over pages: a kernel for rows with few new tokens, torch's blockwise one for prompts.

torch's gives each query's log-sum-exp with its result, so that a chunk's causal part and its earlier context are done
apart and joined, and the sink, a further column of the softmax, is put in at the end by scaling.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.dense import Floats
from harmonium.kernels.cpu.simd import exp

Pages = NDArray[np.int32]


MOST_NEW = 8
"""New tokens in a row up to which the kernel is faster than torch's blockwise attention."""


@inlined
def _score(
    q: Floats, k_cache: Floats, kv_head: int, pages: Pages, first: int, scale: np.float32, scores: Floats
) -> None:
    """scores (heads, n) of q (heads, head_dim) with the keys of one kv head, from position `first` on."""
    page_size = k_cache.shape[2]
    for j in range(scores.shape[1]):
        place = first + j
        key = k_cache[pages[place // page_size], kv_head, place % page_size]
        for head in range(len(q)):
            total = np.float32(0.0)
            for i in range(len(key)):
                total += q[head, i] * key[i]
            scores[head, j] = total * scale


@inlined
def _soften(scores: Floats, sink: np.float32) -> None:
    """Softmax of one head's scores in place, with the sink's share left out."""
    top, total = sink, np.float32(0.0)
    for j in range(len(scores)):
        top = max(top, scores[j])
    for j in range(len(scores)):
        scores[j] = exp(scores[j] - top)
        total += scores[j]
    total += exp(sink - top)
    for j in range(len(scores)):
        scores[j] /= total


@inlined
def _gather(weights: Floats, v_cache: Floats, kv_head: int, pages: Pages, first: int, out: Floats) -> None:
    """out (heads, head_dim) = weights (heads, n) times the values of one kv head, from position `first` on."""
    page_size = v_cache.shape[2]
    for head in range(len(out)):
        for i in range(out.shape[1]):
            out[head, i] = 0
    for j in range(weights.shape[1]):
        place = first + j
        value = v_cache[pages[place // page_size], kv_head, place % page_size]
        for head in range(len(out)):
            weight = weights[head, j]
            for i in range(len(value)):
                out[head, i] += weight * value[i]


@compiled
def attend_rows(
    q: Floats,
    k_cache: Floats,
    v_cache: Floats,
    sinks: Floats,
    window: int,
    table: Pages,
    starts: Pages,
    lengths: Pages,
    out: Floats,
) -> None:
    """Fills out (tokens, heads, head_dim) for rows of at most MOST_NEW new tokens; window 0 sees everything."""
    kv_heads, head_dim = k_cache.shape[1], k_cache.shape[3]
    groups = q.shape[1] // kv_heads
    scale = np.float32(1.0 / np.sqrt(head_dim))
    longest = 0
    for row in range(len(lengths)):
        longest = max(longest, lengths[row])
    scratch = np.empty(groups * longest, np.float32)
    for row in range(len(lengths)):
        start, stop = starts[row], starts[row + 1]
        if stop - start > MOST_NEW:
            continue
        for token in range(start, stop):
            end = lengths[row] - (stop - 1 - token)
            first = max(0, end - window) if window else 0
            scores = scratch[: groups * (end - first)].reshape(groups, end - first)
            for kv_head in range(kv_heads):
                heads = slice(kv_head * groups, (kv_head + 1) * groups)
                _score(q[token, heads], k_cache, kv_head, table[row], first, scale, scores)
                for head in range(groups):
                    _soften(scores[head], sinks[kv_head * groups + head])
                _gather(scores, v_cache, kv_head, table[row], first, out[token, heads])


def attend_chunk(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> Tensor:
    """Full causal attention of a row's new tokens, the last of its context.

    q (n_new, heads, head_dim), k and v (kv_heads, n_keys, head_dim). Returns q's shape.
    """
    n_new, heads, head_dim = q.shape
    kv_heads, n_keys, _ = k.shape
    groups, n_old = heads // kv_heads, n_keys - n_new
    mine = [x[:, n_old:].repeat_interleave(groups, 0) for x in (k, v)]  # (heads, n_new, head_dim)
    out, norms = _flash(q.transpose(0, 1), *mine, is_causal=True)  # (heads, n_new, head_dim), (heads, n_new)
    if n_old:
        grouped = q.view(n_new, kv_heads, groups, head_dim).permute(1, 2, 0, 3).reshape(kv_heads, -1, head_dim)
        old_out, old_norms = _flash(grouped, k[:, :n_old], v[:, :n_old])  # (kv_heads, groups * n_new, ...)
        old_out, old_norms = old_out.reshape(heads, n_new, head_dim), old_norms.reshape(heads, n_new)
        both = torch.logaddexp(norms, old_norms)
        out = out * (norms - both).exp().unsqueeze(-1) + old_out * (old_norms - both).exp().unsqueeze(-1)
        norms = both
    return (out * torch.sigmoid(norms - sinks[:, None]).unsqueeze(-1)).transpose(0, 1)


def attend_band(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int) -> Tensor:
    """Sliding attention of a row's new tokens in blocks of `window` queries, each block facing two such blocks of keys.

    q (n_new, heads, head_dim), k and v (kv_heads, n_keys, head_dim) end with the new tokens. Returns q's shape.
    """
    n_new, heads, head_dim = q.shape
    kv_heads, n_keys, _ = k.shape
    groups, n_blocks = heads // kv_heads, -(-n_new // window)
    behind, ahead = window - (n_keys - n_new), n_blocks * window - n_new
    blocks = F.pad(q, (0, 0, 0, 0, 0, ahead)).view(n_blocks, window, kv_heads, groups, head_dim)
    blocks = blocks.permute(0, 2, 3, 1, 4).reshape(n_blocks, kv_heads, groups * window, head_dim)
    bands = [  # (n_blocks, kv_heads, 2 * window, head_dim): the keys of the block before, and of the block
        F.pad(x, (0, 0, behind, ahead)).unfold(1, 2 * window, window).permute(1, 0, 3, 2) for x in (k, v)
    ]
    query, key = torch.arange(window)[:, None] + window, torch.arange(2 * window)
    seen = (key <= query) & (key > query - window)  # (window, 2 * window)
    is_there = torch.arange(n_blocks)[:, None, None] * window + key >= behind  # (n_blocks, 1, 2 * window)
    bias = torch.zeros(n_blocks, window, 2 * window).masked_fill(~(seen & is_there), float("-inf"))
    out, norms = _flash(blocks, *bands, attn_mask=bias.repeat(1, groups, 1).unsqueeze(1))
    sink = sinks.view(1, kv_heads, groups, 1).expand(-1, -1, -1, window).flatten(2)  # (1, kv_heads, groups * window)
    out = out * torch.sigmoid(norms - sink).unsqueeze(-1)
    out = out.view(n_blocks, kv_heads, groups, window, head_dim).permute(0, 3, 1, 2, 4)
    return out.reshape(n_blocks * window, heads, head_dim)[:n_new]


def _flash(
    q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool = False, attn_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Blockwise attention of (..., heads, n, head_dim), and each query's log of its sum of exponentials."""
    is_one = q.dim() == 3
    if is_one:
        q, k, v = q[None], k[None], v[None]
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, norms = flash(q, k, v, 0.0, is_causal, attn_mask=attn_mask)
    return (out[0], norms[0]) if is_one else (out, norms)
