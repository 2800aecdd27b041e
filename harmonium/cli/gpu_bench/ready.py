"""How long a start takes: a process of its own, from exec to the first id of its first request.

The checkpoint is random, written once and read from the page cache. The first start finds no compiled kernels, the
second those of the first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from harmonium.cli.gpu_bench.sections import Figure, Left
from harmonium.cli.gpu_bench.wanted import Wanted
from harmonium.engine.sizes import shown, weight_bytes
from harmonium.model import checkpoint, dummy, hub
from harmonium.model.dummy import CONFIGS, Dummy

START = """
import json, sys, time
from harmonium import LLM, hardware
times = {"imported": time.time()}
folder, device, options, memory = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
if memory:
    hardware.limit_memory(memory, device)
llm = LLM(folder, device=device, **options)
times["loaded"] = time.time()
llm.generate([llm.render("Hello")], max_tokens=1, temperature=1.0)
times["first id"] = time.time()
print(json.dumps(times), flush=True)
"""


def figures(wanted: Wanted, device: torch.device) -> Iterator[Figure | Left]:
    """Cold and warm start, the warm one's parts, and its peak of memory."""
    name = wanted.name
    with tempfile.TemporaryDirectory(prefix="harmonium-ready-") as scratch:
        if name not in CONFIGS:
            folder = hub.resolve(name)
        else:
            config = dummy.parse(name, wanted.layers)
            needed, free = sum(weight_bytes(config, True, "bfloat16").values()), shutil.disk_usage(scratch).free
            if needed * 1.05 > free:
                yield Left("ready", f"its file takes {shown(needed)}, and {scratch} has {shown(free)} free")
                return
            folder = Path(scratch) / name
            tokenizer = hub.resolve("nano") / "tokenizer.json"
            checkpoint.save(folder, config, Dummy(config, device=device).tensors(), files=[tokenizer])
            if device.type == "cuda":
                torch.cuda.empty_cache()
        environment = os.environ | {"TRITON_CACHE_DIR": f"{scratch}/kernels"}
        for kind in ("cold", "warm"):
            times, peak = start(folder, device, environment, wanted)
            yield Figure(f"ready_{kind}_s", f"from exec to the first id, kernels {kind}", times["first id"], "s")
        yield Figure("ready_imported_s", "of which Python and its imports", times["imported"], "s")
        yield Figure("ready_loaded_s", "until weights and engine are there", times["loaded"], "s")
        if peak is not None:
            yield Figure("ready_host_gb", "peak host memory", peak / 1e9, "GB")


def start(
    folder: Path, device: torch.device, environment: dict[str, str], wanted: Wanted
) -> tuple[dict[str, float], int | None]:
    """Seconds after exec at which a new process has come so far, and its peak memory in bytes."""
    memory = wanted.memory
    if memory is not None:  # what others have of the device now, this process among them, is not the new one's
        free, total = torch.cuda.mem_get_info(device)
        memory += total - free
    options = {"dtype": wanted.dtype, "context": wanted.context}
    began = time.time()
    command = [sys.executable, "-c", START, str(folder), str(device), json.dumps(options), json.dumps(memory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    with process:
        assert process.stdout is not None
        said = process.stdout.read()
        peak = peak_of(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:2])
    times: dict[str, float] = json.loads(said)
    return {name: at - began for name, at in times.items()}, peak


def peak_of(process: subprocess.Popen[bytes]) -> int | None:
    """Waits for a process and returns its peak memory in bytes; Windows does not keep it."""
    if not hasattr(os, "wait4"):
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return int(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
