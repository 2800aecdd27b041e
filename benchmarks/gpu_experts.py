"""The experts of the 20b alone, from 1 to 8,192 tokens: time beside the bytes of the experts hit, tile by tile."""

from __future__ import annotations

import torch

from benchmarks.gpu_checks import RESULTS, events_us, graph_us, part, poisoned, relative
from harmonium.kernels import reference
from harmonium.kernels import triton as backend
from harmonium.kernels.triton.tiles import ExpertTile, Tiles
from harmonium.model.transformer import Transformer

EXPERT_BYTES = 2880 * 2880 * 3 * 17 / 32
WRONG = 1e-2
CHOICES = {
    ("gate_up", 8): ((2, 3, 4, 3), (2, 5, 4, 2), (2, 3, 4, 4)),
    ("down", 8): ((1, 3, 4, 4), (2, 3, 4, 3), (1, 5, 4, 4)),
    ("gate_up", 64): ((2, 1, 4, 4), (2, 1, 8, 3)),
    ("down", 64): ((1, 1, 4, 4), (2, 1, 4, 4)),
}
"""(product, pairs of a tile, 0 for one) to tiles worth trying."""


class Experts:
    """The experts of all layers, each with a choice of its own; of one layer where tokens are many."""

    def __init__(self, model: Transformer, tokens: int, rate: float) -> None:
        config = model.config
        self.is_long = tokens > 256
        self.layers = model._layers[: 2 if self.is_long else config.n_layers]
        self.x = torch.randn(tokens, config.hidden_size, device="cuda").bfloat16()
        self.out = self.x.clone()
        self.shares = torch.rand(tokens, 4, device="cuda")
        self.indices = [torch.rand(tokens, config.n_experts, device="cuda").topk(4).indices for _ in self.layers]
        weights = model.weights.layers[0].experts
        self.exact = reference.experts(self.x.float(), self.indices[0], self.shares, weights)
        n_hit = sum(len(indices.unique()) for indices in self.indices) / len(self.layers)
        self.floor_us = max(n_hit * EXPERT_BYTES / rate, tokens * 4 * 2880 * 2880 * 6 / 800e12) * 1e6

    def run(self) -> None:
        for layer, indices in zip(self.layers, self.indices, strict=True):
            layer.experts(self.out, self.x, indices, self.shares)

    def error(self) -> float:
        """Of the first layer, against float32, over memory that holds no earlier result."""
        with poisoned():
            found = self.layers[0].experts(torch.zeros_like(self.x), self.x, self.indices[0], self.shares)
        return relative(found, self.exact)

    def us(self) -> float:
        if not self.is_long:
            return graph_us(self.run, 10) / len(self.layers)
        self.run()
        return events_us(self.run, 5) / len(self.layers)


def try_tiles(bench: Experts, label: str, product: str, n: int) -> float:
    """Times one product's tiles, keeps the best in Tiles, and returns the time with it."""
    tiles: dict[int, ExpertTile] = getattr(Tiles, product)
    times: dict[str, float] = {}
    kept, best = tiles.get(n), float("inf")
    for sizes in CHOICES[product, n]:
        tiles[n] = ExpertTile(*sizes)
        try:
            error = bench.error()
            each = bench.us()
        except Exception as failure:  # noqa: BLE001 - a tile that does not compile or fit is one result of many
            print(f"  {label} {product} {sizes}: {type(failure).__name__} {str(failure)[:80]}")
            continue
        if not error < WRONG:
            print(f"  {label} {product} {sizes}: WRONG, relative error {error:.1e}")
            RESULTS.setdefault("wrong tiles", []).append(f"{label} {product} {sizes}: {error:.1e}")
            continue
        times[str(sizes)] = round(each, 2)
        if each < best:
            best, kept = each, tiles[n]
    assert kept is not None
    tiles[n] = kept
    RESULTS.setdefault("expert tiles", {})[f"{label} {product}"] = times
    ordered = sorted(times.items(), key=lambda item: item[1])
    print(f"  {label} {product}: " + "; ".join(f"{sizes} {us}" for sizes, us in ordered), flush=True)
    return best


def expert_tiles(model: Transformer, rate: float) -> None:
    """Tries tiles from one token to a long prompt; where two sizes of tiles could do, both."""
    columns, few = Tiles.columns, backend.FEW_PAIRS
    for tokens, sizes in ((16, [8]), (1024, [64, 128]), (8192, [128])):
        bench = Experts(model, tokens, rate)
        for n in sizes:
            with part(f"experts of {tokens} tokens, tiles of {n} pairs: floor {bench.floor_us:.1f} us"):
                backend.FEW_PAIRS = 0 if n else tokens * 4
                Tiles.columns = staticmethod(lambda pairs, n=n: n)  # type: ignore[method-assign]
                products = [product for product in ("gate_up", "down") if (product, n) in CHOICES]
                found = [try_tiles(bench, f"{tokens} by {n}", product, n) for product in products]
                best = min(found, default=0.0) or bench.us()
                row = {"us": best, "floor_us": bench.floor_us, "share": bench.floor_us / best}
                RESULTS.setdefault("experts", {})[f"{tokens} by {n}"] = row
                print(f"  {tokens} tokens by {n}: {best:.1f} us, {row['share']:.0%} of the floor's rate")
    Tiles.columns, backend.FEW_PAIRS = columns, few  # type: ignore[method-assign]
    RESULTS["chosen tiles"] = {
        name: {n: str(t) for n, t in getattr(Tiles, name).items()} for name in ("gate_up", "down")
    }
    print("  chosen:", RESULTS["chosen tiles"])
