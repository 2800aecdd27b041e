"""Kernels of the 20b on one GPU: right against the reference, timed against their bytes, then whole decode steps.

    python -m benchmarks.gpu_decode

Weights are random and of full size; each of the 24 layers has its own, so that no cache flatters. Times are medians of
graph replays. Prints tables and one last JSON line; details go to the folder named by OUT, if it is set.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import triton
from torch import Tensor

from benchmarks.device import needs_gpu
from benchmarks.gpu_checks import (
    RESULTS,
    STARTED,
    bandwidth,
    captured,
    check,
    events_us,
    graph_us,
    new_batch,
    new_cache,
    part,
)
from benchmarks.gpu_experts import expert_tiles
from benchmarks.gpu_numerics import numerics
from harmonium.cli.gpu_bench.wanted import origin
from harmonium.kernels.triton.tiles import Tiles
from harmonium.model.dummy import CONFIGS, Dummy
from harmonium.model.transformer import Transformer

CONTEXT = 1024
CONFIG = CONFIGS["20b"]
PROFILED = ("1 x 1", "16 x 1", "8 x 1024")
MANY_ROWS = ((16, CONTEXT, 1), (64, CONTEXT, 1))
VARIANTS = {
    "routing": (tuple({"many_route_rows": n} for n in (2, 1, 4)), MANY_ROWS),
    "shares of a context": (tuple({"one_programs": n} for n in (512, 128, 256, 1024)), MANY_ROWS),
    "columns of a sum": (tuple({"sum_columns": n} for n in (1024, 512, 4096)), MANY_ROWS),
    "prompt attention": (
        tuple(
            {"many_queries": queries, "many_keys": keys, "many_warps": warps, "many_stages": stages}
            for queries, keys, warps, stages in ((128, 64, 8, 3), (64, 128, 4, 2), (128, 128, 4, 2))
        ),
        ((1, 8192, 8192),),
    ),
}
"""What to try: settings of Tiles, the present ones first, and the steps to time them by."""


class Bench:
    """One token at a context of 1,024 in the whole model, and each of its operations over all layers at once."""

    def __init__(self, model: Transformer, rate: float) -> None:
        self.model, self.rate = model, rate
        self.batch = new_batch([CONTEXT], [1])
        self.cache = new_cache(model, self.batch)
        self.ids = torch.tensor([17], device="cuda")
        self.last = torch.zeros(1, dtype=torch.int64, device="cuda")
        config = model.config
        self.x = torch.randn(1, config.hidden_size, device="cuda").bfloat16()
        self.q = torch.randn(1, config.n_heads, config.head_dim, device="cuda").bfloat16()
        self.angles = torch.rand(2, 1, config.head_dim // 2, device="cuda")
        picked = [torch.randperm(config.n_experts, device="cuda")[:4].view(1, 4) for _ in range(config.n_layers)]
        self.indices, self.shares = picked, torch.rand(1, 4, device="cuda")

    def step(self) -> Tensor:
        return self.model.step(self.ids, self.batch, self.cache, self.last)

    def operations(self) -> dict[str, tuple[Callable[[], object], float, int]]:
        """Name to: the calls of all layers, bytes of one, and how many they are."""
        layers, cache, batch, n = self.model._layers, self.cache, self.batch, self.model.config.n_layers
        context = {False: CONTEXT * 2 * 8 * 64 * 2, True: 128 * 2 * 8 * 64 * 2}

        def qkv() -> None:
            cos, sin = self.angles.unbind()
            for i, layer in enumerate(layers):
                layer.qkv(self.x, cos, sin, cache.k[i], cache.v[i], batch.full.slots)

        def attend(is_sliding: bool) -> Callable[[], None]:
            def run() -> None:
                for i, layer in enumerate(layers):
                    if self.model.config.is_sliding(i) == is_sliding:
                        layer.attend(self.q, cache.k[i], cache.v[i], batch, batch.full)

            return run

        def project_route() -> None:
            for layer in layers:
                layer.project_route(self.x, self.q)

        def experts() -> None:
            for i, layer in enumerate(layers):
                layer.experts(self.x, self.x, self.indices[i], self.shares)

        head = self.model._head
        assert head is not None
        packed = 4 * (2880 * 2880 * 3) * 17 / 32
        return {
            "norm_qkv": (qkv, 5120 * 2880 * 2, n),
            "attend full": (attend(False), context[False], n // 2),
            "attend sliding": (attend(True), context[True], n // 2),
            "project_route": (project_route, (4096 + 32) * 2880 * 2, n),
            "experts_add": (experts, packed, n),
            "norm_head": (lambda: head(self.x, self.last), 201088 * 2880 * 2, 1),
        }

    def table(self) -> None:
        """Each operation beside the floor of its bytes, and how many microseconds of a step it is."""
        found: dict[str, dict[str, float]] = {}
        for name, (call, n_bytes, n) in self.operations().items():
            with part(f"time {name}"):
                each = graph_us(call) / n
                found[name] = {"us": each, "floor_us": n_bytes / self.rate * 1e6, "n": n, "step_us": each * n}
        RESULTS["operations"] = found
        print(f"\n  {'operation':16}{'us':>8}{'floor':>8}{'share':>8}{'in a step':>11}")
        for name, row in found.items():
            share = row["floor_us"] / row["us"]
            print(f"  {name:16}{row['us']:8.2f}{row['floor_us']:8.2f}{share:8.0%}{row['step_us']:11.0f}")
        print(f"  {'sum':16}{'':24}{sum(row['step_us'] for row in found.values()):11.0f}")


def whole_step(bench: Bench, name: str) -> float:
    graph, logits = captured(bench.step)
    eager = bench.step().clone()
    graph.replay()
    torch.cuda.synchronize()
    step_us = events_us(graph.replay, 100)
    RESULTS[name] = {"step_us": step_us, "tok_s": 1e6 / step_us, "graph_equals_eager": torch.equal(logits, eager)}
    print(f"  {name}: {step_us:.0f} us, {1e6 / step_us:.0f} tok/s; graph equals eager: {torch.equal(logits, eager)}")
    return step_us


def eager_step(bench: Bench) -> None:
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        bench.step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    RESULTS["eager_us"] = statistics.median(times)
    print(f"  eager: {RESULTS['eager_us']:.0f} us")


def profile(call: Callable[[], object], name: str, folder: Path) -> None:
    """Where a call's time goes, kernel by kernel."""
    call()
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as seen:
        for _ in range(5):
            call()
        torch.cuda.synchronize()
    text = seen.key_averages().table(sort_by="cuda_time_total", row_limit=30, max_name_column_width=60)
    (folder / f"{name}.txt").write_text(text)
    totals: dict[str, list[float]] = {}
    for event in seen.events():
        if event.device_type.name == "CUDA":
            totals.setdefault(event.name, []).append(event.time_range.elapsed_us())
    rows = {
        key[:50]: {"n": len(times) / 5, "us": statistics.median(times), "step_us": sum(times) / 5}
        for key, times in sorted(totals.items(), key=lambda item: -sum(item[1]))
    }
    RESULTS[name] = rows
    for key, row in list(rows.items())[:16]:
        print(f"  {key:50} {row['n']:5.0f} x {row['us']:7.2f} = {row['step_us']:7.0f} us")


