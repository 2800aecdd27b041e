"""Requests made from the server's own OpenAPI description, right and wrong: none of them is the server's fault, and
answers are what the description says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import Running


@pytest.mark.deep
def test_what_the_description_allows_and_forbids_is_answered(server: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    what = [f"--checks={checks}", "--phases=fuzzing,stateful", "--max-examples=100", "--seed=1"]
    how = [
        "--generation-database=none",
        "--warnings=off",
        "--no-color",
        "--request-timeout=60",
        "--suppress-health-check=all",
    ]
    done = subprocess.run([*command, *what, *how], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    generated = re.search(r"([\d,]+) generated, ([\d,]+) passed", done.stdout)
    assert generated is not None and generated[1] == generated[2], done.stdout
    assert int(generated[1].replace(",", "")) > 2000
