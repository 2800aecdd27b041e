"""The two products of a prompt's experts at 20b's sizes, in Triton and in Hopper's own kernels, side by side.

    python -m benchmarks.gpu_prompt_experts

Such products run at the limit of the card's power, so each is timed for half a second on end, after as much that does
not count, and the joules and the clock stand beside the time.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor

from benchmarks.device import needs_gpu
from benchmarks.gpu_checks import relative
from harmonium.kernels.triton import experts, hopper
from harmonium.kernels.triton.packed import Packed
from harmonium.kernels.triton.tiles import ExpertTile, Tiles

TOKENS, K, N_EXPERTS, SIZE, N = 8192, 4, 32, 2880, 128
N_PAIRS = TOKENS * K
SECONDS = 0.5
Call = Callable[[], Any]


@dataclass
class Product:
    """One product of a layer, with what it reads and writes."""

    packed: Packed
    x: Tensor
    indices: Tensor
    shares: Tensor
    order: Tensor
    tiles: Tensor
    out: Tensor

    def in_triton(self, tile: ExpertTile) -> None:
        packed = self.packed
        grid = (triton.cdiv(packed.words.shape[1], tile.rows), len(self.tiles), 1)
        shape = (N, tile.rows, tile.steps)
        options = {"PTX": True, "PDL": False, "num_warps": tile.warps, "num_stages": tile.stages}
        weights = (packed.words, packed.scales, packed.bias)
        if packed.is_paired:
            experts.gate_up[grid](
                *(self.x, self.indices, self.order, self.tiles, *weights, self.out, packed.unit),
                *(K, SIZE, SIZE, *shape, False),
                **options,
            )
        else:
            experts.down[grid](
                *(self.x, self.indices, self.tiles, *weights, self.shares, self.out, self.x, self.order, packed.unit),
                *(K, SIZE, SIZE, *shape, 1, False),
                **options,
            )

    def on_hopper(self) -> None:
        hopper.launch(self.packed, self.x, self.order, self.tiles, self.out, K, N)


def new_packed(n_rows: int, *, is_paired: bool) -> Packed:
    blocks = torch.randint(256, (N_EXPERTS, n_rows, SIZE // 32, 16), device="cuda", dtype=torch.uint8)
    scales = torch.randint(117, 123, (N_EXPERTS, n_rows, SIZE // 32), device="cuda", dtype=torch.uint8)
    bias = torch.randn(N_EXPERTS, n_rows, device="cuda").bfloat16()
    return Packed.of(blocks, scales, bias, is_paired=is_paired)


def new_products() -> list[Product]:
    torch.manual_seed(0)
    indices = torch.rand(TOKENS, N_EXPERTS, device="cuda").topk(K).indices
    order, places = torch.empty((2, N_PAIRS), dtype=torch.int32, device="cuda")
    tiles = torch.empty((N_PAIRS // N + N_EXPERTS, 3), dtype=torch.int32, device="cuda")
    experts.group[(N_EXPERTS, triton.cdiv(N_PAIRS, 4096))](
        indices, order, places, tiles, N_PAIRS, N, 4096, PDL=False, num_warps=8
    )
    shares = torch.rand(TOKENS, K, device="cuda")
    x, between = (torch.randn(n, SIZE, device="cuda").bfloat16() for n in (TOKENS, N_PAIRS))
    outs = torch.zeros(2, N_PAIRS, SIZE, device="cuda", dtype=torch.bfloat16)
    routing = (indices, shares, order, tiles)
    return [
        Product(new_packed(2 * SIZE, is_paired=True), x, *routing, outs[0]),
        Product(new_packed(SIZE, is_paired=False), between, *routing, outs[1]),
    ]


def error(call: Call, product: Product, expected: Tensor) -> float:
    """Relative, over memory that holds no earlier result; the worst of three calls."""
    errors = []
    for _ in range(3):
        product.out.fill_(float("nan"))
        call()
        errors.append(relative(product.out, expected))
    return max(errors)


class Meter:
    """NVML's counter of the joules that the device took, and its clock."""

    def __init__(self) -> None:
        self.nvml = ctypes.CDLL("libnvidia-ml.so.1")
        self.nvml.nvmlInit_v2()
        self.device = ctypes.c_void_p()
        identity = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        if self.nvml.nvmlDeviceGetHandleByUUID(identity.encode(), ctypes.byref(self.device)):
            raise RuntimeError(f"NVML does not know {identity}.")

    def joules(self) -> float:
        found = ctypes.c_ulonglong()
        self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.device, ctypes.byref(found))
        return found.value / 1e3

    def mhz(self) -> int:
        found = ctypes.c_uint()
        self.nvml.nvmlDeviceGetClockInfo(self.device, 1, ctypes.byref(found))
        return found.value


