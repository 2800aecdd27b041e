"""What a device can do at most, measured on the spot, and what a step cannot do without: the floor beside each figure.

A decoding step reads every weight that it multiplies by, of the experts those that some row chose, and the keys and
values of all rows. Where routing spreads evenly, nobody chooses an expert with chance (1 - k / n_experts) ** n_rows. A
prompt takes two operations a token and weight, and those of the keys and values before each token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from harmonium.engine import sizes
from harmonium.model.config import PAGE_SIZE, ModelConfig

COPIED_BYTES = {"cuda": 2**31, "cpu": 2**26}
SIDE = {"cuda": 8192, "cpu": 512}
REPEATS = 10


@dataclass(frozen=True)
class Speeds:
    """Bytes a second of a large copy, read and written, and of a matrix that is read once; operations a second of a
    large product in bfloat16."""

    copied: float
    read: float
    multiplied: float

    @property
    def memory(self) -> float:
        return max(self.copied, self.read)


def measure(device: torch.device) -> Speeds:
    n_bytes, side = COPIED_BYTES[device.type], SIDE[device.type]
    source = torch.empty(n_bytes, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copied = 2 * n_bytes / seconds(lambda: target.copy_(source), device)
    matrix = source.fill_(0).view(torch.bfloat16).view(-1, 2048)
    vector = torch.zeros(2048, dtype=torch.bfloat16, device=device)
    read = n_bytes / seconds(lambda: torch.mv(matrix, vector), device)
    left, right = torch.randn(2, side, side, device=device).bfloat16()
    return Speeds(copied, read, 2 * side**3 / seconds(lambda: left @ right, device))


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of one call on the device, the median of some."""
    call()
    if device.type == "cpu":
        return median(_timed(call) for _ in range(3))
    times: list[float] = []
    for _ in range(REPEATS):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
    return median(times)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def step_bytes(config: ModelConfig, n_rows: int, context: int, dtype: str = "bfloat16") -> float:
    """What a step of one new token in each of n_rows reads, each with so much context. dtype: of all but the experts,
    which are packed."""
    found = sizes.weight_bytes(config, True, dtype)
    experts = sum(n_bytes for name, n_bytes in found.items() if ".experts." in name)
    others = sum(found.values()) - experts - found["model.embed_tokens.weight"]
    chosen = 1 - (1 - config.experts_per_token / config.n_experts) ** n_rows
    full, sliding = (n_bytes / PAGE_SIZE for n_bytes in sizes.page_bytes(config, dtype))
    return others + chosen * experts + n_rows * (context * full + min(context, config.window) * sliding)


def step_operations(config: ModelConfig, n_rows: int) -> float:
    """Of the same step, attention left out."""
    return 2.0 * n_rows * (_layers_weights(config) + config.vocab_size * config.hidden_size)


def decode_rates(
    config: ModelConfig, n_rows: int, context: int, speeds: Speeds, dtype: str = "bfloat16"
) -> tuple[float, float]:
    """Tokens a second at most: where reading hides all arithmetic, and where none of it."""
    reading = step_bytes(config, n_rows, context, dtype) / speeds.memory
    return n_rows / reading, n_rows / (reading + step_operations(config, n_rows) / speeds.multiplied)


def prompt_operations(config: ModelConfig, lengths: Sequence[int]) -> float:
    """Of computing whole prompts, and the logits of their last tokens."""
    total = 2.0 * len(lengths) * config.vocab_size * config.hidden_size
    for length in lengths:
        pairs = {False: length * (length + 1) / 2, True: length * min(length, config.window)}
        attention = sum(pairs[config.is_sliding(layer)] for layer in range(config.n_layers))
        total += 2.0 * length * _layers_weights(config) + 4.0 * attention * config.n_heads * config.head_dim
    return total


def prompt_seconds(config: ModelConfig, lengths: Sequence[int], speeds: Speeds, dtype: str = "bfloat16") -> float:
    """At least: by arithmetic, or by reading every weight once."""
    reading = step_bytes(config, sum(lengths), 0, dtype) / speeds.memory
    return max(prompt_operations(config, lengths) / speeds.multiplied, reading)


def _layers_weights(config: ModelConfig) -> int:
    """Weights of the layers that a token meets."""
    hidden, heads = config.hidden_size, config.n_heads * config.head_dim
    attention = hidden * (2 * heads + 2 * config.n_kv_heads * config.head_dim)
    experts = config.experts_per_token * 3 * hidden * config.intermediate_size
    return config.n_layers * (attention + hidden * config.n_experts + experts)
