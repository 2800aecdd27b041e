"""gpt-oss on one screen: a mixture-of-experts transformer with attention sinks and alternating windows.

A token's vector passes n_layers times through attention (RMSNorm, rotary q and k, grouped key/value heads, one sink per
head; every other layer sees only the last 128 tokens) and through experts (RMSNorm, the 4 best of 32 or 128 small
clamped-SwiGLU networks, weighted), each added to what came in. `forward` is that, whole sequences at once and
differentiable; `step` is the same over a paged cache, through the device's fused kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harmonium import kernels
from harmonium.errors import BadCheckpoint
from harmonium.kernels import reference
from harmonium.kernels.batch import StepBatch
from harmonium.kernels.matrices import Matrix
from harmonium.kernels.reference import ExpertWeights, linear, rms_norm
from harmonium.model import rope
from harmonium.model.config import PAGE_SIZE, ModelConfig
from harmonium.model.layout import INT8_NAMES

if TYPE_CHECKING:
    from harmonium.model.checkpoint import Checkpoint

Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int | None], Tensor]
"""(q (batch, length, heads, head_dim), k and v with kv_heads heads, sinks (heads,), window) to q's shape."""
Experts = Callable[[Tensor, Tensor, Tensor, ExpertWeights], Tensor]
"""(x (tokens, hidden), indices (tokens, k), weights (tokens, k), the layer's experts) to x's shape."""


@dataclass
class LayerWeights:
    """One layer's tensors; matrices are (out, in), as in the checkpoint. Those of attention need be no tensors."""

    attention_norm: Tensor
    q: Matrix
    q_bias: Tensor
    k: Matrix
    k_bias: Tensor
    v: Matrix
    v_bias: Tensor
    o: Matrix
    o_bias: Tensor
    sinks: Tensor
    mlp_norm: Tensor
    router: Tensor
    router_bias: Tensor
    experts: ExpertWeights


@dataclass
class Weights:
    embedding: Tensor
    layers: list[LayerWeights]
    norm: Tensor
    head: Matrix


@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer, (n_pages, n_kv_heads, PAGE_SIZE, head_dim), n_pages as the layer's group has."""

    k: list[Tensor]
    v: list[Tensor]


@dataclass(frozen=True)
class LayerOperations:
    """One layer as the device runs it."""

    qkv: kernels.NormQKV
    attend: kernels.Attend
    project_route: kernels.ProjectRoute
    experts: kernels.ExpertsAdd


