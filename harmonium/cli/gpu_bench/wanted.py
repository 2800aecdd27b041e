"""What the GPU's bench measures: which model, held to what, which sections; and where its figures come from."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Wanted:
    """name: a dummy's size, or a checkpoint's name or folder. layers: of a dummy, where not all. dtype and context: as
    loading and engines take them. memory: bytes of the device that a process is held to."""

    name: str
    layers: int | None = None
    dtype: str | None = None
    context: int | None = None
    memory: int | None = None

    @property
    def label(self) -> str:
        """What was measured, as figures name it: 20b, or 20b, 4 layers."""
        return self.name if self.layers is None else f"{self.name}, {self.layers} layer{'s' * (self.layers > 1)}"

    @property
    def held_to(self) -> dict[str, str | int]:
        """What a figure depends on beside the model, where it was asked for."""
        asked = {"dtype": self.dtype, "context": self.context, "memory_bytes": self.memory}
        return {key: value for key, value in asked.items() if value is not None}


def named(text: str) -> list[str]:
    """Names with commas between them, and with spaces or a comma at the end as people write them."""
    return [name for part in text.split(",") if (name := part.strip())]


def origin() -> dict[str, str]:
    """The command of this process and, in a clone, its commit."""
    first, *others = sys.orig_argv
    if others and Path(others[0]).is_file():
        first, *others = others
    found = {"command": shlex.join([Path(first).name, *others])}
    if not (ROOT / ".git").exists():
        return found
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here, or no clone of this user's
        return found
    return found | {"commit": commit}