class Rows:
    """A step of several rows: one new token of each by a graph, or prompts."""

    def __init__(self, model: Transformer, rows: int, length: int, new: int) -> None:
        self.model, self.rows, self.new = model, rows, new
        self.batch = new_batch([length] * rows, [new] * rows)
        self.cache = new_cache(model, self.batch)
        self.ids = torch.randint(200_000, (rows * new,), device="cuda")
        self.at = torch.arange(1, rows + 1, device="cuda") * new - 1

    def step(self) -> Tensor:
        return self.model.step(self.ids, self.batch, self.cache, self.at)

    def call(self) -> Callable[[], object]:
        """A step that is ready to be timed."""
        self.step()
        call: Callable[[], object] = captured(self.step)[0].replay if self.new == 1 else self.step
        call()
        return call

    def us(self) -> float:
        return events_us(self.call(), 20 if self.new == 1 else 3)


def batches(model: Transformer, folder: Path) -> None:
    """Decoding of several rows, and prompts; profiles of some."""
    for rows, length, new in ((1, CONTEXT, 1), (2, CONTEXT, 1), (4, CONTEXT, 1), (16, CONTEXT, 1), (64, CONTEXT, 1),
                              (1, 1024, 1024), (8, 1024, 1024), (1, 8192, 8192)):  # fmt: skip
        label = f"{rows} x {length if new > 1 else 1}"
        with part(label):
            step = Rows(model, rows, length, new)
            step_us = step.us()
            RESULTS[label] = {"step_us": step_us, "tok_s": rows * new * 1e6 / step_us}
            print(f"  {label}: {step_us:.0f} us, {rows * new * 1e6 / step_us:.0f} tok/s")
            if label in PROFILED:
                profile(step.call(), f"profile {label}".replace(" ", "_"), folder)


