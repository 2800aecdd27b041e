"""`harmonium bench`: what the embedded model, or another, does on this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from harmonium.cli.options import Json, ModelOptions

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM

QUESTION = "How many r's are in the word 'strawberry'?"
N_DECODED = 256
N_PREFILLED = 10_000
REPEATS = 3


@dataclass(frozen=True)
class Figure:
    """One line of the table. bound: what it is held to, as the table shows it."""

    key: str
    label: str
    value: float
    unit: str


def bench(*, model: ModelOptions = ModelOptions(), json: Json = False) -> None:
    """Measure decoding, prefill, the first token, and a whole question from the shell.

    Prints the machine, a table and, last, one JSON line.

    Parameters
    ----------
    json
        Print only the JSON line.
    """
    from harmonium.cli import session
    from harmonium.cli.terminal import print_json

    llm = session.open_llm(model)
    figures = [decoding(llm), first_token(llm), prefill(llm)]
    if model.is_default:
        figures += one_shot()
    where = machine() | {"model": llm.name}
    if not json:
        print("  ".join(f"{name}: {value}" for name, value in where.items()))
        for figure in figures:
            print(f"  {figure.label:<52} {figure.value:>10,.1f} {figure.unit}")
    print_json(where | {figure.key: figure.value for figure in figures})


def decoding(llm: LLM) -> Figure:
    """Tokens a second at batch 1, greedy, after a short prompt."""
    prompt = llm.render(QUESTION)
    run(llm, prompt, 8)
    seconds = [run(llm, prompt, N_DECODED) - run(llm, prompt, 1) for _ in range(REPEATS)]
    rate = (N_DECODED - 1) / median(seconds)
    return Figure("decode_tok_s", f"decode at batch 1, {N_DECODED} tokens", round(rate, 1), "tok/s")


def first_token(llm: LLM) -> Figure:
    """From the messages to the first piece of an answer, in a process that is warm and has none of it in its cache."""

    def measure() -> float:
        llm.engine.cache.forget_idle()
        started = time.perf_counter()
        events = llm.stream(QUESTION, temperature=0.0)
        next(events)
        seconds = time.perf_counter() - started
        events.close()
        return seconds

    return Figure("first_token_ms", "messages to the first token, warm", round(1e3 * typical(measure), 1), "ms")


def prefill(llm: LLM) -> Figure:
    """A long prompt, as agents send it, up to its first token."""
    length = min(N_PREFILLED, llm.context - 1)
    text = "The quick brown fox jumps over the lazy dog. " * length
    prompt = llm.vocabulary.encode(text)[:length]
    return Figure("prefill_s", f"prefill of {length:,} tokens", round(run(llm, prompt, 1), 2), "s")


def one_shot() -> list[Figure]:
    """The question as a process of its own: wall time and, where the system tells, the most memory it had."""
    walls, peaks = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        command = [sys.executable, "-m", "harmonium", QUESTION, "--temperature", "0"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with process:
            assert process.stdout is not None
            process.stdout.read()
            peaks.append(peak_of(process))
        walls.append(time.perf_counter() - started)
    figures = [Figure("one_shot_s", "harmonium QUESTION, imports included", round(median(walls), 2), "s")]
    if known := [peak for peak in peaks if peak is not None]:
        figures.append(Figure("one_shot_mb", "its peak memory", round(max(known) / 1e6, 1), "MB"))
    return figures


def peak_of(process: subprocess.Popen[bytes]) -> int | None:
    """Waits for a process and returns its peak memory in bytes; Windows does not keep it."""
    if not hasattr(os, "wait4"):
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return int(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def run(llm: LLM, prompt: list[int], n_tokens: int) -> float:
    """Seconds for so many greedy tokens after a prompt, none of which ends it."""
    from harmonium.engine.request import SamplingParams

    started = time.perf_counter()
    llm.engine.add(prompt, SamplingParams(temperature=0.0, max_tokens=n_tokens))
    while llm.engine.has_work:
        llm.engine.step()
    return time.perf_counter() - started


def typical(measure: Callable[[], float]) -> float:
    measure()
    return median(measure() for _ in range(5))


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    import torch

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return {
        "cpu": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