class Transformer:
    """A gpt-oss: its config, its weights, and two ways through them, `forward` and `step`."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config, self.weights = config, weights
        self.device = weights.embedding.device
        self.dtype = torch.float32 if self.device.type == "cpu" else weights.embedding.dtype  # of activations
        self.frequencies = rope.frequencies(config.rope, config.head_dim, self.device)
        self.temperature = rope.temperature(config.rope)
        self._layers: list[LayerOperations] = []
        self._head: kernels.NormHead | None = None

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        *,
        attend: Attend = reference.attend,
        experts: Experts = reference.experts,
    ) -> Tensor:
        """Logits (batch, length, vocabulary) of whole sequences ids (batch, length), without a cache; differentiable.

        positions (length,) or (batch, length) count from 0 unless given; attention sees order, not positions, unless
        `attend` does otherwise.
        """
        config, weights = self.config, self.weights
        positions = torch.arange(ids.shape[1], device=ids.device) if positions is None else positions
        cos, sin = rope.tables(positions, self.frequencies, self.temperature)
        heads = (*ids.shape, -1, config.head_dim)
        x = F.embedding(ids, weights.embedding).to(self.dtype)  # (batch, length, hidden)
        for i, layer in enumerate(weights.layers):
            normed = rms_norm(x, layer.attention_norm, config.rms_eps)
            q = reference.rope(linear(normed, layer.q, layer.q_bias).view(heads), cos, sin)
            k = reference.rope(linear(normed, layer.k, layer.k_bias).view(heads), cos, sin)
            v = linear(normed, layer.v, layer.v_bias).view(heads)
            attended = attend(q, k, v, layer.sinks, self.window(i)).flatten(-2)
            x = x + linear(attended, layer.o, layer.o_bias)

            normed = rms_norm(x, layer.mlp_norm, config.rms_eps).flatten(0, 1)  # (tokens, hidden)
            logits = linear(normed, layer.router, layer.router_bias)
            indices, shares = reference.route(logits, config.experts_per_token)
            x = x + experts(normed, indices, shares, layer.experts).view_as(x)
        return linear(rms_norm(x, weights.norm, config.rms_eps), weights.head)

    @torch.no_grad()
    def step(self, ids: Tensor, batch: StepBatch, cache: Cache, logits_at: Tensor | None = None) -> Tensor:
        """Runs the new tokens ids (tokens,) of ragged rows, writes their keys and values, returns float32 logits.

        The logits are (len(logits_at), vocabulary), at those places of ids, or at all of them.
        """
        if self._head is None:
            self.prepare()
        assert self._head is not None
        cos, sin = rope.tables(batch.positions, self.frequencies, self.temperature)
        x = F.embedding(ids, self.weights.embedding).to(self.dtype)  # (tokens, hidden)
        with kernels.threads_for(x):
            for i, layer in enumerate(self._layers):
                group = batch.full if self.window(i) is None else batch.sliding
                q = layer.qkv(x, cos, sin, cache.k[i], cache.v[i], group.slots)
                attended = layer.attend(q, cache.k[i], cache.v[i], batch, group)
                x, normed, indices, shares = layer.project_route(x, attended)
                x = layer.experts(x, normed, indices, shares)
            return self._head(x, logits_at)

    def window(self, layer: int) -> int | None:
        return self.config.window if self.config.is_sliding(layer) else None

    def prepare(self) -> None:
        """Arranges the weights for `step`. Call it again after changing them in place.

        A GPU keeps packed experts in its kernels' order alone; to change those, give the layer new ones.
        """
        self._layers = [self._prepared(i) for i in range(self.config.n_layers)]
        self._head = kernels.norm_head(self.weights.norm, self.weights.head, eps=self.config.rms_eps)

    def _prepared(self, i: int) -> LayerOperations:
        config, eps, w = self.config, self.config.rms_eps, self.weights.layers[i]
        w.experts = kernels.arranged(w.experts)
        qkv = (w.attention_norm, w.q, w.q_bias, w.k, w.k_bias, w.v, w.v_bias)
        project = kernels.project_add(w.o, w.o_bias)
        route = kernels.norm_route(w.mlp_norm, w.router, w.router_bias, k=config.experts_per_token, eps=eps)
        return LayerOperations(
            kernels.norm_qkv(*qkv, head_dim=config.head_dim, eps=eps),
            kernels.attend(w.sinks, window=self.window(i)),
            kernels.project_route(project, route, self.device),
            kernels.experts_add(w.experts),
        )

    def new_cache(self, n_full_pages: int, n_sliding_pages: int) -> Cache:
        """An empty cache with so many pages in each layer of either group."""
        config = self.config
        counts = [n_sliding_pages if config.is_sliding(i) else n_full_pages for i in range(config.n_layers)]
        shapes = [(n, config.n_kv_heads, PAGE_SIZE, config.head_dim) for n in counts]
        if self.device.type == "cpu":  # numpy's zeros take memory page by page, once they are written
            k, v = ([torch.from_numpy(np.zeros(shape, np.float32)) for shape in shapes] for _ in range(2))
        else:
            k, v = ([torch.zeros(s, dtype=self.dtype, device=self.device) for s in shapes] for _ in range(2))
        return Cache(k, v)

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> Transformer:
        """A checkpoint's model on a device. dtype is that of all weights but packed experts, which stay packed.

        Unless given it is on a CPU the checkpoint's own, so that weights are mapped and not copied, and elsewhere
        bfloat16. Activations are float32 on a CPU, dtype elsewhere. On a CPU, attention's matrices and the head's are
        in int8, with scales, where that is asked for, and large ones of bfloat16 may be in fewer bits, exactly.
        """
        device = torch.device(device)
        dtype = dtype or (None if device.type == "cpu" else torch.bfloat16)
        stream = checkpoint.tensors() if device.type == "cpu" else checkpoint.tensors_on(device)
        layers: dict[str, LayerWeights] = {}
        whole: dict[str, Matrix] = {}
        for prefix, named in groupby(stream, lambda item: _layer_prefix(item[0])):
            tensors = {name: _kept(name, t.to(device), dtype) for name, t in named}
            if prefix:
                layer = layers[prefix] = _layer(tensors, prefix)
                layer.experts = kernels.arranged(layer.experts)  # while the next layer is read
                layer.q, layer.k, layer.v = kernels.adjacent([layer.q, layer.k, layer.v])  # whose places it takes
            else:
                whole |= tensors
            del tensors  # else what was arranged stays until the next layer is there
        config = checkpoint.config
        ordered = [layers[f"model.layers.{i}."] for i in range(config.n_layers)]
        return cls(config, Weights(layers=ordered, **_take(whole, "", WHOLE_NAMES)))

    @classmethod
    def from_tensors(cls, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Transformer:
        """A model on exactly these tensors (they may require gradients), named as in Hugging Face checkpoints."""
        layers = [_layer(tensors, f"model.layers.{i}.") for i in range(config.n_layers)]
        return cls(config, Weights(layers=layers, **_take(tensors, "", WHOLE_NAMES)))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The model's tensors under their Hugging Face names; what is in int8 as the bfloat16 that it stands for."""
        yield from ((name, _plain(getattr(self.weights, field))) for field, name in WHOLE_NAMES.items())
        for i, layer in enumerate(self.weights.layers):
            prefix = f"model.layers.{i}."
            yield from ((prefix + name, _plain(getattr(layer, field))) for field, name in LAYER_NAMES.items())
            names = PACKED_NAMES if layer.experts.is_packed else DENSE_NAMES
            yield from ((prefix + name, getattr(layer.experts, field)) for field, name in names.items())


