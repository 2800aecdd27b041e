"""Figures of a model on a GPU, everything through Engine.add and Engine.step, beside what its bytes allow.

`harmonium bench --dummy 20b` runs it, and `python -m benchmarks.gpu_bench` where the command line's libraries are not
installed. It runs on a CPU, too, where its sections are better left to small models. Rows are printed as they come.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from harmonium import hardware
from harmonium.chat.loading import Loaded
from harmonium.chat.restraint import Compiler, Restraint, Rules
from harmonium.cli.gpu_bench import ready, speeds
from harmonium.cli.gpu_bench.load import Load
from harmonium.cli.gpu_bench.sections import N_ANSWER, N_PROMPT, SECTIONS, Bench, Figure, Left
from harmonium.cli.gpu_bench.speeds import Speeds
from harmonium.cli.gpu_bench.wanted import Wanted, named, origin
from harmonium.engine import sizes
from harmonium.engine.engine import Engine
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.sizes import PageCounts
from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation
from harmonium.model.transformer import Transformer

N_ROWS = 256
NAMES = ("ready", *SECTIONS)
"""Sections, in the order in which they run; ready has processes of its own, and needs the device's memory for them."""

Show = Callable[[str], None]
__all__ = ["Wanted", "named", "origin", "run"]


def run(
    wanted: Wanted, load: Callable[[], Loaded], device: torch.device, *, only: Collection[str] = (), show: Show = print
) -> dict[str, Any]:
    """Measures the sections named by only, or all; shows each row, and returns what the JSON line says.

    load: loads what is wanted, once what runs before it is done. Details go to a file in the folder that the
    environment's OUT names, if it does, after every section. A section that fails is told under "failed", and leaves
    the others theirs.
    """
    chosen = _chosen(only)
    found = where(device) | {"model": wanted.label} | wanted.held_to | origin()
    show("  ".join(f"{key}: {value}" for key, value in found.items()))
    report = Report(found, show)
    if "ready" in chosen:
        report.take("ready", ready.figures(wanted, device))
    if chosen != ["ready"]:
        report.limits(measured := speeds.measure(device))
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        started = time.perf_counter()
        loaded = load()
        report.take("loading", iter([Figure("load_s", "loading", time.perf_counter() - started, "s")]))
        bench = prepared(loaded, device, measured, wanted.context)
        report.note(dtype=bench.dtype)
        for section in chosen:
            if section != "ready":
                report.take(section, SECTIONS[section](bench))
    return report.line


def _chosen(only: Collection[str]) -> list[str]:
    if unknown := set(only) - set(NAMES):
        raise BadRequest(f"There is no section {min(unknown)!r}; choose from {', '.join(NAMES)}.")
    return [name for name in NAMES if name in only or not only]


def prepared(loaded: Loaded, device: torch.device, measured: Speeds, context: int | None = None) -> Bench:
    """An engine for all sections, with requests as chat makes them."""
    model, vocabulary = loaded.transformer, loaded.vocabulary
    engine, compiler = engine_for(model, context), Compiler(vocabulary, model.config.vocab_size)
    said = conversation("Hello")
    load = Load(engine, lambda: Restraint(said, Rules(), compiler).constraint(0, 0), tuple(sorted(vocabulary.stop_ids)))
    return Bench(load, model, measured, device)


def engine_for(model: Transformer, context: int | None = None) -> Engine:
    """With a cache for the sections' most requests and for the whole context, or, where that does not fit, its own."""
    config, device = model.config, model.device.type
    stored = str(model.weights.embedding.dtype).removeprefix("torch.")
    dtype, budget = sizes.cache_dtype(device, stored), sizes.defaults_for(device).token_budget
    many = PageCounts.needed(config, N_PROMPT + N_ANSWER + 32, N_ROWS, budget)
    wanted = PageCounts(max(many.full, pages_for(context or config.context)), many.sliding).bytes(config, dtype)
    room = hardware.free_bytes(str(model.device))
    room -= sizes.workspace_bytes(config, device, stored, N_ROWS, budget)
    room -= sizes.graphs_bytes(config, device, stored, N_ROWS)
    if wanted > room:
        return Engine(model, context=context)
    return Engine(model, context=context, n_rows=N_ROWS, cache_bytes=wanted)


class Report:
    """Rows as they come, the JSON line that they add up to, and the details' file."""

    def __init__(self, found: dict[str, Any], show: Show) -> None:
        self.line, self._show, self._started = found, show, time.perf_counter()
        self._is_lost = False
        self._details: dict[str, Any] = {"where": dict(found), "figures": [], "left": []}

    def note(self, **found: str) -> None:
        """What else the figures depend on, for the line and the details."""
        self.line |= found
        self._details["where"] |= found

    def limits(self, measured: Speeds) -> None:
        copied, read, multiplied = (value / 1e12 for value in (measured.copied, measured.read, measured.multiplied))
        self.line |= {"copy_tb_s": round(copied, 3), "read_tb_s": round(read, 3)}
        self.line["multiply_tflop_s"] = round(multiplied, 1)
        self._details["speeds"] = asdict(measured)
        self._show(f"copies at {copied:.2f} TB/s, reads at {read:.2f}, multiplies {multiplied:.0f} TFLOP/s")

    def take(self, section: str, figures: Iterator[Figure | Left]) -> None:
        """Shows a section's figures; where it fails, why."""
        try:
            self._add(section, figures)
        except Exception as error:  # noqa: BLE001 - whatever a device may raise
            traceback.print_exc()
            self.line.setdefault("failed", []).append(section)
            self._show(f"  {section}: failed, {error!r}")
        if folder := os.environ.get("OUT"):
            name = re.sub(r"[^\w.-]+", "_", self.line["model"].rpartition("/")[2])
            self._keep(Path(folder) / f"gpu_bench_{name}.json")

    def _keep(self, path: Path) -> None:
        """Writes the details; a folder that does not take them costs a warning, once."""
        if self._is_lost:
            return
        try:
            path.write_text(json.dumps(self._details, indent=1))
        except OSError as error:
            self._is_lost = True
            print(f"The details are lost: OUT does not take them ({error}).", file=sys.stderr)

    def _add(self, section: str, figures: Iterator[Figure | Left]) -> None:
        for one in figures:
            if isinstance(one, Left):
                self._details["left"].append(asdict(one))
                self._show(f"  {one.key}: left out, {one.reason}")
                continue
            self._details["figures"].append(asdict(one) | {"section": section})
            self.line[one.key] = round(one.value, 3)
            if one.floor is not None:
                self.line[f"{one.key}_limit"] = round(one.floor, 3)
            self._show(row(one) + f"  ({time.perf_counter() - self._started:.0f} s)")


def row(figure: Figure) -> str:
    """A figure as a line of the table: what it is, its limit, how much of it was reached."""
    digits = 0 if figure.value >= 1000 else 1
    text = f"  {figure.label:<46} {figure.value:>12,.{digits}f} {figure.unit:<6}"
    if figure.floor is None:
        return text
    limit = f"{figure.floor:,.{digits}f}" + (f" ({figure.serial:,.{digits}f})" if figure.serial else "")
    return f"{text} limit {limit:<18} {figure.share:>4.0%}"


def where(device: torch.device) -> dict[str, Any]:
    """What a figure depends on."""
    found = {"device": hardware.detect(str(device)).name, "torch": torch.__version__}
    if device.type == "cuda":
        import triton

        found["triton"] = triton.__version__
    return found | {"python": platform.python_version()}
