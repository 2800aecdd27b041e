"""What is measured, by name: each section's figures, with the floor of each beside it where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

import torch

from harmonium import hardware
from harmonium.cli.gpu_bench import speeds
from harmonium.cli.gpu_bench.load import Decoded, Load
from harmonium.cli.gpu_bench.speeds import Speeds
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.model.config import PAGE_SIZE, ModelConfig
from harmonium.model.transformer import Transformer

N_PROMPT, N_ANSWER, REPEATS = 1024, 256, 3
N_LONG = 8192
N_AT_ONCE, N_COMPARED, SMALL_CACHE_BYTES = 16, 64, 2**30


@dataclass(frozen=True)
class Figure:
    """runs: what value is the median of. floor: what bytes, or operations, allow at most, or at least where is_time;
    serial: where they do not overlap."""

    key: str
    label: str
    value: float
    unit: str
    runs: tuple[float, ...] = ()
    floor: float | None = None
    serial: float | None = None
    is_time: bool = False

    @property
    def share(self) -> float | None:
        """How much of what is possible was reached."""
        if self.floor is None:
            return None
        return self.floor / self.value if self.is_time else self.value / self.floor


@dataclass(frozen=True)
class Left:
    """A section that was left out, and why."""

    key: str
    reason: str


@dataclass
class Bench:
    load: Load
    model: Transformer
    speeds: Speeds
    device: torch.device
    n_prompt: int = N_PROMPT
    n_answer: int = N_ANSWER
    n_long: int = N_LONG
    repeats: int = REPEATS

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @property
    def dtype(self) -> str:
        """Of weights that are not packed."""
        return str(self.model.weights.embedding.dtype).removeprefix("torch.")


def decode(bench: Bench, n: int) -> Iterator[Figure | Left]:
    """n answers at once."""
    key, length = f"decode_{n}", bench.n_prompt + bench.n_answer
    if not bench.load.holds(n, length):
        yield Left(key, f"the cache does not hold {n} requests of {length:,} tokens")
        return
    bench.load.decode(n, bench.n_prompt, min(16, bench.n_answer))  # compiles, and captures
    found = [bench.load.decode(n, bench.n_prompt, bench.n_answer) for _ in range(bench.repeats)]
    if not all(one.is_whole for one in found):
        yield Left(key, f"the first answers were over before the last of {n} had begun, so never {n} were at once")
        return
    floor, serial = speeds.decode_rates(
        bench.config, n, bench.n_prompt + bench.n_answer // 2, bench.speeds, bench.dtype
    )
    label = f"decode, {n} at once" if n > 1 else "decode, batch 1"
    yield _rate(key, label, found, floor, serial)


def _rate(key: str, label: str, found: list[Decoded], floor: float, serial: float | None) -> Figure:
    rates = tuple(one.rate for one in found)
    return Figure(f"{key}_tok_s", label, median(rates), "tok/s", rates, floor, serial)


def prefill(bench: Bench, n: int, length: int) -> Iterator[Figure | Left]:
    """n prompts at once."""
    key = f"prefill_{n}x{length}"
    if not bench.load.holds(1, length + 1):
        yield Left(key, f"the context does not hold {length:,} tokens")
        return
    bench.load.prefill(n, length)
    found = tuple(n * length / bench.load.prefill(n, length) for _ in range(bench.repeats))
    floor = n * length / speeds.prompt_seconds(bench.config, [length] * n, bench.speeds, bench.dtype)
    yield Figure(f"{key}_tok_s", f"prefill, {n} x {length:,}", median(found), "tok/s", found, floor)


def first_token(bench: Bench) -> Iterator[Figure]:
    """From adding one prompt to its first id."""
    bench.load.prefill(1, bench.n_prompt)
    found = tuple(1e3 * bench.load.prefill(1, bench.n_prompt) for _ in range(2 * bench.repeats + 1))
    floor = 1e3 * speeds.prompt_seconds(bench.config, [bench.n_prompt], bench.speeds, bench.dtype)
    label = f"first token of a prompt of {bench.n_prompt:,}"
    yield Figure("first_token_ms", label, median(found), "ms", found, floor, is_time=True)


def long(bench: Bench) -> Iterator[Figure]:
    """Batch 1 at the end of the whole context, as far as the cache reaches."""
    cache = bench.load.engine.cache
    length = min(bench.load.engine.context, cache.full.n_pages * PAGE_SIZE) - 2 * bench.n_answer
    found = [bench.load.decode(1, length, bench.n_answer) for _ in range(bench.repeats)]
    floor, serial = speeds.decode_rates(bench.config, 1, length + bench.n_answer // 2, bench.speeds, bench.dtype)
    yield _rate("decode_long", f"decode, batch 1 at {length:,} of context", found, floor, serial)
    waits = tuple(one.first_token_s for one in found)
    least = speeds.prompt_seconds(bench.config, [length], bench.speeds, bench.dtype)
    yield Figure("first_token_long_s", f"first token of {length:,}", median(waits), "s", waits, least, is_time=True)


def same_ids(bench: Bench) -> Iterator[Figure | Left]:
    """Answers by graphs, a step ahead, and by neither: how many of their ids are the same, up to the first that is not.

    Once two ids are nearly equal and sums come in another order, answers part for good.
    """
    if bench.device.type != "cuda":
        yield Left("same_ids", "there are no graphs on a CPU")
        return
    if hardware.free_bytes(str(bench.device)) < 4 * SMALL_CACHE_BYTES:
        yield Left("same_ids", "memory does not hold two more engines")
        return

    def engine(is_plain: bool) -> Engine:
        way = False if is_plain else None
        context = bench.n_prompt + N_COMPARED
        return Engine(
            bench.model, context=context, n_rows=N_AT_ONCE, cache_bytes=SMALL_CACHE_BYTES, graphs=way, overlap=way
        )

    engines = engine(is_plain=False), engine(is_plain=True)
    for n in (1, N_AT_ONCE):
        prompts = [bench.load.prompt(bench.n_prompt) for _ in range(n)]
        params = [SamplingParams(max_tokens=N_COMPARED, seed=seed) for seed in range(n)]
        constraints = [bench.load.constraint() for _ in range(n)]
        found = [engine.generate(prompts, params, constraints) for engine in engines]
        pairs = [(mine.ids, its.ids) for mine, its in zip(*found, strict=True)]
        common = sum(len([*takewhile(lambda both: both[0] == both[1], zip(*pair, strict=False))]) for pair in pairs)
        share = 100 * common / sum(len(its) for _, its in pairs)
        yield Figure(f"same_ids_{n}_percent", f"ids as without graphs, {n} at once", share, "%")


def memory(bench: Bench) -> Iterator[Figure]:
    """What is taken of the device until now, and what PyTorch took of it in this process."""
    if bench.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(bench.device)
        yield Figure("device_gb", "the card's memory in use, by whomever", (total - free) / 1e9, "GB")
        peak = torch.cuda.max_memory_allocated(bench.device)
        yield Figure("allocated_gb", "allocated at most, by this process", peak / 1e9, "GB")


SECTIONS: dict[str, Callable[[Bench], Iterator[Figure | Left]]] = {
    "batch1": lambda bench: decode(bench, 1),
    "c16": lambda bench: decode(bench, 16),
    "c64": lambda bench: decode(bench, 64),
    "c256": lambda bench: decode(bench, 256),
    "prefill": lambda bench: prefill(bench, 1, bench.n_long),
    "prefill64": lambda bench: prefill(bench, 64, bench.n_prompt),
    "first": first_token,
    "long": long,
    "ids": same_ids,
    "memory": memory,
}
"""In the order in which they run."""
