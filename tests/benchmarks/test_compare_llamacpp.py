"""What the comparison with llama.cpp refuses before it writes or measures anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import compare_llamacpp


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--layers", "0"], "at least 1"),
        (["--layers", "10000"], "no room"),
        (["--llama-bench", "cat"], "is not llama.cpp's llama-bench"),
        (["--llama-bench", "false"], "is not llama.cpp's llama-bench"),
    ],
)
def test_refusals(
    options: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare_llamacpp", "--folder", str(tmp_path), *options])
    with pytest.raises(SystemExit) as refused:
        compare_llamacpp.main()
    assert reason in f"{refused.value}{capsys.readouterr().err}"
    assert not list(tmp_path.iterdir())