def measured(calls: list[Call], repeat: int, meter: Meter) -> dict[str, Any]:
    """Microseconds of each call, joules and watts of one round of them all, and the clock meanwhile."""
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(len(calls) + 1)] for _ in range(repeat)]
    torch.cuda.synchronize()
    before, started = meter.joules(), time.perf_counter()
    clocks = [meter.mhz()]
    for row in marks:
        row[0].record()
        for call, mark in zip(calls, row[1:], strict=True):
            call()
            mark.record()
    while not marks[-1][-1].query():
        clocks.append(meter.mhz())
        time.sleep(0.01)
    seconds, joules = time.perf_counter() - started, meter.joules() - before
    us = [statistics.median(row[i].elapsed_time(row[i + 1]) * 1e3 for row in marks) for i in range(len(calls))]
    return {"us": us, "joules": joules / repeat, "watts": joules / seconds, "mhz": statistics.median(clocks)}


def main() -> None:
    needs_gpu()
    products, meter = new_products(), Meter()
    a, b = (torch.randn(shape, device="cuda").bfloat16() for shape in ((TOKENS, SIZE), (SIZE, 2 * SIZE)))
    ways: dict[str, list[Call]] = {
        f"Triton {tile.rows} {tile.warps} {tile.stages}": [partial(product.in_triton, tile) for product in products]
        for tile in (Tiles.down[N], Tiles.gate_up[N])
    }
    ways["Hopper"] = [product.on_hopper for product in products]
    expected = []
    for product in products:
        product.in_triton(Tiles.down[N])
        expected.append(product.out.clone())
    for name, calls in ways.items():
        found = [error(*each) for each in zip(calls, products, expected, strict=True)]
        print(f"  {name}: relative errors {' '.join(f'{each:.1e}' for each in found)}", flush=True)
    ways["cuBLAS, one matrix"] = [partial(torch.mm, a, b)] * 2
    flop = {name: [N_PAIRS * SIZE * SIZE * each for each in (4, 2)] for name in ways}
    flop["cuBLAS, one matrix"] = [TOKENS * SIZE * SIZE * 4] * 2
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(2):
        for name, calls in ways.items():
            repeat = int(0.75e15 / sum(flop[name]) * SECONDS)
            measured(calls, repeat, meter)
            rounds[name].append(measured(calls, repeat, meter))
    print(f"{'us (TFLOP/s)':>20}  {'first product':>14}  {'second':>14}  {'both':>14}  for 1 TFLOP; meanwhile")
    for name, each in rounds.items():
        us = [statistics.mean(row["us"][i] for row in each) for i in range(2)]
        joules, watts, mhz = (statistics.mean(row[key] for row in each) for key in ("joules", "watts", "mhz"))
        work = [*flop[name], sum(flop[name])]
        cells = [f"{t:7.0f} ({f / t / 1e6:3.0f})" for t, f in zip((*us, sum(us)), work, strict=True)]
        print(f"{name:>20}  {'  '.join(cells)}  {joules / work[2] * 1e12:.3f} J; {watts:.0f} W, {mhz:.0f} MHz")
    versions = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    print(json.dumps({**versions, "rounds": rounds}))


if __name__ == "__main__":
    main()
