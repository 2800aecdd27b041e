"""Many requests on one engine: throughput, the host's share of a step, and what one schema request costs the others;
and how much faster answers come when ids are guessed ahead.

    python -m benchmarks.engine [MODEL]

The embedded model by default, on the CPU or GPU that `harmonium` would take. Prompts are of 64 random ids each, answers
of 64 at temperature 1. Guesses are measured on text that repeats a line of the prompt, and on ids drawn evenly out of
few, where pairs of ids come again all the time and what followed them does not, so that guesses earn nothing: engines
with and without them in turn, median of ten ratios, and how many guesses stood of how many. Prints the machine, a table
and, last, one JSON line.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from harmonium.chat.llm import LLM
from harmonium.engine.constraint import TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.engine.speculative import NgramDrafter
from harmonium.hardware import machine
from harmonium.harmony.grammar import Compiler, Grammar

N_PROMPT, N_ANSWER = 64, 64
N_FEW = 32
"""Ids that even text is drawn of: a guess stands once in so many times."""
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


@dataclass
class Text:
    """What is asked, and how it is answered."""

    name: str
    params: SamplingParams
    prompts: Callable[[], list[list[int]]]


def speedup(engines: Sequence[Engine], text: Text) -> float:
    """How many times as fast as the first engine the second answers: median of the ratios of PAIRS runs.

    In a run the engines take their steps in turn, so that both have the same machine.
    """

    def ratio(order: Sequence[int]) -> float:
        for prompt in text.prompts():
            for engine in engines:
                engine.add(prompt, text.params)
        seconds = [0.0, 0.0]
        while any(engine.has_work for engine in engines):
            for i in (i for i in order if engines[i].has_work):
                started = time.perf_counter()
                engines[i].step()
                seconds[i] += time.perf_counter() - started
        return seconds[0] / seconds[1]

    return median([ratio((0, 1) if number % 2 else (1, 0)) for number in range(PAIRS + 2)][2:])


def texts(llm: LLM, n: int, n_ids: int) -> list[Text]:
    """Two kinds, for n requests at once."""

    def copying() -> list[list[int]]:
        words = [" ".join(random.sample(WORDS, 5)) for _ in range(n)]
        return [llm.render(f"Repeat exactly: {text}, {text}", effort="high") for text in words]

    few = random.sample(range(n_ids), N_FEW)
    even = SamplingParams(temperature=100, logit_bias=tuple((id_, 1e4) for id_ in few), max_tokens=N_ANSWER)
    return [
        Text("copying", SamplingParams(temperature=0, max_tokens=2 * N_ANSWER), copying),
        Text("even", even, lambda: [random.choices(few, k=4 * N_PROMPT) for _ in range(n)]),
    ]


def guesses(llm: LLM, n: int, n_ids: int) -> dict[str, float]:
    """By text, how much faster n answers together are with guesses, and how many of how many stood."""
    model, found = llm.engine._runner.model, {}
    for text in texts(llm, n, n_ids):
        speculation = (guessing := Engine(model, n_rows=n, drafter=NgramDrafter())).speculation
        assert speculation is not None
        ratio = speedup((Engine(model, n_rows=n), guessing), text)
        found[f"guesses_{n}_{text.name}_ratio"] = round(ratio, 3)
        found[f"guesses_{n}_{text.name}_stood"] = speculation.n_stood
        found[f"guesses_{n}_{text.name}_of"] = speculation.n_drafted
    return found


def main() -> None:
    llm = LLM(*sys.argv[1:2])
    n_ids, vocab_size = llm.vocabulary.size - 100, llm.engine._runner.model.config.vocab_size
    engine = Engine(llm.engine._runner.model, n_rows=64)
    where = machine() | {"model": llm.name, "device": str(engine.arena.device)}
    print("  ".join(f"{name}: {value}" for name, value in where.items()), flush=True)
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
    show(figures)
    for n in (1, 8, 32):
        found = guesses(llm, n, n_ids)
        show(found)
        figures |= found
    print(json.dumps(where | figures))


def show(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        print(f"  {name:<34} {value:>10,.2f}", flush=True)


if __name__ == "__main__":
    main()
