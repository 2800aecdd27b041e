"""Who may import whom, as pyproject.toml says and as processes show."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_layers_hold() -> None:
    """A contract that is broken, or one that names a module that is gone, fails."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    "modules",
    [
        "harmonium, harmonium.cli.main, harmonium.cli.commands",
        "harmonium.harmony.convert, harmonium.harmony.render, harmonium.harmony.parse, harmonium.harmony.vocabulary",
        "harmonium.engine.request, harmonium.engine.scheduler, harmonium.engine.kv_cache",
    ],
)
def test_rooms_without_torch_start_without_it(modules: str) -> None:
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_answers_without_a_grammar_need_no_llguidance() -> None:
    code = "import sys; sys.modules['llguidance'] = None; import harmonium.harmony.automaton, harmonium.harmony.grammar"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
