"""The guide's pages for clients: what they show runs as written, against a server, and prints what stands below it."""

from __future__ import annotations

import configparser
import io
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from harmonium.cli.commands import app
from harmonium.cli.main import main
from tests.server.conftest import Running
from tests.server.test_client_codex import PROVIDER

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "guide"
PAGES = ("sdk", "agents", "editors", "terminal", "service")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
HERE = "localhost:8000"
SAID = {
    "harmonium --url": "Lima",
    "harmonium chat --url localhost:8000": "2 + 2 = 4",
    "harmonium top": "tokens generated",
    'curl -s localhost:8000/v1/chat/completions -d \'{"messages"': "12 + 30 = 42",
    "curl -sN": '"completion_tokens":',
    'curl -s localhost:8000/v1/responses -d \'{"input"': "Lima",
    'curl -s localhost:8000/v1/responses -d \'{"messages"': "2 + 2 = 4",
    "curl -s localhost:8000/v1/chat/completions -d '{\n": "Ottawa",
    "curl -s localhost:8000/v1/completions": "Paris",
}
"""How each command begins that asks a server, and some of what it prints."""


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Code, and what the page says that it prints."""
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    return [(code, output) for language, code, output in BLOCK.findall(text) if language in languages]


COMMANDS = [code for page in PAGES for code, _ in blocks(page, "bash")]
ASKING = [code for code in COMMANDS if any(code.startswith(begin) for begin in SAID)]


@pytest.mark.parametrize("page", ["sdk", "agents"])
def test_its_python_prints_what_the_page_says(server: Running, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "guide"}
    for code, output in blocks(page, "python"):
        local = code.replace(f"http://{HERE}", server.url)
        exec(compile(local, f"{page}.md", "exec"), names)
        assert (said := capsys.readouterr().out) == output or (not output and not said), code


@pytest.mark.parametrize("command", ASKING, ids=lambda command: command.splitlines()[0])
def test_its_commands_run(
    server: Running, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    local = command.replace(HERE, server.url.removeprefix("http://"))
    if command.startswith("harmonium"):
        typed = b"2 + 2 = ?\n" if " chat " in command else b""
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))
        assert main(shlex.split(local)[1:]) == 0
    elif shutil.which("curl") is None:
        pytest.skip("needs curl: apt install curl")
    else:
        subprocess.run(["sh", "-ec", local], check=True)
    [said] = [said for begin, said in SAID.items() if command.startswith(begin)]
    assert said in capfd.readouterr().out


def test_every_command_of_ours_is_one() -> None:
    """Also those that are not run: they would start a server, or reach for another one."""
    lines = [line for code in COMMANDS for line in code.splitlines()]
    units = [line.removeprefix("ExecStart=") for line in "\n".join(c for c, _ in blocks("service", "ini")).splitlines()]
    found = [shlex.split(line)[1:] for line in (*lines, *units) if re.match(r"\S*\bharmonium(?=\s)", line)]
    assert len(found) >= 8
    for words in found:
        app.parse_args(words, print_error=False)
    assert {begin for begin in SAID if not any(code.startswith(begin) for code in ASKING)} == set()


def test_its_settings_are_whole() -> None:
    for code, _ in blocks("service", "ini"):
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(code)
        assert {"Unit", "Service", "Install"} == set(unit.sections()) and " serve " in unit["Service"]["ExecStart"]
    [(toml, _)] = blocks("editors", "toml")
    shown = tomllib.loads(toml)
    assert shown["model_providers"] == tomllib.loads(PROVIDER.format(url=f"http://{HERE}"))["model_providers"]
    assert shown["model_provider"] in shown["model_providers"]


@pytest.mark.deep
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js with the package openai")
def test_its_javascript_runs(server: Running, tmp_path: Path) -> None:
    """NODE_PATH tells where the package is; modules look for it beside themselves alone."""
    modules = Path(os.environ.get("NODE_PATH", "/usr/lib/node_modules"))
    if not (modules / "openai").is_dir():
        pytest.skip("needs the npm package openai, and NODE_PATH to name its folder")
    (tmp_path / "node_modules").symlink_to(modules)
    [(code, output)] = blocks("sdk", "javascript")
    (tmp_path / "guide.mjs").write_text(code.replace(f"http://{HERE}", server.url))
    done = subprocess.run(["node", "guide.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, output), done.stderr
