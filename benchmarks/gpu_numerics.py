"""The kernels inside the whole model against float32, beside what plain bfloat16 loses: by layer, and at its end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_checks import RESULTS, new_batch, new_cache, relative
from harmonium import kernels
from harmonium.kernels.batch import StepBatch
from harmonium.model import rope
from harmonium.model.transformer import Cache, LayerOperations, Transformer


@dataclass
class Walk:
    """What one way through the model gave."""

    logits: Tensor
    inputs: list[Tensor]
    choices: list[Tensor]


def walk(model: Transformer, operations: Transformer, batch: StepBatch, cache: Cache, ids: Tensor, at: Tensor) -> Walk:
    """A step by operations' kernels in its dtype, on a copy of the cache."""
    dtype = operations.dtype
    angles = rope.tables(batch.positions, model.frequencies, model.temperature)
    x = F.embedding(ids, model.weights.embedding).to(dtype)
    result = Walk(x, [], [])
    for i, layer in enumerate(operations._layers):
        result.inputs.append(x.clone())
        x, choice = through(layer, x, angles, cache, i, batch, None)
        result.choices.append(choice)
    assert operations._head is not None
    result.logits = operations._head(x, at)
    return result


def through(
    layer: LayerOperations, x: Tensor, angles: tuple[Tensor, Tensor], cache: Cache, i: int, batch: StepBatch,
    chosen: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One layer's output for x, with experts and shares as chosen, or as it chooses; and its own choice, sorted."""
    k, v = cache.k[i].to(x.dtype, copy=True), cache.v[i].to(x.dtype, copy=True)
    q = layer.qkv(x, *angles, k, v, batch.full.slots)
    x, normed, indices, shares = layer.project_route(x, layer.attend(q, k, v, batch, batch.full))
    out = layer.experts(x, normed, *(chosen or (indices, shares)))
    return out, indices.sort().values


def plain(model: Transformer, dtype: torch.dtype) -> Transformer:
    """The same weights by the reference's operations."""
    module = kernels.BACKENDS.pop("cuda")
    try:
        other = Transformer(model.config, model.weights)
        other.prepare()
    finally:
        kernels.BACKENDS["cuda"] = module
    other.dtype = dtype
    return other


def numerics(model: Transformer, length: int, new: int) -> None:
    """Prints, for `new` tokens at the end of `length`: each layer's error, the logits' error, and experts that flip."""
    batch = new_batch([length], [new])
    cache = new_cache(model, batch)
    ids = torch.randint(200_000, (new,), device="cuda")
    at = torch.tensor([new - 1], device="cuda")
    exact_model, plain_model = plain(model, torch.float32), plain(model, torch.bfloat16)
    exact = walk(model, exact_model, batch, cache, ids, at)
    angles = rope.tables(batch.positions, model.frequencies, model.temperature)
    errors: dict[str, list[float]] = {"kernels": [], "plain bf16": []}
    for i, start in enumerate(exact.inputs):
        x = start.bfloat16()
        layer = exact_model._layers[i]
        k, v = cache.k[i].float(), cache.v[i].float()
        q = layer.qkv(x.float(), *angles, k, v, batch.full.slots)
        attended = layer.attend(q, k, v, batch, batch.full)
        middle, normed, indices, shares = layer.project_route(x.float(), attended)
        expected = layer.experts(middle, normed, indices, shares)
        for name, operations in (("kernels", model), ("plain bf16", plain_model)):
            found, _ = through(operations._layers[i], x.clone(), angles, cache, i, batch, (indices, shares))
            errors[name].append(relative(found, expected))
    label = f"{new} new of {length}"
    for name, operations in (("kernels", model), ("plain bf16", plain_model)):
        whole = walk(model, operations, batch, cache, ids, at)
        flips = [int((a != b).any(1).sum()) for a, b in zip(whole.choices, exact.choices, strict=True)]
        row = {
            "layers' errors": errors[name],
            "logits": relative(whole.logits, exact.logits),
            "same choice": bool((whole.logits.argmax() == exact.logits.argmax()).item()),
            "tokens with other experts, by layer": flips,
        }
        RESULTS.setdefault("numerics", {})[f"{label}, {name}"] = row
        worst = max(errors[name])
        print(
            f"  {label}, {name}: a layer on float32's input and experts {min(errors[name]):.1e} to {worst:.1e}; logits "
            f"{row['logits']:.2e}, same choice {row['same choice']}; tokens with other experts, of {new}: {flips}",
            flush=True,
        )
