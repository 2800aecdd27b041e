"""The engine on a GPU: the same ids with graphs and without, one step ahead and not; where a step's time goes.

    python -m benchmarks.gpu_engine [20b | 120b] [--only draws,float32,cpu,bfloat16,profile]

float32 is nano and a random model of its size, in every way of running requests; cpu is nano beside the CPU; bfloat16
and profile are random weights of full width, few layers for the former and all for the latter. In bfloat16 two ids can
come out nearly equal, and a batch that is filled up sums in another order: requests that part are counted. Prints
tables and one last JSON line; profiles go to the folder named by OUT, if it is set.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from benchmarks import gpu_equality
from benchmarks.device import needs_gpu
from harmonium.chat import loading
from harmonium.chat.restraint import Compiler, Restraint, Rules
from harmonium.cli.gpu_bench.wanted import named
from harmonium.engine import noise
from harmonium.engine.constraint import UNLIMITED, TableConstraint
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.engine.sampler import Draw, Masking, Randomness, Sampler
from harmonium.engine.table_arena import TableArena
from harmonium.harmony.convert import conversation
from harmonium.model.config import ModelConfig
from harmonium.model.dummy import CONFIGS, Dummy
from harmonium.model.transformer import Transformer

RESULTS: dict[str, Any] = {}
SECTIONS = ("draws", "float32", "cpu", "bfloat16", "profile")
WAYS = {"plain": (False, False), "ahead": (True, False), "graphs": (False, True), "both": (True, True)}
"""Name to: whether steps overlap, whether they are graphs."""


def requests(n: int, vocab_size: int, seed: int) -> list[list[int]]:
    random = Random(seed)
    return [random.choices(range(vocab_size), k=random.randrange(40, 300)) for _ in range(n)]


def compared(model: Transformer, constraint: TableConstraint, stop_ids: tuple[int, ...]) -> None:
    """Requests of all kinds through every way of running them."""
    kinds = [
        SamplingParams(seed=1, max_tokens=48, stop_ids=stop_ids),
        SamplingParams(temperature=0, max_tokens=48, stop_ids=stop_ids),
        SamplingParams(seed=2, max_tokens=48, top_k=50, top_p=0.9),
        SamplingParams(seed=3, max_tokens=48, presence_penalty=1.0),
        SamplingParams(seed=4, max_tokens=48, logprobs=3),
    ]
    for n in (1, 3, 16, 37):
        for label, params in (("drawn", kinds[:1] * n), ("mixed", [kinds[i % len(kinds)] for i in range(n)])):
            prompts = requests(n, model.config.vocab_size, n)
            constraints = [constraint if i % 2 == 0 else None for i in range(n)]
            found = {}
            for way, (overlap, graphs) in WAYS.items():
                engine = Engine(model, n_rows=64, cache_bytes=2**30, context=2048, overlap=overlap, graphs=graphs)
                engine.generate(prompts, params, constraints)
                engine.cache.forget_idle()
                answers = engine.generate(prompts, params, constraints)
                assert all(answer.error is None for answer in answers), [answer.error for answer in answers]
                found[way] = [answer.ids for answer in answers]
            parted = {way: sum(a != b for a, b in zip(ids, found["plain"], strict=True)) for way, ids in found.items()}
            RESULTS[f"{label} {n} that part"] = parted
            print(f"  {label:6} {n:3} requests, parted from plain steps: {parted}", flush=True)


def draws(vocab_size: int, constraint: TableConstraint) -> None:
    """The fused choice against the sampler's, on the same logits."""
    device, n = torch.device("cuda"), 64
    arena = TableArena(vocab_size, device)
    arena.acquire(constraint.table)
    sampler = Sampler(vocab_size, n, arena, device)
    n_parted, widest = 0, 0.0
    for seed in range(8):
        torch.manual_seed(seed)
        logits = torch.randn(n, vocab_size, device=device) * 3
        keys = torch.from_numpy(noise.position_keys(np.arange(n, dtype=np.uint64), np.full(n, seed)).copy()).to(device)
        states = torch.randint(constraint.table.n_states, (n,), device=device) + arena.base(constraint.table)
        states[::3] = 0
        places = torch.stack((states, torch.zeros_like(states)), 1)
        lanes, ones = torch.arange(n, device=device), torch.ones(n, device=device)
        budgets = torch.full((n,), UNLIMITED, device=device)
        drawn = sampler.draw(logits.clone(), Draw(ones, ones, keys, places, budgets), lanes)
        randomness = Randomness(ones[:, None], ones[:, None], keys, None, None)
        sampled = sampler.sample(logits.clone(), randomness, Masking(lanes, places, budgets, None, None))
        scores = logits + noise.gumbel(noise.token_hashes(vocab_size, device), keys)
        margin = (scores.gather(1, drawn.clamp(min=0)[:, None]) - scores.gather(1, sampled.clamp(min=0)[:, None])).abs()
        n_parted += int((drawn != sampled).sum())
        widest = max(widest, float(margin[drawn != sampled].max()) if (drawn != sampled).any() else 0.0)
    RESULTS["draws that part"] = {"of": 8 * n, "parted": n_parted, "margin": widest}
    print(f"  {n_parted} of {8 * n} draws part from the sampler's, by {widest:.1e} at most")


