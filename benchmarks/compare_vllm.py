"""Harmonium and vLLM on the same checkpoint, one process after the other, each with the GPU to itself.

    python -m benchmarks.compare_vllm                  # writes random weights of 20b to a temporary folder
    python -m benchmarks.compare_vllm --model FOLDER

Distinct prompts of 1,024 random ids, answers of 256 at temperature 1 that nothing ends. Prints a table and one last
JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.peers import Generate, Prompts
from harmonium.model import checkpoint, dummy, hub
from harmonium.model.dummy import CONFIGS, Dummy

ENGINES = ("harmonium", "vllm")


Start = Callable[[str], tuple[Generate, int]]
"""A checkpoint's folder to what answers, and the vocabulary's size; everything is imported."""


def harmonium() -> Start:
    from harmonium.chat import loading
    from harmonium.cli.gpu_bench import engine_for

    def start(folder: str) -> tuple[Generate, int]:
        model = loading.load(Path(folder)).transformer
        return peers.ours(engine_for(model)), model.config.vocab_size

    return start


def vllm() -> Start:
    from vllm import LLM, SamplingParams

    def start(folder: str) -> tuple[Generate, int]:
        size = json.loads((Path(folder) / "config.json").read_text())["vocab_size"]
        engine: Any = LLM(folder, skip_tokenizer_init=True, max_model_len=4096, max_num_seqs=256)

        def generate(prompts: Prompts, n_ids: int) -> None:
            params = SamplingParams(temperature=1.0, max_tokens=n_ids, ignore_eos=True, detokenize=False)
            found = engine.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
            assert all(len(one.outputs[0].token_ids) == n_ids for one in found), "an answer ended early"

        return generate, size

    return start


def measure(engine: str, folder: str, counts: list[int]) -> dict[str, Any]:
    """In a process of its own: seconds until it can answer, from its imports on, and both rates by answers at once."""
    start = harmonium() if engine == "harmonium" else vllm()
    started = time.perf_counter()
    generate, vocab_size = start(folder)
    generate([[1] * 16], 1)
    ready = time.perf_counter() - started
    return {"ready_s": ready, "rates": {n: peers.rates(generate, n, vocab_size) for n in counts}}


def in_its_own_process(engine: str, folder: str, counts: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.compare_vllm", "--engine", engine, "--model", folder]
    done = subprocess.run([*command, "--at-once", counts], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"rates": {int(n): tuple(rates) for n, rates in found["rates"].items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description="Harmonium and vLLM on the same checkpoint.")
    parser.add_argument("--model", help="a checkpoint's folder")
    parser.add_argument("--dummy", choices=sorted(CONFIGS), default="20b", help="random weights where there is none")
    parser.add_argument("--at-once", default="1,16,64,256", help="answers at once, with commas")
    parser.add_argument("--engine", choices=ENGINES, help="only this one, in this process")
    given = parser.parse_args()
    if given.engine and given.model is None:
        parser.error("--engine loads a checkpoint: give its folder, with --model")
    if given.engine:
        print(json.dumps(measure(given.engine, given.model, list(map(int, given.at_once.split(","))))))
        return 0
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed, so there is nothing to compare with; install it in an environment of its own.")
        return 1
    with tempfile.TemporaryDirectory(prefix="harmonium-compare-") as scratch:
        folder = given.model or f"{scratch}/{given.dummy}"
        if given.model is None:
            config, tokenizer = dummy.parse(given.dummy), hub.resolve("nano") / "tokenizer.json"
            checkpoint.save(folder, config, Dummy(config).tensors(), files=[tokenizer])
        found = {engine: in_its_own_process(engine, folder, given.at_once) for engine in ENGINES}
    print("\n".join(peers.table({engine: one["rates"] for engine, one in found.items()})))
    print("  ready: " + ", ".join(f"{engine} {one['ready_s']:.1f} s" for engine, one in found.items()))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
