"""What benchmarks/gpu_decode.py stands on: timing, rows with pages, and every operation held to the reference."""

from __future__ import annotations

import contextlib
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from harmonium import kernels
from harmonium.kernels import reference
from harmonium.kernels import triton as backend
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.triton import experts
from harmonium.kernels.triton.mxfp4 import decoded
from harmonium.kernels.triton.packed import Packed
from harmonium.kernels.triton.tiles import Tiles
from harmonium.model import mxfp4
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import Cache, Transformer

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


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """New memory holds NaN, so that what nothing has written shows."""
    empty = torch.empty

    def poison(*shape: Any, **options: Any) -> Tensor:
        tensor = empty(*shape, **options)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor.zero_()

    torch.empty = poison
    try:
        yield
    finally:
        torch.empty = empty


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
    return float(statistics.median(times))


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


def launch_options(is_overlapped: bool) -> dict[str, Any]:
    """Of kernels that start, or don't, while the one ahead of them ends."""
    kept, Tiles.is_overlapped = Tiles.is_overlapped, is_overlapped
    try:
        return backend.launch_options(torch.device("cuda"))
    finally:
        Tiles.is_overlapped = kept


@triton.jit  # type: ignore[untyped-decorator]
def decode_tiles(words_ptr, scales_ptr, out_ptr, PTX: tl.constexpr):  # type: ignore[no-untyped-def]
    tile, row = tl.program_id(0), tl.arange(0, 64)
    words = tl.load(words_ptr + tile * 512 + tl.arange(0, 512))
    scales = tl.load(scales_ptr + tile * 32 + tl.arange(0, 128) // 4)
    values = decoded(words, scales, 1, tl.bfloat16, PTX)
    tl.store(out_ptr + tile * 4096 + row[:, None] * 64 + row[None, :], values)


def check_decoding() -> None:
    """All codes under scales up to 2, by PTX and without, against model.mxfp4."""
    blocks = torch.randint(256, (1, 64 * 32, 2, 16), device="cuda").byte()
    scales = torch.randint(2, 129, (1, 64 * 32, 2), device="cuda").byte()
    packed = Packed.of(blocks, scales, scales, is_paired=False)
    expected = mxfp4.decode(blocks[0], scales[0]).float()
    for is_ptx in (True, False):
        out = torch.empty(64 * 32, 64, device="cuda", dtype=torch.bfloat16)
        decode_tiles[(32,)](packed.words, packed.scales, out, is_ptx)
        RESULTS[f"decoding exact, PTX {is_ptx}"] = is_exact = torch.equal(out.float() * packed.unit, expected)
        print(f"  decoding, PTX {is_ptx}: exact {is_exact}")


def check_grouping(n_experts: int, n_pairs: int, n: int) -> None:
    """Pairs by expert, and their tiles, against a stable sort."""
    indices = (torch.rand(n_pairs, device="cuda") ** 2 * (n_experts - 1)).long().view(-1, 1)  # the last expert is idle
    order, places = torch.full((2, n_pairs), -1, device="cuda", dtype=torch.int32)
    tiles = torch.full((n_pairs // n + n_experts, 3), -2, device="cuda", dtype=torch.int32)
    block = min(4096, triton.next_power_of_2(n_pairs))
    warps = 4 if block <= 1024 else 8
    experts.group[(n_experts, triton.cdiv(n_pairs, block))](
        indices, order, places, tiles, n_pairs, n, block, PDL=False, num_warps=warps
    )
    expected = indices.flatten().argsort(stable=True)
    is_right = torch.equal(order.long(), expected) and torch.equal(
        places[expected].cpu().int(), torch.arange(n_pairs).int()
    )
    seen = 0
    for expert, first, last in tiles.tolist():
        is_right &= expert != -2
        if expert >= 0:
            is_right &= 0 < last - first <= n and bool((indices.flatten()[expected[first:last]] == expert).all())
            seen += last - first
    RESULTS[f"grouping {n_pairs} by {n}"] = is_right and seen == n_pairs
    print(f"  grouping {n_pairs} by {n}: right {is_right and seen == n_pairs}")


def check_expert_tiles(model: Transformer) -> None:
    """Every width of tile over uneven groups, some also launched otherwise: relative errors."""
    layer, weights, columns = model._layers[1].experts, model.weights.layers[1].experts, Tiles.columns
    x = torch.randn(600, model.config.hidden_size, device="cuda").bfloat16()
    indices = (torch.rand(600, 4, device="cuda") ** 2 * 31).long()
    shares = torch.rand(600, 4, device="cuda")
    exact = reference.experts(x.float(), indices, shares, weights)
    assert isinstance(layer, backend.ExpertsAdd)
    options, hopper = layer.options, layer.hopper
    for n in (8, 16, 32, 64, 128):
        ways = {"": (options, hopper), "overlapped": (launch_options(True), hopper), "in Triton": (options, None)}
        kept = ways if n == 128 else dict(list(ways.items())[: 2 if n == 8 else 1])
        errors = {}
        for way, (layer.options, layer.hopper) in kept.items():
            Tiles.columns = staticmethod(lambda pairs, n=n: n)  # type: ignore[method-assign]
            with poisoned():
                errors[way] = relative(layer(torch.zeros_like(x), x, indices, shares), exact)
        RESULTS.setdefault("expert tiles' errors", {})[n] = errors
        verdict = "right" if max(errors.values()) < 1e-2 else "WRONG"
        print(f"  {n} columns: {', '.join(f'{way} {error:.1e}'.strip() for way, error in errors.items())}: {verdict}")
    layer.options, layer.hopper, Tiles.columns = options, hopper, columns  # type: ignore[method-assign]


def check_project_route(
    project: kernels.ProjectAdd, route: kernels.NormRoute, x: Tensor, attended: Tensor, expected: Tensor,
    row: dict[str, float],
) -> None:  # fmt: skip
    """Both in one, again and again: programs wait for each other, and it has to be right each time."""
    both = kernels.project_route(project, route, x.device)
    names = "both", "both's choice", "both's experts"
    row |= dict.fromkeys(names, 0.0)
    for _ in range(50):
        total, normed, chosen, _ = both(x.clone(), attended)
        again = route(total.clone())
        others = float((chosen != again[1]).float().mean())
        for name, error in zip(names, (relative(total, expected), relative(normed, again[0]), others), strict=True):
            row[name] = max(row[name], error)


def check_attention(model: Transformer, table: dict[str, dict[str, float]]) -> None:
    config, sinks = model.config, model.weights.layers[1].sinks
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
                exact = reference.Attend(sinks, window)(q.float(), k.float(), v.float(), batch, batch.full)
                found = kernels.attend(sinks, window=window)(q, k, v, batch, batch.full)
                table.setdefault(f"attend {name}", {})[str(window)] = relative(found, exact)


def check(model: Transformer) -> None:
    """Every operation at 20b's shapes, on fresh inputs, against the reference in float32."""
    w, config = model.weights.layers[1], model.config
    qkv = (w.attention_norm, w.q, w.q_bias, w.k, w.k_bias, w.v, w.v_bias)
    table: dict[str, dict[str, float]] = {}
    with part("check decoding"):
        check_decoding()
    with part("check grouping"):
        for n_pairs, n in ((20, 8), (2400, 128), (2400, 8), (32768, 128)):
            check_grouping(model.config.n_experts, n_pairs, n)
    with part("check expert tiles"):
        check_expert_tiles(model)
    for tokens in (1, 2, 4, 16, 70, 600):
        row: dict[str, float] = {}
        table[str(tokens)] = row
        x = torch.randn(tokens, config.hidden_size, device="cuda").bfloat16()
        angles = torch.randn(tokens, config.head_dim // 2, device="cuda")
        n_pages = -(-tokens // PAGE_SIZE) + 1
        slots = torch.randperm(n_pages * PAGE_SIZE, device="cuda")[:tokens]

        def caches(dtype: torch.dtype, n_pages: int = n_pages) -> Tensor:
            return torch.zeros(2, n_pages, config.n_kv_heads, PAGE_SIZE, config.head_dim, device="cuda", dtype=dtype)

        with part(f"check {tokens}: norm_qkv"):
            mine, its = caches(torch.bfloat16), caches(torch.float32)
            operation = kernels.norm_qkv(*qkv, head_dim=config.head_dim, eps=config.rms_eps)
            exact_operation = reference.NormQKV(*qkv, config.head_dim, config.rms_eps)
            row["q"] = relative(
                operation(x.clone(), angles.cos(), angles.sin(), mine[0], mine[1], slots),
                exact_operation(x.float(), angles.cos(), angles.sin(), its[0], its[1], slots),
            )
            row["kv"] = relative(mine, its)
        with part(f"check {tokens}: project_add"):
            attended = torch.randn(tokens, config.n_heads, config.head_dim, device="cuda").bfloat16()
            expected = reference.ProjectAdd(w.o, w.o_bias)(x.float(), attended.float())
            row["project"] = relative(kernels.project_add(w.o, w.o_bias)(x.clone(), attended), expected)
        with part(f"check {tokens}: norm_route"):
            route = kernels.norm_route(w.mlp_norm, w.router, w.router_bias, k=4, eps=config.rms_eps)
            routed = route(x.clone())
            exactly = reference.NormRoute(w.mlp_norm, w.router, w.router_bias, 4, config.rms_eps)(x.float())
            row["normed"], row["shares"] = relative(routed[0], exactly[0]), relative(routed[2], exactly[2])
            row["other experts"] = float((routed[1] != exactly[1]).float().mean())
        with part(f"check {tokens}: project_route"):
            check_project_route(kernels.project_add(w.o, w.o_bias), route, x, attended, expected, row)
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
    check_attention(model, table)
    RESULTS["errors"] = table
    print("\nrelative errors against float32 (bf16 operands: 1e-3 to 1e-2 is right)")
    for name, row in table.items():
        print(f"  {name:>12}  " + "  ".join(f"{key} {value:.1e}" for key, value in row.items()))
