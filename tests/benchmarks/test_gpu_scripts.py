"""The scripts for a GPU, where there is none or where what they are asked for means nothing: one line, exit code 2."""

from __future__ import annotations

import importlib

import pytest
import torch

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", ["gpu_decode", "gpu_engine", "gpu_load", "gpu_prompt_experts"])
def test_a_machine_without_a_gpu(name: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="needs triton: pip install triton", exc_type=ImportError)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", [name])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "PyTorch sees none here" in said


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("compare_vllm", ["--engine", "harmonium"], "give its folder, with --model"),
        ("compare_transformers", ["--ids", "1"], "give --ids 2 or more"),
    ],
)
def test_what_means_nothing(
    name: str, arguments: list[str], says: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 2 and says in capsys.readouterr().err
