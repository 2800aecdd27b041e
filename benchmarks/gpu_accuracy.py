"""How far our kernels, and transformers in bfloat16, are from float32 on the same weights, from ids to logits.

    python -m benchmarks.gpu_accuracy --dummy 20b

Random weights and ids; float32 is the reference's operations. For each way: the median over tokens of the logits'
relative error, tokens whose likeliest id is another, and choices of experts that are others, which bfloat16 flips where
two are nearly as good. Ours go through prompts at once and, token by token, through their last ones. Prints a table and
one last JSON line. On a GPU also each layer's error on float32's input and choices. Exits with 1 where ours is beyond
1.1 times transformers' error or disagreement, or a layer beyond 1e-2.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.device import needs_gpu
from benchmarks.transformers_peer import peer, watch_experts
from harmonium.chat import loading
from harmonium.kernels import ProjectRoute, reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.reference import ExpertWeights
from harmonium.model.config import PAGE_SIZE
from harmonium.model.dummy import CONFIGS
from harmonium.model.transformer import Cache, Transformer

BOUND = 1.1
"""How many times transformers' error and disagreement ours may be."""
LAYER_BOUND = 1e-2
"""A layer's relative error, given float32's input and choice of experts."""


@dataclass(frozen=True)
class Way:
    """Logits (tokens, vocabulary), and the experts of each layer (tokens, k) in the order of their numbers."""

    logits: Tensor
    experts: list[Tensor]


@dataclass(frozen=True)
class Distance:
    """From float32, by token."""

    errors: Tensor
    is_other: Tensor
    flips: Tensor

    def numbers(self) -> dict[str, float]:
        return {
            "median_error": float(self.errors.median()),
            "worst_error": float(self.errors.max()),
            "other_top_1": float(self.is_other.float().mean()),
            "other_experts": float(self.flips.float().mean()),
        }


def distance(found: Way, exact: Way) -> Distance:
    errors = (found.logits.float() - exact.logits).norm(dim=1) / exact.logits.norm(dim=1)
    flips = torch.stack([(a != b).any(1) for a, b in zip(found.experts, exact.experts, strict=True)], dim=1)
    return Distance(errors, found.logits.argmax(1) != exact.logits.argmax(1), flips)


@torch.no_grad()
def in_float32(model: Transformer, ids: Tensor) -> Way:
    """ids (tokens,), a whole prompt."""
    exact = Transformer(model.config, model.weights)
    exact.dtype = torch.float32
    seen: list[Tensor] = []

    def noted(x: Tensor, indices: Tensor, shares: Tensor, layer: ExpertWeights) -> Tensor:
        seen.append(indices.sort().values)
        return reference.experts(x, indices, shares, layer)

    return Way(exact.forward(ids[None], experts=noted)[0].float(), seen)


@torch.no_grad()
def by_kernels(model: Transformer, ids: Tensor, n_single: int) -> Way:
    """All but the last n_single tokens in one step, then these one by one."""
    seen: list[Tensor] = []

    def recorded(project_route: ProjectRoute) -> ProjectRoute:
        def run(x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            x, normed, indices, shares = project_route(x, attended)
            seen.append(indices.sort().values)
            return x, normed, indices, shares

        return run

    model.prepare()
    model._layers = [replace(layer, project_route=recorded(layer.project_route)) for layer in model._layers]
    n_pages = -(-len(ids) // PAGE_SIZE)
    cache = model.new_cache(n_pages, n_pages)
    start, n_layers, steps = 0, model.config.n_layers, [len(ids) - n_single] + [1] * n_single
    logits = []
    for n in filter(None, steps):
        logits.append(_step(model, ids[start : start + n], start, cache))
        start += n
    model.prepare()
    experts = [torch.cat(seen[layer::n_layers]) for layer in range(n_layers)]
    return Way(torch.cat(logits), experts)


def _step(model: Transformer, ids: Tensor, start: int, cache: Cache) -> Tensor:
    stop, device = start + len(ids), ids.device
    table = torch.arange(-(-stop // PAGE_SIZE), dtype=torch.int32, device=device)[None]
    positions = torch.arange(start, stop, device=device)
    group = PageGroup(table, positions)
    starts = torch.tensor([0, len(ids)], dtype=torch.int32, device=device)
    lengths = torch.tensor([stop], dtype=torch.int32, device=device)
    return model.step(ids, StepBatch(positions, starts, lengths, group, group, len(ids), stop), cache)


def compare(model: Transformer, n_prompts: int, length: int, n_single: int) -> dict[str, dict[str, float]]:
    """Numbers of both ways over all tokens, and of ours over those that ran one by one."""
    theirs = peer(model)
    seen = watch_experts(theirs)
    ours, others = [], []
    for _ in range(n_prompts):
        ids = torch.randint(model.config.vocab_size, (length,), device=model.device)
        exact = in_float32(model, ids)
        ours.append(distance(by_kernels(model, ids, n_single), exact))
        seen.clear()
        with torch.no_grad():
            logits = theirs(ids[None]).logits[0]
        others.append(distance(Way(logits, [choice.sort().values for choice in seen]), exact))
    single = [Distance(d.errors[-n_single:], d.is_other[-n_single:], d.flips[-n_single:]) for d in ours]
    named = {"ours": ours, "ours, one by one": single, "transformers, bfloat16": others}
    return {name: joined(distances).numbers() for name, distances in named.items()}


def joined(parts: list[Distance]) -> Distance:
    return Distance(*(torch.cat([getattr(part, name) for part in parts]) for name in ("errors", "is_other", "flips")))


@torch.no_grad()
def worst_layer(model: Transformer) -> float:
    """The largest error of a layer by itself, for one token of a context and for a prompt."""
    from benchmarks.gpu_checks import RESULTS
    from benchmarks.gpu_numerics import numerics

    for length, new in ((1024, 1), (300, 300)):
        numerics(model, length, new)
    errors = [row["layers' errors"] for name, row in RESULTS["numerics"].items() if name.endswith("kernels")]
    return float(max(map(max, errors)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Our kernels and transformers' bfloat16 against float32.")
    parser.add_argument("--dummy", choices=sorted(CONFIGS), default="20b", help="random weights of this size")
    parser.add_argument("--layers", type=int, help="only so many layers")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--device", help="cpu or cuda:N; by default a GPU if there is one")
    given = parser.parse_args()
    if given.device and given.device.startswith("cuda"):
        needs_gpu()
    torch.manual_seed(0)
    model = loading.load_dummy(given.dummy, given.layers, given.device, None).transformer
    found = compare(model, given.prompts, given.length, min(128, given.length // 8))
    print(f"{given.prompts} prompts of {given.length:,} ids, {given.dummy}, against float32")
    for name, numbers in found.items():
        print(f"  {name:<24}" + "  ".join(f"{key} {value:.2e}" for key, value in numbers.items()))
    ours, theirs = found["ours"], found["transformers, bfloat16"]
    ratios = {key: ours[key] / max(theirs[key], 1e-9) for key in ("median_error", "other_top_1")}
    is_within = all(ratio <= BOUND for ratio in ratios.values())
    line = {"model": given.dummy, "ratios": ratios}
    if model.device.type == "cuda":
        line["worst_layer"] = worst_layer(model)
        is_within &= line["worst_layer"] <= LAYER_BOUND
    print(json.dumps(line | {"is_within": is_within, **found}))
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
