"""The README is true: its Python runs, its commands exist, and it fits a screen."""

import re
import shlex
from pathlib import Path

import pytest

from harmonium.cli.commands import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(?:\$ )?(?:.*\| )?harmonium (.*)$", README, flags=re.MULTILINE)


def test_it_fits_a_screen() -> None:
    assert len(README.splitlines()) <= 80
    assert max(map(len, README.splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_exist(command: str) -> None:
    app.parse_args(shlex.split(command, comments=True))


def test_the_commands_were_found() -> None:
    assert len(COMMANDS) == len(re.findall(r"^ {4}.*harmonium ", README, flags=re.MULTILINE)) >= 5


def test_its_python_runs(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "27" in capsys.readouterr().out
