"""A checkpoint from the page cache to the GPU: by threads, as safetensors does it, mapped, and all of loading.

    python -m benchmarks.gpu_load --dummy 20b

Random weights are written to a temporary folder once. "threads" only brings tensors to the device, "safetensors" does
so by its device option, "mapped" copies the mapped files; "load" arranges the experts besides, as loading a model does,
and "arrange" is only that, on the device. Best of two. What a loaded model gives back is compared with the file, bit by
bit. Prints a table and one last JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from benchmarks.device import needs_gpu
from harmonium import kernels
from harmonium.kernels.reference import ExpertWeights
from harmonium.model import checkpoint, dummy, hub, layout, streaming
from harmonium.model.checkpoint import StoredCheckpoint
from harmonium.model.dummy import CONFIGS, Dummy
from harmonium.model.transformer import PACKED_NAMES, Transformer


def by_safetensors(folder: Path, device: torch.device) -> None:
    for path in layout.weight_files(folder):
        with safe_open(path, framework="pt", device=str(device)) as file:
            kept = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - it is no dict
            del kept


def by_threads(opened: StoredCheckpoint, device: torch.device, n_threads: int) -> None:
    before, streaming.N_THREADS = streaming.N_THREADS, n_threads
    try:
        for _, tensor in opened.tensors_on(device):
            del tensor
    finally:
        streaming.N_THREADS = before


def mapped(opened: StoredCheckpoint, device: torch.device) -> None:
    for _, tensor in opened.tensors():
        tensor.to(device)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(2):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return min(times)


def arranging(opened: StoredCheckpoint, device: torch.device) -> float:
    """Seconds that the experts of all layers take, once they are on the device."""
    names = {field: f"model.layers.0.{name}" for field, name in PACKED_NAMES.items()}
    weights = ExpertWeights(**{field: opened.tensor(name).to(device) for field, name in names.items()})
    return seconds(lambda: kernels.arranged(weights), device) * opened.config.n_layers


def is_same(opened: StoredCheckpoint, device: torch.device) -> bool:
    """What a loaded model gives back of its first and last layer, and outside of layers, is what the file has."""
    ends = ("model.layers.0.", f"model.layers.{opened.config.n_layers - 1}.")
    model = Transformer.load(opened, device, torch.bfloat16)
    each = ((name, tensor) for name, tensor in model.tensors() if name.startswith(ends) or ".layers." not in name)
    return all(torch.equal(tensor, opened.tensor(name).to(device)) for name, tensor in each)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways from the page cache to a GPU.")
    parser.add_argument("--dummy", choices=sorted(CONFIGS), default="20b", help="random weights of this size")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it")
    given = parser.parse_args()
    device, config = torch.device(given.device), dummy.parse(given.dummy)
    if device.type == "cuda":
        needs_gpu()
    with tempfile.TemporaryDirectory(prefix="harmonium-load-") as scratch:
        folder, tokenizer = Path(scratch) / given.dummy, hub.resolve("nano") / "tokenizer.json"
        checkpoint.save(folder, config, Dummy(config, device=device).tensors(), files=[tokenizer])
        opened = checkpoint.open(folder)
        n_bytes = sum(path.stat().st_size for path in layout.weight_files(folder))
        found = {
            f"threads, {n}": seconds(lambda n=n: by_threads(opened, device, n), device)  # type: ignore[misc]
            for n in (1, 4, 8, 16)
        }
        found["safetensors"] = seconds(lambda: by_safetensors(folder, device), device)
        found["mapped"] = seconds(lambda: mapped(opened, device), device)
        found["arrange"] = arranging(opened, device)
        found["load"] = seconds(lambda: Transformer.load(checkpoint.open(folder), device), device)
        same = is_same(opened, device)
    print(f"{n_bytes / 1e9:.1f} GB to {device}")
    for name, taken in found.items():
        print(f"  {name:<14} {taken:7.2f} s {n_bytes / taken / 1e9:8.1f} GB/s")
    print(f"  given back bit for bit: {same}")
    print(json.dumps({"model": given.dummy, "bytes": n_bytes, "is_same": same, "seconds": found}))


if __name__ == "__main__":
    main()
