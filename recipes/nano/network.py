"""Two operations of nano's training that plain torch is too slow for on a GPU: packed attention and grouped experts.

Everything else is harmonium.model's own forward pass. Attention stays within a document and, in sliding layers, within
the window; its sink is applied after the fact: with the log-sum-exp l of the scores, a further column s of the softmax
scales the result by exp(l) / (exp(l) + exp(s)) = sigmoid(l - s). Experts sort the (token, choice) pairs by expert and
multiply each group by its own matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention
from torch.nn.functional import grouped_mm

from harmonium.kernels.reference import ExpertWeights, swiglu

BLOCK = 128
"""Tokens along a side of attention's sparse blocks."""
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int | None], Tensor]


def block_masks(document: Tensor, window: int) -> dict[bool, BlockMask]:
    """The masks of full (False) and sliding (True) layers.

    document: (batch, length), numbers of packed documents that never fall along a row; length is a multiple of BLOCK.
    Which blocks hold any visible pair follows from the first and last document of each.
    """
    blocks = document.unflatten(1, (-1, BLOCK))  # (batch, n, BLOCK)
    first, last = blocks[..., 0], blocks[..., -1]
    places = torch.arange(blocks.shape[1], device=document.device)
    behind = places[:, None] - places  # (n, n): how many blocks a key block lies behind a query block
    seen = (behind >= 0) & (last[:, None, :] >= first[:, :, None])  # (batch, n, n)
    near = seen & ((behind - 1) * BLOCK + 1 < window)

    def full(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (document[b, q] == document[b, k])

    def sliding(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return full(b, h, q, k) & (q - k < window)

    return {False: _block_mask(seen, full), True: _block_mask(near, sliding)}


def _block_mask(seen: Tensor, mask: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> BlockMask:
    """A sparse mask from the block pairs (batch, n, n) that are worth computing and the rule for pairs of tokens."""
    order = seen.to(torch.int32).argsort(dim=-1, descending=True, stable=True)
    counts = seen.sum(-1)
    return BlockMask.from_kv_blocks(
        counts[:, None].to(torch.int32), order[:, None].to(torch.int32), BLOCK_SIZE=BLOCK, mask_mod=mask
    )


def packed_attention(masks: dict[bool, BlockMask]) -> Attend:
    """An attend operation over packed rows. q: (batch, length, heads, d); k, v: (batch, length, kv_heads, d)."""

    def attend(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int | None) -> Tensor:
        values, aux = flex_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            block_mask=masks[window is not None],
            enable_gqa=True,
            return_aux=AuxRequest(lse=True),
        )
        assert aux.lse is not None
        scale = torch.sigmoid(aux.lse - sinks[:, None])  # (batch, heads, length)
        return (values * scale[..., None].to(values.dtype)).transpose(1, 2)

    return attend


class Dispatch(torch.autograd.Function):
    """Rows of x for each (token, choice) pair in the order of their experts; the gradient is a gather and a sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.k = k
        return x[order // k]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (inverse,) = ctx.saved_tensors
        return grad[inverse].unflatten(0, (-1, ctx.k)).sum(1), None, None, None


class Permute(torch.autograd.Function):
    """x[order] with gradient grad[inverse]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x[order]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grad[inverse], None, None


def grouped_experts(balance: list[Tensor]) -> Callable[[Tensor, Tensor, Tensor, ExpertWeights], Tensor]:
    """An experts operation; each call appends its load-balancing loss to balance.

    The loss is n_experts times the sum over experts of (share of choices) x (mean weight), 1 when all are used alike.
    Source: Fedus et al. 2021, arXiv:2101.03961, with the weights of the chosen experts as probabilities.
    """

    def experts(x: Tensor, indices: Tensor, weights: Tensor, layer: ExpertWeights) -> Tensor:
        tokens, k = indices.shape
        n_experts = layer.gate_up.shape[0]
        choice = indices.flatten()  # (tokens * k,)
        order = choice.argsort(stable=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(tokens * k, device=x.device))
        chosen = choice[order]
        one_hot = chosen[:, None] == torch.arange(n_experts, device=x.device)  # (tokens * k, experts)
        counts = one_hot.sum(0)
        ends = counts.cumsum(0).to(torch.int32)
        shares: Tensor = Permute.apply(weights.flatten(), order, inverse)  # type: ignore[no-untyped-call]
        mean_weight = (one_hot * shares[:, None]).sum(0) / tokens
        balance.append(n_experts * (counts / (tokens * k) * mean_weight).sum())

        kind = layer.gate_up.dtype
        # (tokens * k, hidden)
        rows: Tensor = Dispatch.apply(x.to(kind), order, inverse, k)  # type: ignore[no-untyped-call]
        # A product with one-hot rows picks biases as indexing does; its gradient is a product too, not a scatter.
        pick = one_hot.to(kind)
        inner = swiglu(grouped_mm(rows, layer.gate_up, offs=ends) + pick @ layer.gate_up_bias.to(kind))
        outer = grouped_mm(inner.to(kind), layer.down, offs=ends) + pick @ layer.down_bias.to(kind)
        back: Tensor = Permute.apply(outer, inverse, order)  # type: ignore[no-untyped-call]
        weighted: Tensor = back.unflatten(0, (tokens, k)) * weights[..., None]
        return weighted.sum(1)

    return experts
