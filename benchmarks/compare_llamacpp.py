"""Harmonium and llama.cpp on the same random 20b on this CPU, each in a process of its own, in turn.

    python -m benchmarks.compare_llamacpp --folder FOLDER [--llama-bench PATH] [--layers N] [--rounds N]

The checkpoint (13.8 GB) and its GGUF (12.1 GB) are made in the folder where they are not there. A turn is a
prompt of 512 tokens and 48 tokens behind so many, timed one by one; each engine's file is read before its turn, so that
both find it in memory. Rates are of models of so many layers, 24 by
default; ratios are those of the best of all turns and of their medians.
Without a llama-bench, in --llama-bench or on the path, it says so and measures Harmonium alone. Prints a table and,
last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import cpu_20b
from harmonium import hardware
from harmonium.model import checkpoint
from harmonium.model.config import GPT_OSS_20B

N_TOKENS = 48
PARTS = 2**26
DECODE = {"harmonium bfloat16": 0.85, "harmonium int8": 1.3}
BARS = {
    "decode_best_tok_s": DECODE,
    "decode_median_tok_s": DECODE,
    "prefill_tok_s": {"harmonium bfloat16": 1.5, "harmonium int8": 1.5},
}
"""How many times llama.cpp's rate ours are to be."""


def run(words: list[str]) -> tuple[Any, float]:
    """What a command prints last, or all of it, as JSON; and its peak memory in GB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(words, stdout=out, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        said, complaints = out.read(), errors.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{said}{complaints}")
    try:
        return json.loads(said), usage.ru_maxrss * 1024 / 1e9
    except ValueError:
        return json.loads(said.splitlines()[-1]), usage.ru_maxrss * 1024 / 1e9


def read_through(*paths: Path) -> None:
    """Brings files into the page cache."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(PARTS):
                pass


def harmonium(folder: Path, layers: int, dtype: str) -> dict[str, float]:
    read_through(*folder.glob("*.safetensors"))
    module = [sys.executable, "-m", "benchmarks.cpu_20b", "--checkpoint", str(folder), "--layers", str(layers)]
    found, peak = run([*module, "--dtype", dtype, "--rounds", "1", "--tokens", str(N_TOKENS)])
    seconds = found[dtype]
    return {
        "prefill_tok_s": cpu_20b.N_PROMPT / seconds["prompt_s"],
        "decode_best_tok_s": 1 / seconds["token_s"],
        "decode_median_tok_s": 1 / seconds["token_median_s"],
        "share_of_read": seconds["share_of_read"],
        "peak_gb": peak,
    }


def llama_cpp(program: str, path: Path) -> dict[str, float]:
    """Prompts without a warm-up, which is another prompt, tokens with one; each token is a measurement by itself.

    What lies before a token is computed once and put back for each, outside its time.
    """
    read_through(path)
    common = [program, "-m", str(path), "-t", str(hardware.n_threads()), "-ngl", "0", "-o", "json"]
    started = time.perf_counter()
    (prompt,), peak = run([*common, "-p", str(cpu_20b.N_PROMPT), "-n", "0", "-r", "1", "--no-warmup"])
    loading = time.perf_counter() - started - prompt["avg_ns"] / 1e9
    (tokens,), _ = run([*common, "-p", "0", "-n", "1", "-r", str(N_TOKENS), "-d", str(cpu_20b.N_PROMPT)])
    return {
        "prefill_tok_s": prompt["avg_ts"],
        "decode_best_tok_s": max(tokens["samples_ts"]),
        "decode_median_tok_s": median(tokens["samples_ts"]),
        "load_s": loading,
        "peak_gb": peak,
    }


def version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).partition("\n")[0].removeprefix("version: ") or "unknown"


def is_llama_bench(program: str) -> bool:
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return "--n-prompt" in said.stdout + said.stderr


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """How many times llama.cpp's rates ours are, printed too."""
    ratios: dict[str, dict[str, float]] = {}
    for key, bars in BARS.items() if "llama.cpp" in found else ():
        for name, bar in bars.items():
            ours, theirs = ([values[key] for values in found[engine]] for engine in (name, "llama.cpp"))
            ratio = {"best": max(ours) / max(theirs), "median": median(ours) / median(theirs), "bar": bar}
            ratios[f"{name} {key}"] = ratio
            print(f"  {name + ', ' + key:<36} " + "  ".join(f"{part} {value:.2f} x" for part, value in ratio.items()))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--llama-bench", default="llama-bench")
    parser.add_argument("--layers", type=int, default=GPT_OSS_20B.n_layers)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    weights, path = options.folder / f"layers-{options.layers}", options.folder / f"layers-{options.layers}.gguf"
    config = GPT_OSS_20B.with_layers(options.layers)
    if options.layers < 1:
        parser.error("--layers is at least 1")
    program = shutil.which(options.llama_bench)
    if program is not None and not is_llama_bench(program):
        parser.error(f"{program} is not llama.cpp's llama-bench; give the path of one with --llama-bench")
    has_weights, has_gguf = (weights / "config.json").exists(), program is None or path.exists()
    cpu_20b.ask_for_room(options.folder, cpu_20b.checkpoint_bytes(config) * (2 - has_weights - has_gguf))
    print("  ".join(f"{name}: {value}" for name, value in hardware.machine().items()))
    line: dict[str, Any] = hardware.machine() | {"layers": options.layers}
    if program is None:
        print(f"SKIPPED llama.cpp: there is no {options.llama_bench} here; give its path with --llama-bench.")
    else:
        line["llama.cpp version"] = version(program)
        print(f"llama.cpp {line['llama.cpp version']}")
    if not has_weights:
        cpu_20b.make_checkpoint(weights, config)
    if not has_gguf:
        from benchmarks import gguf_file  # only where it is wanted: `gguf` is no dependency

        gguf_file.write(path, checkpoint.open(weights))
    found: dict[str, list[dict[str, float]]] = {}
    turns: dict[str, Callable[[], dict[str, float]]] = {
        "harmonium bfloat16": lambda: harmonium(weights, options.layers, "bfloat16"),
        "llama.cpp": lambda: llama_cpp(str(program), path),
        "harmonium int8": lambda: harmonium(weights, options.layers, "int8"),
    }
    if program is None:
        del turns["llama.cpp"]
    for _ in range(options.rounds):
        for name, turn in turns.items():
            values = turn()
            found.setdefault(name, []).append(values)
            print(f"  {name:<20} " + "  ".join(f"{key} {value:.2f}" for key, value in values.items()), flush=True)
    print(json.dumps(line | {"ratios": summary(found), "rounds": found}))


if __name__ == "__main__":
    main()
