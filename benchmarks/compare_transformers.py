"""Harmonium and transformers, on the same random weights, in one process and in turn.

    python -m benchmarks.compare_transformers --dummy 20b

transformers runs in bfloat16 with its experts decoded (41.8 GB for 20b): its packed kernels come from a hub. Distinct
prompts of 1,024 random ids, answers of 256 at temperature 1. Prints a table and one last JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from typing import Any

import torch

from benchmarks import peers
from benchmarks.peers import Generate, Prompts
from harmonium.chat import loading
from harmonium.cli.gpu_bench import engine_for
from harmonium.model.dummy import CONFIGS


def theirs(made: Any, device: torch.device) -> Generate:
    def generate(prompts: Prompts, n_ids: int) -> None:
        ids = torch.tensor(prompts, device=device)
        lengths = {"max_new_tokens": n_ids, "min_new_tokens": n_ids}
        with torch.no_grad():
            found = made.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, **lengths)
        assert found.shape[1] == ids.shape[1] + n_ids
        found.tolist()  # once it is there

    return generate


def main() -> int:
    parser = argparse.ArgumentParser(description="Harmonium and transformers on the same weights.")
    parser.add_argument("--dummy", choices=sorted(CONFIGS), default="20b", help="random weights of this size")
    parser.add_argument("--at-once", default="1,16", help="answers at once, with commas")
    parser.add_argument("--device", help="cpu or cuda:N; by default a GPU if there is one")
    parser.add_argument("--ids", type=int, default=peers.N_ANSWER, help="ids of an answer")
    given = parser.parse_args()
    if given.ids < 2:
        parser.error("a rate is of the ids after the first: give --ids 2 or more")
    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed, so there is nothing to compare with: pip install 'harmonium[finetune]'.")
        return 1
    from benchmarks.transformers_peer import peer

    model = loading.load_dummy(given.dummy, None, given.device, None).transformer
    other, engine, vocab_size = peer(model), engine_for(model), model.config.vocab_size
    found: dict[str, dict[int, tuple[float, float]]] = {"harmonium": {}, "transformers": {}}
    for n in map(int, given.at_once.split(",")):
        for name, generate in (("harmonium", peers.ours(engine)), ("transformers", theirs(other, model.device))):
            found[name][n] = peers.rates(generate, n, vocab_size, n_answer=given.ids)
    print("\n".join(peers.table(found)))
    import transformers

    where = {"transformers": transformers.__version__, "torch": torch.__version__, "model": given.dummy}
    print(json.dumps(where | {"rates": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
