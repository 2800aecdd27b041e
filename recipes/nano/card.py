"""The scores on nano's model card: scores.json, beside the weights, has what evaluations print, README.md shows it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.nano.curriculum import SCORED

CARD, SCORES = "README.md", "scores.json"
EFFORTS = ("low", "medium", "high")
OPENING, CLOSING = "<!-- scores -->\n", "<!-- /scores -->"

Line = Mapping[str, Any]
"""An evaluation's last line: the weights' SHA-256, temperature, n, every skill's accuracy, median analysis lengths."""


def read(folder: Path) -> list[Line]:
    path = folder / SCORES
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def record(folder: Path, printed: Iterable[str]) -> None:
    """Take an evaluation's output into scores.json, in place of one at the same temperature, and renew the card.

    Raises ValueError where it does not end in a line with every skill.
    """
    *_, last = (text for text in printed if text.strip())
    line: Line = json.loads(last)
    if missing := {"weights", "temperature", "n", *SCORED, *map("analysis_{}".format, EFFORTS)} - line.keys():
        raise ValueError(f"the evaluation lacks {', '.join(sorted(missing))}; run it on every skill")
    others = [other for other in read(folder) if other["temperature"] != line["temperature"]]
    lines = sorted([*others, line], key=lambda line: line["temperature"])
    (folder / SCORES).write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(renewed(folder), encoding="utf-8")


def renewed(folder: Path) -> str:
    """The card's text with the table as scores.json has it."""
    before, _, rest = (folder / CARD).read_text(encoding="utf-8").partition(OPENING)
    _, _, after = rest.partition(CLOSING)
    return f"{before}{OPENING}{table(read(folder))}{CLOSING}{after}"


def table(lines: Sequence[Line]) -> str:
    """A column for each evaluation, a row for each skill, and below them the lengths of the analysis."""
    titles = [f"{_temperature(line)}, {line['n']:g} drills a skill" for line in lines]
    rows = [["skill", *titles], ["---", *("---:" for _ in lines)]]
    rows += [[name.replace("_", " "), *(f"{line[name]:.1%}" for line in lines)] for name in SCORED]
    for effort in EFFORTS:
        lengths = [f"{line[f'analysis_{effort}']:g}" for line in lines]
        rows.append([f"tokens of analysis at {effort} effort, median", *lengths])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _temperature(line: Line) -> str:
    return f"temperature {line['temperature']:g}" if line["temperature"] else "greedy"
