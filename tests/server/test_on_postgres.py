"""The suite of what the server remembers, with PostgreSQL in place of SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = ("response_state", "response_background", "response_sdk", "responses", "conversations", "chat_completions")


@pytest.mark.deep
def test_the_same_holds_on_postgresql(postgres: str) -> None:
    """postgres: skips where there is none; the suite below makes one of its own."""
    files = [str(HERE / f"test_{name}.py") for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=HERE.parents[1],
        env=os.environ | {"TEST_STORE": "postgresql"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
