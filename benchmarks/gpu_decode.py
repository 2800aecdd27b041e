"""Kernels of the 20b on one GPU: right against the reference, timed against their bytes, then whole decode steps.

    PYTHONPATH=. python3 benchmarks/gpu_decode.py

Weights are random and of full size; each of the 24 layers has its own, so that no cache flatters. Times are medians of
graph replays. Prints tables and one last JSON line; details go to the folder named by OUT, if it is set.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

from harmonium import kernels
from harmonium.kernels import reference
from harmonium.kernels import triton as backend
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.triton.tiles import ExpertTile, Tiles
from harmonium.model.config import PAGE_SIZE
from harmonium.model.dummy import CONFIGS, Dummy
from harmonium.model.transformer import Cache, Transformer

CONTEXT = 1024
CONFIG = CONFIGS["20b"]
RESULTS: dict[str, Any] = {}
STARTED = time.perf_counter()


@contextlib.contextmanager
def part(name: str) -> Iterator[None]:
    """Runs on after a failure, which it prints."""
    print(f"\n== {name} ({time.perf_counter() - STARTED:.0f} s)", flush=True)
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever a compiler or a device may raise: the next part still counts
        traceback.print_exc()
        RESULTS.setdefault("failed", []).append(name)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def events_us(call: Callable[[], object], repeat: int) -> float:
    """Median microseconds of a call on the device."""
    times = []
    for _ in range(repeat):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3)
    return statistics.median(times)


def captured(call: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The graph of a call, and what it returned."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    return graph, out


def graph_us(call: Callable[[], Any], repeat: int = 20) -> float:
    graph, _ = captured(call)
    for _ in range(3):
        graph.replay()
    return events_us(graph.replay, repeat)


def bandwidth() -> float:
    """Bytes per second of a large copy, read and written."""
    source = torch.empty(2 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() / events_us(lambda: target.copy_(source), 10) * 1e6


def new_batch(lengths: list[int], news: list[int]) -> StepBatch:
    """Rows with pages of their own, in shuffled order; the sliding layers' tables hold as many."""
    pages = -(-max(lengths) // PAGE_SIZE)
    table = torch.randperm(len(lengths) * pages, device="cuda").int().view(len(lengths), pages)
    positions = torch.cat([torch.arange(n - new, n, device="cuda") for n, new in zip(lengths, news, strict=True)])
    row_of = torch.repeat_interleave(torch.tensor(news)).cuda()
    slots = table[row_of, positions // PAGE_SIZE].long() * PAGE_SIZE + positions % PAGE_SIZE
    starts = torch.tensor([0, *news]).cumsum(0).int().cuda()
    group = PageGroup(table, slots)
    return StepBatch(positions, starts, torch.tensor(lengths).int().cuda(), group, group, max(news), max(lengths))


def new_cache(model: Transformer, batch: StepBatch) -> Cache:
    cache = model.new_cache(batch.full.table.numel(), batch.full.table.numel())
    for tensor in (*cache.k, *cache.v):
        tensor.normal_()
    return cache


def wide(value: object) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def check(model: Transformer) -> None:
    """Every operation at 20b's shapes, on fresh inputs, against the reference in float32."""
    w, config = model.weights.layers[1], model.config
    qkv = (w.attention_norm, w.q, w.q_bias, w.k, w.k_bias, w.v, w.v_bias)
    table: dict[str, dict[str, float]] = {}
    for tokens in (1, 2, 16, 70):
        row: dict[str, float] = {}
        table[str(tokens)] = row
        x = torch.randn(tokens, config.hidden_size, device="cuda").bfloat16()
        angles = torch.randn(tokens, config.head_dim // 2, device="cuda")
        slots = torch.randperm(8 * PAGE_SIZE, device="cuda")[:tokens]

        def caches(dtype: torch.dtype) -> Tensor:
            return torch.zeros(2, 8, config.n_kv_heads, PAGE_SIZE, config.head_dim, device="cuda", dtype=dtype)

        with part(f"check {tokens}: norm_qkv"):
            mine, its = caches(torch.bfloat16), caches(torch.float32)
            found = kernels.norm_qkv(*qkv, head_dim=config.head_dim, eps=config.rms_eps)
            exact = reference.NormQKV(*qkv, config.head_dim, config.rms_eps)
            row["q"] = relative(
                found(x.clone(), angles.cos(), angles.sin(), *mine, slots),
                exact(x.float(), angles.cos(), angles.sin(), *its, slots),
            )
            row["kv"] = relative(mine, its)
        with part(f"check {tokens}: project_add"):
            attended = torch.randn(tokens, config.n_heads, config.head_dim, device="cuda").bfloat16()
            expected = reference.ProjectAdd(w.o, w.o_bias)(x.float(), attended.float())
            row["project"] = relative(kernels.project_add(w.o, w.o_bias)(x.clone(), attended), expected)
        with part(f"check {tokens}: norm_route"):
            found = kernels.norm_route(w.mlp_norm, w.router, w.router_bias, k=4, eps=config.rms_eps)(x.clone())
            exact = reference.NormRoute(w.mlp_norm, w.router, w.router_bias, 4, config.rms_eps)(x.float())
            row["normed"], row["shares"] = relative(found[0], exact[0]), relative(found[2], exact[2])
            row["other experts"] = float((found[1] != exact[1]).float().mean())
        with part(f"check {tokens}: experts_add"):
            indices = torch.rand(tokens, config.n_experts, device="cuda").topk(4).indices
            shares = torch.rand(tokens, 4, device="cuda")
            exact = reference.experts(x.float(), indices, shares, w.experts)
            zeros = torch.zeros_like(x)
            row["experts"] = relative(kernels.experts_add(w.experts)(zeros, x, indices, shares), exact)
        with part(f"check {tokens}: norm_head"):
            norm, head = model.weights.norm, model.weights.head
            exact = reference.NormHead(norm, head, config.rms_eps)(x.float(), None)
            row["head"] = relative(kernels.norm_head(norm, head, eps=config.rms_eps)(x.clone(), None), exact)
            del exact
    for name, lengths, news in (
        ("one", [1024, 130, 7], [1, 1, 1]),
        ("long", [9000], [1]),
        ("many", [1024, 130, 300], [200, 1, 129]),
    ):
        for window in (None, config.window):
            with part(f"check attend {name}, window {window}"):
                batch = new_batch(lengths, news)
                shape = (batch.full.table.numel(), config.n_kv_heads, PAGE_SIZE, config.head_dim)
                k, v = torch.randn(2, *shape, device="cuda").bfloat16()
                q = torch.randn(sum(news), config.n_heads, config.head_dim, device="cuda").bfloat16()
                exact = reference.Attend(w.sinks, window)(q.float(), k.float(), v.float(), batch, batch.full)
                found = kernels.attend(w.sinks, window=window)(q, k, v, batch, batch.full)
                table.setdefault(f"attend {name}", {})[str(window)] = relative(found, exact)
    RESULTS["errors"] = table
    print("\nrelative errors against float32 (bf16 operands: 1e-3 to 1e-2 is right)")
    for name, row in table.items():
        print(f"  {name:>12}  " + "  ".join(f"{key} {value:.1e}" for key, value in row.items()))


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
            for i, layer in enumerate(layers):
                layer.qkv(self.x, *self.angles, cache.k[i], cache.v[i], batch.full.slots)

        def attend(is_sliding: bool) -> Callable[[], None]:
            def run() -> None:
                for i, layer in enumerate(layers):
                    if self.model.config.is_sliding(i) == is_sliding:
                        layer.attend(self.q, cache.k[i], cache.v[i], batch, batch.full)

            return run

        def project() -> None:
            for layer in layers:
                layer.project(self.x, self.q)

        def route() -> None:
            for layer in layers:
                layer.route(self.x)

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
            "project_add": (project, 4096 * 2880 * 2, n),
            "norm_route": (route, 32 * 2880 * 2, n),
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

    def try_tiles(self, name: str, field: str | tuple[str, ...], choices: list[Any]) -> None:
        """Times an operation with each choice of tile and keeps the best."""
        fields = (field,) if isinstance(field, str) else field
        kept = [getattr(Tiles, f) for f in fields]
        call, _, n = self.operations()[name]
        times: dict[str, float] = {}
        best = float("inf")
        for choice in choices:
            values = (choice,) if isinstance(field, str) else choice
            for f, value in zip(fields, values, strict=True):
                setattr(Tiles, f, value)
            label = str(choice).replace("ExpertTile", "")
            try:
                each = graph_us(call, 10) / n
            except Exception as error:  # noqa: BLE001 - a tile that does not compile or fit is one result of many
                print(f"  {name} {label}: {type(error).__name__} {str(error)[:80]}")
                continue
            times[label] = round(each, 2)
            if each < best:
                best, kept = each, list(values)
        for f, value in zip(fields, kept, strict=True):
            setattr(Tiles, f, value)
        RESULTS.setdefault("tiles", {})[f"{name} {'/'.join(fields)}"] = times
        ordered = sorted(times.items(), key=lambda item: item[1])
        print(f"  {name}: " + "; ".join(f"{label} {us}" for label, us in ordered), flush=True)


def tune(bench: Bench) -> None:
    tiles = [
        ExpertTile(*sizes)
        for sizes in ((16, 32, 3, 4), (32, 32, 3, 8), (16, 32, 3, 8), (8, 32, 3, 4), (32, 32, 3, 4), (32, 32, 1, 8),
                      (16, 16, 3, 4), (16, 32, 1, 4), (4, 32, 3, 4), (8, 32, 3, 2), (4, 128, 1, 4), (8, 128, 1, 4))
    ]  # fmt: skip
    bench.try_tiles("experts_add", "gate_up", tiles)
    bench.try_tiles("experts_add", "down", tiles)
    warps = ("qkv_pairs", "qkv_warps")
    bench.try_tiles("norm_qkv", warps, [(4, 8), (2, 8), (2, 4), (1, 4), (4, 4), (8, 8), (8, 16), (4, 16)])
    sizes = [(4, 8), (2, 8), (8, 8), (2, 4), (4, 4), (8, 16), (16, 8), (16, 16), (1, 4)]
    bench.try_tiles("project_add", ("project_rows", "project_warps"), sizes)
    bench.try_tiles("norm_route", ("route_rows", "route_warps"), [(1, 8), (1, 4), (2, 8), (4, 8), (1, 16)])
    sizes = [(8, 4, 8), (4, 4, 8), (4, 8, 8), (4, 16, 8), (8, 1, 8), (4, 1, 8), (8, 8, 8), (8, 8, 16), (16, 4, 16)]
    bench.try_tiles("norm_head", ("head_rows", "head_tiles", "head_warps"), sizes)
    keys = [(64, 256), (64, 128), (64, 64), (32, 256), (128, 128), (16, 512)]
    bench.try_tiles("attend full", ("one_keys", "one_programs"), keys)


def without_overlap(model: Transformer, is_off: bool) -> None:
    operations = [op for layer in model._layers for op in vars(layer).values()] + [model._head]
    for operation in operations:
        operation.options = {"PDL": False} if is_off else backend.launch_options(model.weights.head)  # type: ignore[union-attr]


def whole_step(bench: Bench, name: str) -> None:
    graph, logits = captured(bench.step)
    eager = bench.step().clone()
    graph.replay()
    torch.cuda.synchronize()
    step_us = events_us(graph.replay, 100)
    RESULTS[name] = {"step_us": step_us, "tok_s": 1e6 / step_us, "graph_equals_eager": torch.equal(logits, eager)}
    print(f"  {name}: {step_us:.0f} us, {1e6 / step_us:.0f} tok/s; graph equals eager: {torch.equal(logits, eager)}")


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


def profile(bench: Bench, name: str, folder: Path) -> None:
    """Where a replay's time goes, kernel by kernel."""
    graph, _ = captured(bench.step)
    graph.replay()
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as seen:
        for _ in range(5):
            graph.replay()
        torch.cuda.synchronize()
    text = seen.key_averages().table(sort_by="cuda_time_total", row_limit=30, max_name_column_width=60)
    (folder / f"{name}.txt").write_text(text)
    totals: dict[str, list[float]] = {}
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            totals.setdefault(event.name, []).append(event.time_range.elapsed_us())
    rows = {
        key[:50]: {"n": len(times) / 5, "us": statistics.median(times), "step_us": sum(times) / 5}
        for key, times in sorted(totals.items(), key=lambda item: -sum(item[1]))
    }
    RESULTS[name] = rows
    for key, row in list(rows.items())[:16]:
        print(f"  {key:50} {row['n']:5.0f} x {row['us']:7.2f} = {row['step_us']:7.0f} us")


def against_reference(model: Transformer, bench: Bench) -> None:
    """The whole step's logits beside the same step by the reference's operations, in bfloat16 too."""
    found = bench.step().clone()
    module = kernels.BACKENDS.pop("cuda")
    try:
        plain = Transformer(model.config, model.weights)
        expected = plain.step(bench.ids, bench.batch, bench.cache, bench.last)
    finally:
        kernels.BACKENDS["cuda"] = module
    RESULTS["logits_vs_bf16_reference"] = relative(found, expected)
    print(f"  logits against the bf16 reference: {relative(found, expected):.2e} relative, "
          f"same choice: {bool((found.argmax() == expected.argmax()).item())}")  # fmt: skip


def batches(model: Transformer) -> None:
    """Decoding of several rows by graph, and prompts."""
    for rows in (2, 4, 16, 64):
        with part(f"decode {rows} rows"):
            batch = new_batch([CONTEXT] * rows, [1] * rows)
            cache = new_cache(model, batch)
            ids = torch.randint(200_000, (rows,), device="cuda")
            at = torch.arange(rows, device="cuda")
            step_us = graph_us(lambda b=batch, c=cache, i=ids, a=at: model.step(i, b, c, a))  # type: ignore[misc]
            RESULTS[f"decode_{rows}"] = {"step_us": step_us, "tok_s": rows * 1e6 / step_us}
            print(f"  {step_us:.0f} us, {rows * 1e6 / step_us:.0f} tok/s")
    for rows, length in ((1, 1024), (1, 8192)):
        with part(f"prefill {rows} x {length}"):
            batch = new_batch([length] * rows, [length] * rows)
            cache = new_cache(model, batch)
            ids = torch.randint(200_000, (rows * length,), device="cuda")
            at = torch.tensor([length - 1], device="cuda")
            model.step(ids, batch, cache, at)
            step_us = events_us(lambda b=batch, c=cache, i=ids, a=at: model.step(i, b, c, a), 3)  # type: ignore[misc]
            RESULTS[f"prefill_{length}"] = {"step_us": step_us, "tok_s": rows * length * 1e6 / step_us}
            print(f"  {step_us:.0f} us, {rows * length * 1e6 / step_us:.0f} tok/s")


def main() -> None:
    folder = Path(os.environ.get("OUT", "."))
    torch.manual_seed(0)
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
        with part("step as it is"):
            whole_step(bench, "step")
            against_reference(model, bench)
            eager_step(bench)
        with part("operations as they are"):
            bench.table()
        with part("tiles (us per call)"):
            tune(bench)
            chosen = {key: str(value) for key, value in vars(Tiles).items() if not key.startswith("_")}
            RESULTS["chosen"] = chosen
            print("  chosen:", chosen)
        with part("operations, best tiles"):
            bench.table()
        with part("step, best tiles"):
            whole_step(bench, "step_tuned")
        with part("profile"):
            profile(bench, "profile", folder)
        with part("step without overlapped launches"):
            without_overlap(model, True)
            whole_step(bench, "step_no_overlap")
            profile(bench, "profile_no_overlap", folder)
            without_overlap(model, False)
        batches(model)
    (folder / "gpu_decode.json").write_text(json.dumps(RESULTS, indent=1))
    print(f"\n{time.perf_counter() - STARTED:.0f} s")
    print(json.dumps({key: RESULTS.get(key) for key in ("device", "copy_tb_s", "step", "step_tuned", "failed")}))


if __name__ == "__main__":
    main()