def choose(model: Transformer, variants: tuple[dict[str, int], ...], shapes: tuple[tuple[int, int, int], ...]) -> None:
    """Sets Tiles to the variant whose steps of all shapes (rows, length, new) take the shortest time together."""
    steps, best, kept = [Rows(model, *shape) for shape in shapes], float("inf"), variants[0]
    for variant in variants:
        set_tiles(variant)
        times = [step.us() for step in steps]
        RESULTS.setdefault("variants", {})[str(variant)] = dict(zip(map(str, shapes), times, strict=True))
        print(f"  {variant}: " + ", ".join(f"{shape} {us:.0f} us" for shape, us in zip(shapes, times, strict=True)))
        if sum(times) < best:
            best, kept = sum(times), variant
    set_tiles(kept)


def set_tiles(variant: dict[str, int]) -> None:
    for name, value in variant.items():
        setattr(Tiles, name, value)


def main() -> None:
    needs_gpu()
    folder = Path(os.environ.get("OUT", "."))
    torch.manual_seed(0)
    RESULTS.update(origin())
    print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__)
    rate = bandwidth()
    RESULTS["device"], RESULTS["copy_tb_s"] = torch.cuda.get_device_name(), rate / 1e12
    print(f"copy: {rate / 1e12:.2f} TB/s")
    with part("weights"):
        model = Transformer.from_tensors(CONFIG, dict(Dummy(CONFIG, device="cuda").tensors()))
        model.prepare()
    with part("check"), torch.no_grad():
        check(model)
    bench = Bench(model, rate)
    with torch.no_grad():
        with part("the whole model against float32"):
            numerics(model, CONTEXT, 1)
            numerics(model, 300, 300)
        with part("one row"):
            whole_step(bench, "step")
            eager_step(bench)
            bench.table()
        batches(model, folder)
        (folder / "gpu_decode.json").write_text(json.dumps(RESULTS, indent=1))
        for name, (variants, shapes) in VARIANTS.items():
            with part(f"variants: {name}"):
                choose(model, variants, shapes)
        with part("experts' tiles (us per layer)"):
            expert_tiles(model, rate)
        with part("with what was chosen"):
            for shape in ((1, CONTEXT, 1), (16, CONTEXT, 1), (64, CONTEXT, 1), (1, 1024, 1024), (8, 1024, 1024)):
                step_us = Rows(model, *shape).us()
                RESULTS.setdefault("chosen", {})[str(shape)] = step_us
                print(f"  {shape}: {step_us:.0f} us, {shape[0] * shape[2] * 1e6 / step_us:.0f} tok/s")
    (folder / "gpu_decode.json").write_text(json.dumps(RESULTS, indent=1))
    print(f"\n{time.perf_counter() - STARTED:.0f} s")
    print(json.dumps({key: RESULTS.get(key) for key in ("device", "copy_tb_s", "step", "chosen", "failed")}))


if __name__ == "__main__":
    main()
