"""`harmonium bench --dummy 20b`, without the command line's libraries.

    python -m benchmarks.gpu_bench --dummy 20b
    python -m benchmarks.gpu_bench --dummy 120b --only batch1,c64 --memory 80GB

Prints a table as it comes and, last, one JSON line; exits with 1 where a section failed. Details go to the folder named
by OUT, if it is set.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from harmonium import hardware
from harmonium.chat import loading
from harmonium.cli import gpu_bench
from harmonium.engine import sizes
from harmonium.errors import BadRequest, HarmoniumError
from harmonium.model.dummy import CONFIGS


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of a model on a GPU, beside what its bytes allow.")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--dummy", choices=sorted(CONFIGS), help="random weights of this size")
    model.add_argument("--model", help="a checkpoint's name or folder")
    parser.add_argument("--layers", type=int, help="only so many layers of --dummy")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of what is not packed")
    parser.add_argument("--context", type=int, help="most tokens of prompt and answer together")
    parser.add_argument("--only", default="", help=f"sections, with commas: {','.join(gpu_bench.NAMES)}")
    parser.add_argument("--memory", help="hold the process to so much of the device's memory, as in 16GB")
    parser.add_argument("--device", help="cpu, cuda or cuda:N; by default a GPU if there is one")
    given = parser.parse_args()
    try:
        line = measured(given)
    except HarmoniumError as error:
        print(error)
        return error.exit_code
    print(json.dumps(line))
    return 1 if "failed" in line else 0


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """The JSON line. Raises HarmoniumError for what cannot be."""
    device = loading.device_of(given.device)
    if given.memory and device.type == "cpu":
        raise BadRequest("--memory holds a process to a part of a GPU's memory; leave it out on a CPU.")
    limit = sizes.parsed(given.memory) if given.memory else None
    if limit is not None:
        hardware.limit_memory(limit, str(device))

    def load() -> loading.Loaded:
        if given.dummy:
            return loading.load_dummy(given.dummy, given.layers, device, given.dtype)
        return loading.load(given.model, device, given.dtype)

    wanted = gpu_bench.Wanted(
        given.dummy or given.model, given.layers if given.dummy else None, given.dtype, given.context, limit
    )
    return gpu_bench.run(wanted, load, device, only=gpu_bench.named(given.only))


if __name__ == "__main__":
    sys.exit(main())
