"""How far a CPU's kernels, and transformers in bfloat16, are from float32 on the same weights, from ids to logits.

    python -m benchmarks.cpu_accuracy (--checkpoint FOLDER | --dummy 20b [--layers N]) [--prompts N]

What `gpu_accuracy` is for a GPU: random ids, some of them in one step and the others one by one, our weights as stored
and in int8. transformers has one layer decoded at a time, so that a 20b takes 16 GB. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu_accuracy import Way, by_kernels, distance, in_float32, joined
from benchmarks.transformers_peer import layer_by_layer
from harmonium.hardware import machine
from harmonium.model import checkpoint, dummy
from harmonium.model.checkpoint import Checkpoint
from harmonium.model.transformer import Transformer

LENGTH, N_SINGLE = 48, 12


def compare(source: Checkpoint, n_prompts: int) -> dict[str, dict[str, float]]:
    """Prints a line for each way as soon as it is there, the slowest last."""
    prompts = [torch.randint(source.config.vocab_size, (LENGTH,)) for _ in range(n_prompts)]
    stored = Transformer.load(source)
    exact = [in_float32(stored, ids) for ids in prompts]

    def by_transformers(ids: Tensor) -> Way:
        logits, choices = layer_by_layer(stored, ids)
        return Way(logits, [choice.sort().values for choice in choices])

    def ours(dtype: torch.dtype) -> Callable[[Tensor], Way]:
        model = Transformer.load(source, dtype=dtype)
        return lambda ids: by_kernels(model, ids, N_SINGLE)

    ways: dict[str, Callable[[], Callable[[Tensor], Way]]] = {
        "ours, bfloat16": lambda: ours(torch.bfloat16),
        "ours, int8": lambda: ours(torch.int8),
        "transformers, bfloat16": lambda: by_transformers,
    }
    found = {}
    for name, made in ways.items():
        way = made()
        distances = [distance(way(ids), expected) for ids, expected in zip(prompts, exact, strict=True)]
        found[name] = joined(distances).numbers()
        print(f"  {name:<24}" + "  ".join(f"{key} {value:.2e}" for key, value in found[name].items()), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--checkpoint", type=Path)
    of.add_argument("--dummy", choices=sorted(dummy.CONFIGS), help="random weights of this size")
    parser.add_argument("--layers", type=int, help="of a dummy, only so many layers")
    parser.add_argument("--prompts", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    source = (
        checkpoint.open(options.checkpoint)
        if options.checkpoint
        else dummy.Dummy(dummy.parse(options.dummy, options.layers))
    )
    print("  ".join(f"{name}: {value}" for name, value in machine().items()))
    print(f"{options.prompts} prompts of {LENGTH} ids, {source.config.n_layers} layers, against float32", flush=True)
    found = compare(source, options.prompts)
    print(json.dumps(machine() | {"layers": source.config.n_layers, **found}))


if __name__ == "__main__":
    main()
