"""Many requests on one engine: throughput, the host's share of a step, and what one schema request costs the others.

    python benchmarks/engine.py [MODEL]

The embedded model by default, on the CPU or GPU that `harmonium` would take. Prompts are of 64 random ids each, answers
of 64 at temperature 1. Prints the machine, a table and, last, one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from harmonium.chat.llm import LLM
from harmonium.cli.bench import machine
from harmonium.engine.constraint import TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.harmony.grammar import Compiler, Grammar

N_PROMPT, N_ANSWER = 64, 64
REPEATS = 3
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
    engine._runner.run = timed  # type: ignore[method-assign]
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
    where = machine() | {"model": llm.name, "device": str(engine.arena.device)}
    print("  ".join(f"{name}: {value}" for name, value in where.items()))
    for name, value in figures.items():
        print(f"  {name:<28} {value:>10,.2f}")
    print(json.dumps(where | figures))


if __name__ == "__main__":
    main()
