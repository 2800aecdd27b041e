"""Harmonium and llama.cpp on the same random 20b on this CPU, each in a process of its own, in turn.

    python -m benchmarks.compare_llamacpp --folder FOLDER [--llama-bench PATH] [--layers N] [--rounds N]

The checkpoint (13.8 GB) and its GGUF (12.1 GB) are made in the folder where they are not there. Prompts of 512 tokens
and answers of 32. Without a llama-bench, in --llama-bench or on the path, it says so and measures Harmonium alone.
Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import cpu_20b
from harmonium.model import checkpoint
from harmonium.model.config import GPT_OSS_20B

N_ANSWER = 32


def last_json(words: list[str]) -> Any:
    """What a command prints last, or all of it, as JSON."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        return json.loads(done.stdout.splitlines()[-1])


def harmonium(folder: Path, layers: int, dtype: str) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.cpu_20b"]
    found = last_json([*module, "--checkpoint", str(folder), "--layers", str(layers), "--dtype", dtype])[dtype]
    return {name: found[name] for name in ("prefill_tok_s", "decode_tok_s", "read_gb_s", "peak_gb")}


def llama_cpp(program: str, path: Path) -> dict[str, float]:
    n_threads = str(os.cpu_count() or 1)
    sizes = ["-p", str(cpu_20b.N_PROMPT), "-n", str(N_ANSWER), "-r", "1", "-t", n_threads]
    rows = last_json([program, "-m", str(path), *sizes, "-ngl", "0", "-o", "json"])
    rates = {("prefill_tok_s" if row["n_prompt"] else "decode_tok_s"): float(row["avg_ts"]) for row in rows}
    return {**rates, "file_gb": path.stat().st_size / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--llama-bench", default="llama-bench")
    parser.add_argument("--layers", type=int, default=GPT_OSS_20B.n_layers)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    weights, path = options.folder / f"layers-{options.layers}", options.folder / f"layers-{options.layers}.gguf"
    program = shutil.which(options.llama_bench)
    if program is None:
        print(f"SKIPPED llama.cpp: there is no {options.llama_bench} here; give its path with --llama-bench.")
    if not (weights / "config.json").exists():
        cpu_20b.make_checkpoint(weights, GPT_OSS_20B.with_layers(options.layers))
    if program is not None and not path.exists():
        from benchmarks import gguf_file  # only where it is wanted: `gguf` is no dependency

        gguf_file.write(path, checkpoint.open(weights))
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for dtype in ("bfloat16", "int8"):
            found.setdefault(f"harmonium {dtype}", []).append(harmonium(weights, options.layers, dtype))
        if program is not None:
            found.setdefault("llama.cpp", []).append(llama_cpp(program, path))
    for name, rounds in found.items():
        for values in rounds:
            print(f"  {name:<20} " + "  ".join(f"{key} {value:.2f}" for key, value in values.items()))
    best = {name: {key: max(values[key] for values in rounds) for key in rounds[0]} for name, rounds in found.items()}
    print(json.dumps({"layers": options.layers, **best}))


if __name__ == "__main__":
    main()
