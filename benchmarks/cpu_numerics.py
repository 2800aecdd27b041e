"""How far each layer of a CPU's kernels is from float32; `cpu_accuracy` has all of them together.

Each layer is fed the reference's input and its choice of experts, because a choice that falls otherwise changes
everything after it; its error is that of what it adds to the residual stream, root mean square over root mean square.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.model import rope
from harmonium.model.checkpoint import Checkpoint
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import LayerWeights, Transformer

N_TOKENS = 64


def _batch(n: int) -> StepBatch:
    positions = torch.arange(n)
    table = torch.arange(-(-n // PAGE_SIZE), dtype=torch.int32)[None]
    group = PageGroup(table, positions.clone())
    lengths = torch.tensor([n], dtype=torch.int32)
    return StepBatch(positions, torch.tensor([0, n], dtype=torch.int32), lengths, group, group, n, n)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _float32(layer: LayerWeights) -> LayerWeights:
    """The checkpoint's layer with everything but packed experts in float32."""
    floats: dict[str, Any] = {name: value.float() for name, value in vars(layer).items() if isinstance(value, Tensor)}
    return replace(layer, **floats)


@torch.no_grad()
def layer_errors(model: Transformer, source: Checkpoint) -> dict[str, float]:
    """The largest of all layers' errors, of attention's half and of the experts', for a prompt and its last token."""
    exact = Transformer.load(source)
    model.prepare()
    config, batch, eps = model.config, _batch(N_TOKENS), model.config.rms_eps
    cos, sin = rope.tables(batch.positions, model.frequencies, model.temperature)
    x = torch.randn(N_TOKENS, config.hidden_size)
    worst = {"attention": 0.0, "experts": 0.0}
    n_pages = -(-N_TOKENS // PAGE_SIZE)
    for i, (given, ours) in enumerate(zip(exact.weights.layers, model._layers, strict=True)):
        w = _float32(given)
        group = batch.full if model.window(i) is None else batch.sliding
        (k, v), (our_k, our_v) = torch.zeros(2, 2, n_pages, config.n_kv_heads, PAGE_SIZE, config.head_dim)
        plain = reference.NormQKV(w.attention_norm, w.q, w.q_bias, w.k, w.k_bias, w.v, w.v_bias, config.head_dim, eps)
        q = plain(x, cos, sin, k, v, group.slots)
        attended = reference.Attend(w.sinks, model.window(i))(q, k, v, batch, group)
        expected = reference.ProjectAdd(w.o, w.o_bias)(torch.zeros_like(x), attended)
        our_q = ours.qkv(x, cos, sin, our_k, our_v, group.slots)
        found, *_ = ours.project_route(torch.zeros_like(x), ours.attend(our_q, our_k, our_v, batch, group))
        worst["attention"] = max(worst["attention"], _relative(found, expected), _relative(found[-1], expected[-1]))
        x = x + expected
        normed, indices, shares = reference.NormRoute(
            w.mlp_norm, w.router, w.router_bias, config.experts_per_token, eps
        )(x)
        expected = reference.ExpertsAdd(w.experts)(torch.zeros_like(x), normed, indices, shares)
        found = ours.experts(torch.zeros_like(x), normed, indices, shares)
        last = ours.experts(torch.zeros(1, config.hidden_size), normed[-1:].clone(), indices[-1:], shares[-1:])
        worst["experts"] = max(worst["experts"], _relative(found, expected), _relative(last[0], expected[-1]))
        x = x + expected
    for name, value in worst.items():
        print(f"  {'error of ' + name + ', worst layer':<40} {value:>9.2e}")
    return {f"{name}_error": value for name, value in worst.items()}
