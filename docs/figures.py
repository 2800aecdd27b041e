"""Tables of measured figures, made from the raw JSON of the run that is quoted, so that no table says anything else.

A page has `<!-- NAME of FILE: make docs -->` before such a table and `<!-- /NAME -->` behind it; NAME is one of TABLES.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- (\w+) of (\S+): make docs -->\n).*?(<!-- /\2 -->)", re.DOTALL)
PAGES = ("benchmarks.md", "kernels.md")


def filled(text: str) -> str:
    """The page with every table as its file has it."""

    def table(found: re.Match[str]) -> str:
        rows = TABLES[found[2]](json.loads((ROOT / found[3]).read_text(encoding="utf-8")))
        width = len(rows[0])
        lines = [rows[0], ("---",) + ("---:",) * (width - 1), *rows[1:]]
        return found[1] + "".join(f"| {' | '.join(line)} |\n" for line in lines) + found[4]

    return BLOCK.sub(table, text)


Rows = list[tuple[str, ...]]


def steps(data: dict[str, Any]) -> Rows:
    """Bare steps of benchmarks/gpu_decode.py."""
    rows: Rows = [("rows", "a step", "tok/s")]
    for name, value in data.items():
        if not (shape := re.fullmatch(r"(\d+) x (\d+)", name)):
            continue
        n, new = int(shape[1]), int(shape[2])
        label = str(n) if new == 1 else f"{f'{n} prompts' if n > 1 else 'prompt'} of {new:,}"
        rows.append((label, _time(value["step_us"]), f"{value['tok_s']:,.0f}"))
    return rows


PARTS = {
    "norm_qkv": ("norm, q, k, v, rotation, cache", "norm_qkv"),
    "attend full": ("attention, full layers", "attend_one"),
    "attend sliding": ("attention, sliding layers", "attend_one"),
    "project_route": ("output projection, residual, norm, router, choice, shares", "project_route"),
    "experts_add": ("experts, residual", "gate_up, down"),
    "norm_head": ("norm and head", "norm_head"),
}
"""An operation's name in the file to what it does, and its kernels."""


def budget(data: dict[str, Any]) -> Rows:
    """One row's step of benchmarks/gpu_decode.py, operation by operation."""
    rows: Rows = [("operation", "kernels", "calls", "bytes of a call", "their time", "measured", "in a step")]
    total = floor = 0.0
    for name, (what, kernels) in PARTS.items():
        one = data["operations"][name]
        n_bytes = one["floor_us"] * 1e-6 * data["copy_tb_s"] * 1e12
        times = (f"{one['floor_us']:.1f} us", f"{one['us']:.1f} us", f"{one['step_us']:,.0f} us")
        rows.append((what, f"`{kernels.replace(', ', '`, `')}`", str(one["n"]), f"{n_bytes / 1e6:,.2f} MB", *times))
        total, floor = total + one["step_us"], floor + one["floor_us"] * one["n"]
    step = data["1 x 1"]["step_us"]
    rows.append(("sum of these", "", "", "", f"{floor:,.0f} us", "", f"{total:,.0f} us"))
    rows.append(("the step as one graph", "", "", "", "", "", f"{step:,.0f} us"))
    return rows


def kernels(data: dict[str, Any]) -> Rows:
    """What a profile of one row's step shows, kernel by kernel, the largest first."""
    rows: Rows = [("kernel", "calls", "each", "in a step")]
    for name, one in data["profile_1_x_1"].items():
        if not name.startswith("void "):
            rows.append((f"`{name}`", f"{one['n']:.0f}", f"{one['us']:.1f} us", f"{one['step_us']:,.0f} us"))
    others = [one for name, one in data["profile_1_x_1"].items() if name.startswith("void ")]
    calls, us = sum(one["n"] for one in others), sum(one["step_us"] for one in others)
    return [*rows, ("torch's own: embedding, angles", f"{calls:.0f}", "", f"{us:,.0f} us")]


def bench(data: dict[str, Any]) -> Rows:
    """What `harmonium bench` measured on a GPU; the limit in brackets is without overlap of reading and arithmetic."""
    rows: Rows = [("", "measured", "limit", "reached")]
    for one in data["figures"]:
        value, floor, serial = one["value"], one["floor"], one["serial"]
        measured = f"{_number(value)} {one['unit']}"
        if not floor:
            rows.append((one["label"], measured, "", ""))
            continue
        limit = _number(floor) + (f" ({_number(serial)})" if serial else "")
        rows.append((one["label"], measured, limit, f"{floor / value if one['is_time'] else value / floor:.0%}"))
    return rows


def _time(us: float) -> str:
    return f"{us / 1e3:.1f} ms" if us >= 1e4 else f"{us:,.0f} us"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


TABLES = {"steps": steps, "budget": budget, "kernels": kernels, "bench": bench}
