"""What the side-by-side scripts share: the same random prompts for both engines, rates without prefill, one table.

A rate is of the ids after the first: those of a long run less those of a run of one id, over the difference of times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median

from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams

N_PROMPT, N_ANSWER, REPEATS = 1024, 256, 3

Prompts = Sequence[list[int]]
Generate = Callable[[Prompts, int], object]
"""Answers all prompts with so many ids each, at temperature 1, and comes back when they are there."""


def rates(generate: Generate, n: int, vocab_size: int, n_answer: int = N_ANSWER) -> tuple[float, float]:
    """Ids a second of n answers at once, and tokens a second of their prompts: medians, after a run to warm up."""
    random = Random(0)

    def seconds(n_ids: int) -> float:
        prompts = [random.choices(range(vocab_size), k=N_PROMPT) for _ in range(n)]
        started = time.perf_counter()
        generate(prompts, n_ids)
        return time.perf_counter() - started

    seconds(min(16, n_answer))
    pairs = [(seconds(1), seconds(n_answer)) for _ in range(REPEATS)]
    decoding = median(n * (n_answer - 1) / (long - short) for short, long in pairs)
    return decoding, median(n * N_PROMPT / short for short, _ in pairs)


def ours(engine: Engine) -> Generate:
    def generate(prompts: Prompts, n_ids: int) -> None:
        found = engine.generate(prompts, SamplingParams(temperature=1.0, max_tokens=n_ids))
        assert all(len(one.ids) == n_ids for one in found), "an answer ended early"

    return generate


def table(found: dict[str, dict[int, tuple[float, float]]]) -> list[str]:
    """Lines: a row for each number of answers at once, with both rates of every engine."""
    names = list(found)
    lines = [f"  {'at once':>7}  " + "  ".join(f"{name + ', decode':>26} {'prompts':>10}" for name in names)]
    for n in found[names[0]]:
        cells = [f"{found[name][n][0]:>20,.0f} tok/s {found[name][n][1]:>10,.0f}" for name in names if n in found[name]]
        lines.append(f"  {n:>7}  " + "  ".join(cells))
    return lines
