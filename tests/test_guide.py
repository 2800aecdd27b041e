"""The guide's own side runs as written, on nano instead of the published models."""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guide" / "coming-from.md"
OURS = re.compile(r"^Harmonium[^\n]*:\n\n```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

SAID: tuple[tuple[str, ...], ...] = (
    ("There are 3 r's",),
    ("r at 3, 8, 9", "There are 3 r's", "Usage(", "stop"),
    ("Reasoning: high", "strawberry", "<|start|>assistant"),
    ("3, 8, 9", "There are 3 r's"),
    ("Terrestrial", 'get_current_weather {"location": "Madrid"}'),
    ("Die Hauptstadt ist Canberra",),
    ("Paris",),
    ("<|channel|>final<|message|>2 + 2 × 3 = 8<|return|>",),
    ("Lima . [('",),
    tuple(f"{n} + {n} = {2 * n}" for n in range(8)),
    ("Channel.ANALYSIS", "2 + 2 = 4", "Channel.FINAL"),
    ("MessageStart(", "ContentDelta(text=' ", "MessageEnd("),
    ("0 '<|start|>'", "1 'Austr'", "4 'Can'", "4 '<|return|>'"),
)
"""What each block of Python has nano print, some of it."""


def blocks(language: str) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    found = [code for name, code in OURS.findall(text) if name == language]
    assert found
    return [re.sub(r"openai/gpt-oss-(20|120)b", "nano", code) for code in found]


def test_every_block_of_ours_is_found() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert len(OURS.findall(text)) == len(re.findall(r"^Harmonium", text, flags=re.MULTILINE))


def test_the_guide_runs_from_top_to_bottom(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One reader, one session: later blocks use the names of earlier ones."""
    names: dict[str, object] = {}
    for code, parts in zip(blocks("python"), SAID, strict=True):
        exec(compile(code, str(GUIDE), "exec"), names)
        out = capsys.readouterr().out
        assert [part for part in parts if part not in out] == [], out


def test_the_guides_commands_run(nano: Path) -> None:
    """At the same time, since each starts a model of its own."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)

    with ThreadPoolExecutor() as threads:
        for command, done in zip(blocks("bash"), threads.map(run, blocks("bash")), strict=True):
            assert done.returncode == 0, done.stderr
            assert "Canberra" in done.stdout, shlex.quote(command)