def profiled(model: Transformer, constraint: TableConstraint, n: int, folder: Path) -> None:
    """Where the time of a step of n requests goes: the device's kernels, and the host's functions."""
    engine = Engine(model, n_rows=256, cache_bytes=12 * 10**9)
    for prompt in requests(n, model.config.vocab_size, n):
        engine.add((prompt * 30)[:1024], SamplingParams(seed=1, max_tokens=400), constraint)
    while engine.scheduler.waiting or any(r.n_pending > 1 for r in engine.scheduler.running):
        engine.step()
    for _ in range(20):
        engine.step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(50):
        engine.step()
    step_us = (time.perf_counter() - started) / 50 * 1e6
    host = cProfile.Profile()
    host.enable()
    for _ in range(50):
        engine.step()
    host.disable()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(10):
            engine.step()
        torch.cuda.synchronize()
    totals: dict[str, list[float]] = {}
    for event in seen.events():
        if event.device_type.name == "CUDA":
            totals.setdefault(event.name, []).append(event.time_range.elapsed_us())
    rows = sorted(totals.items(), key=lambda item: -sum(item[1]))
    busy_us = sum(sum(times) for times in totals.values()) / 10
    RESULTS[f"step of {n}"] = {"us": step_us, "kernels_us": busy_us, "tok_s": n * 1e6 / step_us}
    print(
        f"  {n} requests: {step_us:.0f} us a step, {n * 1e6 / step_us:.0f} tok/s; kernels {busy_us:.0f} us", flush=True
    )
    for name, times in rows[:14]:
        print(f"    {name[:48]:48} {len(times) / 10:6.1f} x {sum(times) / len(times):8.2f} = {sum(times) / 10:8.0f} us")
    text = io.StringIO()
    pstats.Stats(host, stream=text).sort_stats("tottime").print_stats(25)
    (folder / f"host_{n}.txt").write_text(text.getvalue())
    waited = sum(value[2] for key, value in pstats.Stats(host).stats.items() if "synchronize" in key[2])  # type: ignore[attr-defined]
    print(f"    the host waits {waited / 50 * 1e6:.0f} us of a step (under its profiler)")


def full_width(config: ModelConfig, constraint: TableConstraint, stop_ids: tuple[int, ...]) -> None:
    """A few layers in bfloat16, graphs and overlap on and off."""
    model = Transformer.load(Dummy(config.with_layers(4), device="cuda"), "cuda")
    compared(model, constraint, stop_ids)


def profiles(config: ModelConfig, constraint: TableConstraint, folder: Path) -> None:
    model = Transformer.load(Dummy(config, device="cuda"), "cuda")
    for n in (1, 16, 64, 256):
        profiled(model, constraint, n, folder)
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine on a GPU: equality of its ways, and a step's time.")
    parser.add_argument("size", nargs="?", default="20b", choices=sorted(CONFIGS))
    parser.add_argument("--only", default="", help=f"sections, with commas: {','.join(SECTIONS)}")
    given = parser.parse_args()
    only = named(given.only) or SECTIONS
    if unknown := set(only) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    needs_gpu()
    folder, config = Path(os.environ.get("OUT", ".")), CONFIGS[given.size]
    vocabulary = loading.load("nano", "cpu").vocabulary
    compiler = Compiler(vocabulary, config.vocab_size)
    constraint = Restraint(conversation("Hello"), Rules(), compiler).constraint(0, 0)
    stop_ids = tuple(sorted(vocabulary.stop_ids))
    sections: dict[str, Callable[[], Any]] = {
        "draws": lambda: draws(config.vocab_size, constraint),
        "float32": lambda: RESULTS.update(float32=gpu_equality.in_float32("cuda")),
        "cpu": lambda: RESULTS.update(cpu=gpu_equality.beside_the_cpu("cuda")),
        "bfloat16": lambda: full_width(config, constraint, stop_ids),
        "profile": lambda: profiles(config, constraint, folder),
    }
    for name in only:
        started = time.perf_counter()
        print(name, flush=True)
        sections[name]()
        torch.cuda.empty_cache()
        print(f"  {name} took {time.perf_counter() - started:.1f} s", flush=True)
        (folder / "gpu_engine.json").write_text(json.dumps(RESULTS, indent=1))
    print(json.dumps(RESULTS))


if __name__ == "__main__":
    with torch.no_grad():
        main()
