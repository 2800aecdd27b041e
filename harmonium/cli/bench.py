"""`harmonium bench`: what the embedded model, or another, does on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from harmonium.cli.options import Json, ModelOptions
from harmonium.errors import BadRequest, RequestFailed

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM
    from harmonium.engine.constraint import TableConstraint
    from harmonium.harmony.vocabulary import Vocabulary

QUESTION = "How many r's are in the word 'strawberry'?"
N_DECODED = 256
N_PREFILLED = 10_000
REPEATS = 3
N_ROUNDS, N_PAIRED = 31, 128
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 80},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 4},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
BODY = '{"name": "The quick brown fox jumps over", "age": 42, "tags": ["red", "green", "red"]}'


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    key: str
    label: str
    value: float
    unit: str


def bench(
    *, model: ModelOptions = ModelOptions(), only: str | None = None, memory: str | None = None, json: Json = False
) -> int:
    """Measure decoding, prefill, the first token, and a whole question from the shell.

    Prints the machine, a table and, last, one JSON line. Of a model other than nano on a GPU, as in

        harmonium bench --dummy 20b --only batch1,c64

    it measures answers one by one and many at once, long prompts, the whole context, and a start from disk, each
    beside what the GPU's bandwidth allows.

    Parameters
    ----------
    only
        On a GPU, only these of ready, batch1, c16, c64, c256, prefill, prefill64, first, long, ids, memory.
    memory
        On a GPU, hold the process to so much of its memory, as in 16GB.
    json
        Print only the JSON line.
    """
    from harmonium import hardware
    from harmonium.chat.loading import device_of
    from harmonium.cli import session
    from harmonium.cli.terminal import Terminal, print_json

    if not model.is_default and device_of(model.device).type == "cuda":
        line = on_gpu(model, only, memory, print if not json else lambda text: None)
        print_json(line)
        return RequestFailed.exit_code if "failed" in line else 0
    if only or memory:
        raise BadRequest("--only and --memory are for a model on a GPU; leave them out, or add --dummy 20b there.")
    llm = session.open_llm(model, Terminal(quiet=json).note)
    figures = [decoding(llm), *masked_decoding(llm), schema_mask(llm.vocabulary), first_token(llm), prefill(llm)]
    if model.is_default:
        figures += one_shot()
    where = hardware.machine() | {"model": llm.name}
    if not json:
        print("  ".join(f"{name}: {value}" for name, value in where.items()))
        for figure in figures:
            print(f"  {figure.label:<52} {figure.value:>10,.1f} {figure.unit}")
    print_json(where | {figure.key: figure.value for figure in figures})
    return 0


def on_gpu(model: ModelOptions, only: str | None, memory: str | None, show: Callable[[str], None]) -> dict[str, Any]:
    """The JSON line of cli/gpu_bench."""
    from harmonium import hardware
    from harmonium.chat import loading
    from harmonium.cli import gpu_bench
    from harmonium.engine import sizes

    device, name = loading.device_of(model.device), model.dummy or model.model or ""
    limit = None if memory is None else sizes.parsed(memory)
    wanted = gpu_bench.Wanted(name, model.layers if model.dummy else None, model.dtype, model.context, limit)
    if limit is not None:
        hardware.limit_memory(limit, str(device))

    def load() -> loading.Loaded:
        if model.dummy:
            return loading.load_dummy(model.dummy, model.layers, device, model.dtype)
        return loading.load(name, device, model.dtype)

    return gpu_bench.run(wanted, load, device, only=gpu_bench.named(only or ""), show=show)


def decoding(llm: LLM) -> Figure:
    """Tokens a second at batch 1, greedy, after a short prompt."""
    prompt = llm.render(QUESTION)
    run(llm, prompt, 8)
    seconds = [run(llm, prompt, N_DECODED) - run(llm, prompt, 1) for _ in range(REPEATS)]
    rate = (N_DECODED - 1) / median(seconds)
    return Figure("decode_tok_s", f"decode at batch 1, {N_DECODED} tokens", round(rate, 1), "tok/s")


def masked_decoding(llm: LLM) -> list[Figure]:
    """The same with the automaton's mask on every token, and what that costs: runs without, with and again without take
    turns, so that what equal runs differ by shows, too.

    The answer is one that a trained model gives either way, so that all compute the same.
    """
    prompt, mask = llm.render(QUESTION, effort="high"), frame(llm)
    ways: list[tuple[str, TableConstraint | None]] = [("free", None), ("masked", mask), ("again", None)]
    times: list[dict[str, float]] = []
    for _ in range(1 + N_ROUNDS):
        times.append({name: run(llm, prompt, N_PAIRED, way) for name, way in ways})
        ways = [*ways[1:], ways[0]]
    rate = N_PAIRED / median(one["masked"] for one in times[1:])
    cost, noise = (100 * (median(one[name] / one["free"] for one in times[1:]) - 1) for name in ("masked", "again"))
    rate_label = f"under harmony's mask, {N_PAIRED} tokens with their prompt"
    return [
        Figure("decode_masked_tok_s", rate_label, round(rate, 1), "tok/s"),
        Figure("mask_cost_percent", f"what the mask costs, median of {N_ROUNDS} pairs", round(cost, 1), "%"),
        Figure("pair_noise_percent", "what pairs without a mask differ by", round(noise, 1), "%"),
    ]


def frame(llm: LLM) -> TableConstraint:
    """What `chat` lets a model say that was offered no tools."""
    from harmonium.chat.restraint import Compiler, Restraint, Rules
    from harmonium.harmony.convert import conversation

    rows = llm.engine.arena.vocab_size
    return Restraint(conversation(QUESTION), Rules(), Compiler(llm.vocabulary, rows)).constraint(0, 0)


def schema_mask(vocabulary: Vocabulary) -> Figure:
    """The mask of a JSON schema: the host's work for one more token of an answer, typically."""
    from harmonium.harmony.grammar import Compiler, Grammar

    begin = Compiler(vocabulary, vocabulary.size).compile(Grammar.json_schema(SCHEMA))
    seconds = []
    for _ in range(REPEATS):
        matcher = begin()
        for number, id_ in enumerate(vocabulary.encode(BODY)):
            started = time.perf_counter()
            matcher.mask()
            matcher.accept(id_)
            if number:
                seconds.append(time.perf_counter() - started)
    label = f"a JSON schema's mask over {vocabulary.size:,} tokens"
    return Figure("schema_mask_us", label, round(1e6 * median(seconds), 1), "us")


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
    from harmonium.cli.gpu_bench.ready import peak_of

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


def run(llm: LLM, prompt: list[int], n_tokens: int, constraint: TableConstraint | None = None) -> float:
    """Seconds for so many greedy tokens after a prompt, none of which ends it."""
    from harmonium.engine.request import SamplingParams

    started = time.perf_counter()
    llm.engine.add(prompt, SamplingParams(temperature=0.0, max_tokens=n_tokens), constraint)
    while llm.engine.has_work:
        llm.engine.step()
    return time.perf_counter() - started


def typical(measure: Callable[[], float]) -> float:
    measure()
    return median(measure() for _ in range(5))
