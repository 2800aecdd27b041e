"""Many requests on one engine: throughput, the host's share of a step, and what one schema request costs the others;
and how much faster answers come when ids are guessed ahead.

    python -m benchmarks.engine [MODEL]

The embedded model by default, on the CPU or GPU that `harmonium` would take. Prompts are of 64 random ids each, answers
of 64 at temperature 1. Guesses are measured on text that repeats a line of the prompt, and on random ids, where they
earn nothing: engines with and without them in turn, median of ten ratios. Prints the machine, a table and, last, one
JSON line.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from harmonium.chat.llm import LLM
from harmonium.cli.bench import machine
from harmonium.engine.constraint import TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.engine.speculative import NgramDrafter
from harmonium.harmony.grammar import Compiler, Grammar

N_PROMPT, N_ANSWER = 64, 64
REPEATS, PAIRS = 3, 10
WORDS = ("grey", "sea", "old", "ship", "red", "stone", "green", "water", "small", "house", "garden", "hill", "road")
STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1000}
"""No answer of N_ANSWER ids comes to its end."""


def prompts(n: int, n_ids: int) -> list[list[int]]:
    """Distinct at every call, so that nothing is in the cache."""
    ids: list[list[int]] = torch.randint(n_ids, (n, N_PROMPT)).tolist()
    return ids


def at_once(engine: Engine, n: int, n_ids: int) -> float:
    """Tokens a second of n answers together, their prompts included in the time."""

    def measure() -> float:
        started = time.perf_counter()
        engine.generate(prompts(n, n_ids), SamplingParams(max_tokens=N_ANSWER))
        return n * N_ANSWER / (time.perf_counter() - started)

    measure()
    return median(measure() for _ in range(REPEATS))


def host_share(engine: Engine, n: int, n_ids: int) -> tuple[float, float]:
    """Of a step of n decoding requests: its milliseconds, and the part of it that is neither model nor sampler."""
    running: list[float] = []
    run = engine._runner.run

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        found = run(*arguments)
        running.append(time.perf_counter() - started)
        return found

    for prompt in prompts(n, n_ids):
        engine.add(prompt, SamplingParams(max_tokens=N_ANSWER))
    while engine.scheduler.waiting or any(request.n_pending > 1 for request in engine.scheduler.running):
        engine.step()
    engine._runner.run = timed  # type: ignore[method-assign, assignment]
    steps: list[float] = []
    for _ in range(N_ANSWER // 2):
        started = time.perf_counter()
        engine.step()
        steps.append(time.perf_counter() - started)
    engine._runner.run = run  # type: ignore[method-assign]
    while engine.has_work:
        engine.step()
    shares = [1 - inside / whole for inside, whole in zip(running, steps, strict=True)]
    return 1e3 * median(steps), median(shares)


def schema_cost(engine: Engine, n: int, n_ids: int, constraint: Callable[[], TableConstraint]) -> float:
    """How much longer the answers of n - 1 requests take where one more has a schema than where it has none."""

    def seconds(extra: TableConstraint | None) -> float:
        first, *others = prompts(n, n_ids)
        engine.add(first, SamplingParams(max_tokens=N_ANSWER), extra)
        waited_for = {engine.add(prompt, SamplingParams(max_tokens=N_ANSWER)) for prompt in others}
        started = time.perf_counter()
        while waited_for:
            waited_for -= {output.request_id for output in engine.step() if output.finish_reason is not None}
        taken = time.perf_counter() - started
        while engine.has_work:
            engine.step()
        return taken

    seconds(constraint())
    ratios = [seconds(constraint()) / seconds(None) for _ in range(2 * REPEATS)]
    return median(ratios) - 1


def speedup(engines: Sequence[Engine], params: SamplingParams, texts: Callable[[], list[list[int]]]) -> float:
    """How many times as fast as the first engine the second answers: median of the ratios of PAIRS runs, in turn."""

    def seconds(engine: Engine, asked: list[list[int]]) -> float:
        started = time.perf_counter()
        engine.generate(asked, params)
        return time.perf_counter() - started

    ratios = []
    for number in range(PAIRS + 2):
        asked = texts()
        taken = [seconds(engine, asked) for engine in (engines if number % 2 else engines[::-1])]
        ratios.append(taken[0] / taken[1] if number % 2 else taken[1] / taken[0])
    return median(ratios[2:])


def guesses(llm: LLM, n: int, n_ids: int) -> dict[str, float]:
    """By text, how much faster n answers together are with guesses."""
    model = llm.engine._runner.model
    engines = [Engine(model, n_rows=n, drafter=drafter) for drafter in (None, NgramDrafter())]
    line = SamplingParams(temperature=0, max_tokens=2 * N_ANSWER)
    drawn = SamplingParams(temperature=1, seed=1, max_tokens=N_ANSWER)

    def copying() -> list[list[int]]:
        words = [" ".join(random.sample(WORDS, 5)) for _ in range(n)]
        return [llm.render(f"Repeat exactly: {text}, {text}", effort="high") for text in words]

    found = {"copying": speedup(engines, line, copying), "random": speedup(engines, drawn, lambda: prompts(n, n_ids))}
    return {f"guesses_{n}_{name}_ratio": round(ratio, 3) for name, ratio in found.items()}


def main() -> None:
    llm = LLM(*sys.argv[1:2])
    n_ids, vocab_size = llm.vocabulary.size - 100, llm.engine._runner.model.config.vocab_size
    engine = Engine(llm.engine._runner.model, n_rows=64)
    matcher = Compiler(llm.vocabulary, vocab_size).compile(Grammar.json_schema(STRINGS))
    step_ms, share = host_share(engine, 64, n_ids)
    cost = schema_cost(engine, 32, n_ids, lambda: body(matcher, vocab_size, sorted(llm.vocabulary.stop_ids)))
    figures = {
        "at_once_1_tok_s": round(at_once(engine, 1, n_ids), 1),
        "at_once_32_tok_s": round(at_once(engine, 32, n_ids), 1),
        "at_once_64_tok_s": round(at_once(engine, 64, n_ids), 1),
        "step_64_ms": round(step_ms, 2),
        "host_share_64_percent": round(100 * share, 2),
        "schema_cost_percent": round(100 * cost, 2),
    }
    for n in (1, 8, 32):
        figures |= guesses(llm, n, n_ids)
    where = machine() | {"model": llm.name, "device": str(engine.arena.device)}
    print("  ".join(f"{name}: {value}" for name, value in where.items()))
    for name, value in figures.items():
        print(f"  {name:<28} {value:>10,.2f}")
    print(json.dumps(where | figures))


if __name__ == "__main__":
    main()
