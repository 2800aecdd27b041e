"""gpt-oss-20b with random weights on this CPU, beside the time that reading its bytes takes here.

    python -m benchmarks.cpu_20b [--layers N] [--dtype bfloat16|int8] [--checkpoint FOLDER] [--start] [--numerics]

Two layers by default, from which a token and a prompt of all 24 are put together; `--layers 24` measures them, with
14 GB of memory. In rounds a prompt is computed, then tokens are decoded through `Transformer.step`, memory being read
before and after each: how fast it is read changes from second to second where machines share it. Times are the best,
the share of the memory's speed is the median of the tokens'. A checkpoint is made where the folder has none. With
`--start` it is opened by `harmonium` in a process of its own, too: seconds from the command to its end after one token,
and its peak memory. `--numerics` compares each layer with float32. Prints the machine, tables and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.cpu_numerics import layer_errors
from benchmarks.memory_read import read_rate
from harmonium.engine import sizes
from harmonium.hardware import machine
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.cpu.pool import POOL
from harmonium.model import checkpoint, dummy, hub
from harmonium.model.config import GPT_OSS_20B, PAGE_SIZE, ModelConfig
from harmonium.model.transformer import Transformer

CONTEXT, N_PROMPT = 1024, 512


class Stepper:
    """Steps of one row on pages of its own."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        model.prepare()
        self.cache = model.new_cache(CONTEXT // PAGE_SIZE, CONTEXT // PAGE_SIZE)
        self.table = torch.arange(CONTEXT // PAGE_SIZE, dtype=torch.int32)[None]

    def batch(self, start: int, n: int) -> StepBatch:
        positions = torch.arange(start, start + n)
        group, starts = PageGroup(self.table, positions.clone()), torch.tensor([0, n], dtype=torch.int32)
        lengths = torch.tensor([start + n], dtype=torch.int32)
        return StepBatch(positions, starts, lengths, group, group, n, start + n)

    @torch.no_grad()
    def seconds(self, start: int, n: int) -> float:
        ids, batch = torch.randint(self.model.config.vocab_size, (n,)), self.batch(start, n)
        started = time.perf_counter()
        self.model.step(ids, batch, self.cache, torch.tensor([n - 1]))
        return time.perf_counter() - started

    @torch.no_grad()
    def operations(self) -> dict[str, float]:
        """Seconds of each operation for one token, a layer's averaged over the layers, best of some rounds."""
        model, batch, config = self.model, self.batch(N_PROMPT, 1), self.model.config
        x, angles = torch.randn(1, config.hidden_size), torch.randn(2, 1, config.head_dim // 2)
        q, shares = torch.randn(1, config.n_heads, config.head_dim), torch.full((1, config.experts_per_token), 0.25)
        slots, k, v = batch.full.slots, self.cache.k[-1], self.cache.v[-1]

        def chosen() -> torch.Tensor:
            return torch.randperm(config.n_experts)[None, : config.experts_per_token]

        calls: dict[str, Callable[[Any], object]] = {
            "norm, q, k, v, rotation, cache": lambda layer: layer.qkv(x, *angles, k, v, slots),
            "attention": lambda layer: layer.attend(q, k, v, batch, batch.full),
            "output projection, norm, router": lambda layer: layer.project_route(x, q),
            "experts": lambda layer: layer.experts(x, x.clone(), chosen(), shares),
        }
        with POOL.working():
            found = {
                name: best(lambda call=call: [call(layer) for layer in model._layers]) / config.n_layers  # type: ignore[misc]
                for name, call in calls.items()
            }
            return found | {"norm and head": best(lambda: model._head(x, None))}  # type: ignore[misc]


def best(call: Callable[[], object]) -> float:
    def timed() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return min(timed() for _ in range(10))


def token_bytes(model: Transformer, dtype: str) -> dict[str, int]:
    """What one token reads of a layer, operation by operation, and of the head."""
    config, found = model.config, sizes.weight_bytes(model.config, True, dtype)
    for i, layer in enumerate(model.weights.layers):
        found |= {f"model.layers.{i}.self_attn.{name}_proj.weight": getattr(layer, name).nbytes for name in "qkvo"}
    found["lm_head.weight"] = model.weights.head.nbytes  # where a matrix is coded, it takes fewer
    parts = {
        "norm, q, k, v, rotation, cache": ("q_proj", "k_proj", "v_proj", "input_layernorm"),
        "attention": ("sinks",),
        "output projection, norm, router": ("o_proj", "router", "post_attention"),
        "experts": ("experts",),
        "norm and head": ("lm_head", "model.norm"),
    }
    sums = {name: sum(n for key, n in found.items() if any(w in key for w in words)) for name, words in parts.items()}
    sums["experts"] = sums["experts"] * config.experts_per_token // config.n_experts
    return {name: n if name == "norm and head" else n // config.n_layers for name, n in sums.items()}


@dataclass
class Speeds:
    """GB/s of reading before and after each token, its seconds, those of prompts of N_PROMPT and of operations.

    n_bytes: what a token reads in each operation, `token_bytes`.
    """

    reads: list[float]
    tokens: list[float]
    prompts: list[float]
    operations: dict[str, float]
    n_bytes: dict[str, int]

    def share(self, n_bytes: int) -> float:
        """Of the memory's speed beside it, what a token that reads so many bytes came to."""
        around = [(before + after) / 2 for before, after in pairwise(self.reads)]
        return median(n_bytes / 1e9 / token / read for token, read in zip(self.tokens, around, strict=True))


def measure(model: Transformer, dtype: str, n_rounds: int, n_tokens: int) -> Speeds:
    stepper, memory = Stepper(model), model.weights.layers[0].experts.gate_up.view(-1).numpy()
    stepper.seconds(0, N_PROMPT)  # compiles, and brings every page into memory
    speeds = Speeds([read_rate(memory)], [], [], {}, token_bytes(model, dtype))
    for _ in range(n_rounds):
        speeds.prompts.append(stepper.seconds(0, N_PROMPT))
        speeds.reads[-1] = read_rate(memory)
        for i in range(n_tokens):
            speeds.tokens.append(stepper.seconds(N_PROMPT + i, 1))
            speeds.reads.append(read_rate(memory))
    speeds.operations = stepper.operations()
    return speeds


def report(speeds: Speeds, config: ModelConfig, dtype: str) -> dict[str, float]:
    """Prints a token's budget and returns the figures: seconds of these layers, the rest of all 24."""
    n_bytes, n_layers = speeds.n_bytes, GPT_OSS_20B.n_layers
    head = speeds.operations["norm and head"]
    print(f"\n{dtype}: {config.n_layers} layers, {POOL.n_workers + 1} threads, reads {max(speeds.reads):.1f} GB/s")
    print(f"  {'':<32} {'each':>9} {'its bytes':>10} {'GB/s':>7} {'in a token':>11}")
    for name, seconds in speeds.operations.items():
        n = 1 if name == "norm and head" else n_layers
        size, rate = n_bytes[name] / 1e6, n_bytes[name] / seconds / 1e9
        print(f"  {name:<32} {1e6 * seconds:>6.0f} us {size:>7.2f} MB {rate:>7.1f} {1e3 * n * seconds:>8.2f} ms")

    def read_by(n_layers: int) -> int:
        return sum(n * (1 if name == "norm and head" else n_layers) for name, n in n_bytes.items())

    bytes_more, layers = read_by(n_layers) / read_by(config.n_layers), n_layers / config.n_layers
    found = {
        "token_s": min(speeds.tokens),
        "token_median_s": median(speeds.tokens),
        "prompt_s": min(speeds.prompts),
        "token_gb": read_by(n_layers) / 1e9,
        "decode_tok_s": 1 / min(speeds.tokens) / bytes_more,
        "decode_median_tok_s": 1 / median(speeds.tokens) / bytes_more,
        "read_gb_s": max(speeds.reads),
        "read_median_gb_s": median(speeds.reads),
        "share_of_read": speeds.share(read_by(config.n_layers)),
        "prefill_tok_s": N_PROMPT / ((min(speeds.prompts) - head) * layers + head),
    }
    for name, value in found.items():
        print(f"  {name:<32} {value:>9.3f}")
    return found


def first_token(folder: Path, dtype: str) -> dict[str, float]:
    """Of `harmonium` on a checkpoint in a process of its own: seconds to the first token, and its peak memory."""
    words = ["-m", str(folder), "--device", "cpu", "--dtype", dtype, "--max-tokens", "1", "--context", "2048", "Hello"]
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "harmonium", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said = process.communicate()[0].decode()
    seconds, used = time.perf_counter() - started, _children_peak()
    if process.returncode:
        raise SystemExit(f"harmonium {' '.join(words)} failed:\n{said}")
    found = {"command_s": seconds, "peak_gb": used}
    print(f"  {'from the command to its end, one token':<40} {seconds:>6.2f} s, peak memory {used:.2f} GB")
    return found


def _children_peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def ask_for_room(folder: Path, n_bytes: int) -> None:
    """Makes the folder, and ends the program where so much does not fit into it."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < n_bytes:
        raise SystemExit(f"{folder} has no room for {sizes.shown(n_bytes)}; give another folder.")


def checkpoint_bytes(config: ModelConfig) -> int:
    return sum(sizes.weight_bytes(config, True, "bfloat16").values())


def make_checkpoint(folder: Path, config: ModelConfig) -> None:
    """Random weights with nano's tokenizer, in Hugging Face's layout."""
    nano = hub.resolve("nano")
    checkpoint.save(folder, config, dummy.Dummy(config).tensors(), files=[nano / "tokenizer.json"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dtype", choices=("bfloat16", "int8"), action="append")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8, help="of a round")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--numerics", action="store_true")
    options = parser.parse_args()
    if options.start and options.checkpoint is None:
        parser.error("--start opens a checkpoint; give its folder with --checkpoint")
    config = GPT_OSS_20B.with_layers(options.layers)
    print("  ".join(f"{name}: {value}" for name, value in machine().items()))
    results: dict[str, dict[str, float]] = {}
    if options.checkpoint is not None and not (options.checkpoint / "config.json").exists():
        ask_for_room(options.checkpoint, checkpoint_bytes(config))
        make_checkpoint(options.checkpoint, config)
    for dtype in options.dtype or ("bfloat16", "int8"):
        source = dummy.Dummy(config) if options.checkpoint is None else checkpoint.open(options.checkpoint)
        model = Transformer.load(source, dtype=getattr(torch, dtype))
        results[dtype] = report(measure(model, dtype, options.rounds, options.tokens), model.config, dtype)
        if options.numerics:
            results[dtype] |= layer_errors(model, source)
        del model
        if options.start:
            results[dtype] |= first_token(options.checkpoint, dtype)
    print(json.dumps(machine() | {"layers": options.layers, **results}))


if __name__ == "__main__":
    main()
