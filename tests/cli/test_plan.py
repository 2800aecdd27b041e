"""`harmonium plan` as people and programs read it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from harmonium.cli.main import main
from harmonium.cli.plan import Gpu
from harmonium.engine import sizes
from harmonium.errors import BadRequest
from harmonium.hardware import PRESETS
from harmonium.model import config_file
from harmonium.model.config import GPT_OSS_20B

Captured = pytest.CaptureFixture[str]


def test_what_fits(capsys: Captured) -> None:
    assert main(["plan", "20b", "--gpu", "h200", "--concurrency", "8", "--context", "8192"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("gpt-oss-20b on NVIDIA H200: 8 requests at once, each of up to 8,192 tokens\n")
    rows = {line.split("  ")[1]: line for line in out.splitlines() if line.startswith("  ")}
    assert "10.2 GB" in rows["experts"] and "MXFP4" in rows["experts"] and "triton" in rows["experts"]
    assert "13.8 GB" in rows["weights"]
    for name in ("cache", "graphs", "workspace", "program", "total"):
        assert name in rows
    assert "It fits: " in out and "What would fit" not in out and "requests at once" in out


def test_what_does_not(capsys: Captured) -> None:
    assert main(["plan", "20b", "--device", "cpu", "--memory", "16GB", "--dtype", "bfloat16"]) == 3
    out = capsys.readouterr().out
    assert "It does not fit: " in out and "16.0 GB free" in out
    advice = out.partition("What would fit:\n")[2].splitlines()[0].split()
    assert advice[0] == "--context"
    assert main(["plan", "20b", "--device", "cpu", "--memory", "16GB", "--dtype", "bfloat16", *advice]) == 0
    capsys.readouterr()
    assert main(["plan", "120b", "--gpu", "l4"]) == 3
    assert "requests at once" not in capsys.readouterr().out, "no table of nothing"


def test_what_is_refused(capsys: Captured) -> None:
    assert main(["plan", "20b", "--gpu", "mi300x"]) == 7
    assert main(["plan", "20b", "--gpu", "h100", "--tensor-parallel", "2"]) == 7
    assert main(["plan", "20b", "--gpu", "h100", "--dtype", "int8"]) == 7
    assert main(["plan", "20b", "--gpu", "h100", "--device", "cpu"]) == 2
    assert main(["plan", "20b", "--gpu", "h300"]) == 2
    assert main(["plan", "--device", "tpu"]) == 2
    assert main(["plan", "30b"]) == 5
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("harmonium: ") == 7


def test_every_preset_can_be_asked_for() -> None:
    assert set(Gpu.__args__) == set(PRESETS)  # type: ignore[attr-defined]


def test_for_programs_and_from_a_config_alone(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_file.to_json(GPT_OSS_20B, is_packed=True)))
    assert main(["plan", str(tmp_path), "--gpu", "h100", "--memory", "60GB", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights_bytes"] == sum(part["n_bytes"] for part in found["parts"]) == 13_761_264_768
    sums = ("weights", "cache", "graphs", "workspace", "program")
    assert found["total_bytes"] == sum(found[f"{name}_bytes"] for name in sums)
    assert found["free_bytes"] == 60 * 10**9 and found["fits"] and found["advice"] == []
    assert {"context": 4096, "requests": 256, "by_default": 73} in found["most_requests"]


def test_this_machine(capsys: Captured) -> None:
    assert main(["plan", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "nano" and found["fits"] and found["context"] == 131_072


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("16GB", 16 * 10**9), ("80 GiB", 80 * 2**30), ("1.5g", 1_500_000_000), ("512MB", 512 * 10**6), ("1000", 1000)],
)
def test_sizes_that_people_write(text: str, n_bytes: int) -> None:
    assert sizes.parsed(text) == n_bytes


@pytest.mark.parametrize("text", ["", "much", "-16GB", "0", "16XB", "GB", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadRequest, match="write it as 16GB"):
        sizes.parsed(text)


def test_int8_comes_with_its_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Where it is planned and where it is loaded, as it was measured."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    measured = json.loads((Path(__file__).parents[2] / "benchmarks" / "cpu_accuracy.json").read_text())
    figures = [
        part
        for name in ("ours, int8", "ours, bfloat16")
        for part in (
            f"{measured[name]['median_error']:.1e}".replace("e-0", "e-"),
            f"{100 * measured[name]['other_top_1']:g} %",
        )
    ]
    for command in (["plan", "20b", "--device", "cpu"], ["hi", "--dummy", "tiny", "--max-tokens", "1"]):
        main([*command, "--dtype", "int8"])
        said = "".join(capfd.readouterr())
        assert all(figure in said for figure in figures), said
        main(command)
        assert "int8:" not in "".join(capfd.readouterr())
