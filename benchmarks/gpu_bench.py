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
    if given.memory:
        hardware.limit_memory(sizes.parsed(given.memory), str(device))

    def load() -> loading.Loaded:
        if given.dummy:
            return loading.load_dummy(given.dummy, None, device, None)
        return loading.load(given.model, device)

    only = [name for name in given.only.split(",") if name]
    return gpu_bench.run(given.dummy or given.model, load, device, only=only)


if __name__ == "__main__":
    sys.exit(main())