def _layer_prefix(name: str) -> str:
    """ "model.layers.3." of a layer's tensor, nothing of any other."""
    return ".".join(name.split(".", 3)[:3]) + "." if name.startswith("model.layers.") else ""


def _kept(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Matrix:
    """A tensor as it is kept in a precision; None is its own, with float32 in place of float16."""
    if not tensor.is_floating_point():
        return tensor
    is_read_whole = name.endswith(INT8_NAMES)  # by each token
    if dtype == torch.int8:
        return kernels.to_int8(tensor) if is_read_whole else tensor.bfloat16()
    if dtype is None:
        dtype = torch.float32 if tensor.dtype == torch.float16 else tensor.dtype
    return kernels.compact(tensor.to(dtype)) if is_read_whole else tensor.to(dtype)


def _plain(matrix: Matrix) -> Tensor:
    return matrix if isinstance(matrix, Tensor) else matrix.to(torch.bfloat16)


def _layer(tensors: Mapping[str, Matrix], prefix: str) -> LayerWeights:
    names = PACKED_NAMES if prefix + PACKED_NAMES["gate_up"] in tensors else DENSE_NAMES
    experts = ExpertWeights(**_take(tensors, prefix, names))
    return LayerWeights(**_take(tensors, prefix, LAYER_NAMES), experts=experts)


def _take(tensors: Mapping[str, Matrix], prefix: str, names: dict[str, str]) -> dict[str, Any]:
    """Field to tensor, where names maps field to tensor name after the prefix."""
    for name in names.values():
        if prefix + name not in tensors:
            raise BadCheckpoint(f"The checkpoint has no tensor {prefix + name!r}; fetch or convert it again.")
    return {field: tensors[prefix + name] for field, name in names.items()}


WHOLE_NAMES = {"embedding": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}
LAYER_NAMES = {
    "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k": "self_attn.k_proj.weight",
    "k_bias": "self_attn.k_proj.bias",
    "v": "self_attn.v_proj.weight",
    "v_bias": "self_attn.v_proj.bias",
    "o": "self_attn.o_proj.weight",
    "o_bias": "self_attn.o_proj.bias",
    "sinks": "self_attn.sinks",
    "mlp_norm": "post_attention_layernorm.weight",
    "router": "mlp.router.weight",
    "router_bias": "mlp.router.bias",
}
DENSE_NAMES = {
    "gate_up": "mlp.experts.gate_up_proj",
    "gate_up_bias": "mlp.experts.gate_up_proj_bias",
    "down": "mlp.experts.down_proj",
    "down_bias": "mlp.experts.down_proj_bias",
}
PACKED_NAMES = {
    "gate_up": "mlp.experts.gate_up_proj_blocks",
    "gate_up_scales": "mlp.experts.gate_up_proj_scales",
    "gate_up_bias": "mlp.experts.gate_up_proj_bias",
    "down": "mlp.experts.down_proj_blocks",
    "down_scales": "mlp.experts.down_proj_scales",
    "down_bias": "mlp.experts.down_proj_bias",
}
