"""`harmonium doctor`: what is in order, and every line that can say that something is not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest
import torch

from harmonium import hardware
from harmonium.cli import doctor
from harmonium.cli.main import main
from harmonium.hardware import Driver
from harmonium.model import checkpoint
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy

Captured = pytest.CaptureFixture[str]
HOPPER = Driver((13, 0), (("NVIDIA H200", (9, 0)),))


@pytest.fixture
def folder(nano: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nano, tmp_path / "nano"))


def lines(capsys: Captured, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the last line of each name."""
    code = main(["doctor", *arguments, "--json"])
    found = map(json.loads, capsys.readouterr().out.splitlines())
    return code, {line["name"]: line for line in found}


def test_a_machine_in_order(nano: Path, capsys: Captured) -> None:
    assert main(["doctor"]) == 0
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    machine = ["python", "cpu", "gpu", "torch", "triton", "numba", "threads"]
    assert names == [*machine, "folder", "file", "tensors", "vocabulary", "plan"]


def test_a_file_cut_short(folder: Path, capsys: Captured) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, found = lines(capsys, str(folder))
    assert code == 6 and found["file"]["status"] == "fail"
    assert "damaged or cut short" in found["file"]["text"] and "fetch it again" in found["file"]["text"]
    weights.unlink()
    code, found = lines(capsys, str(folder))
    assert code == 6 and "lacks model.safetensors" in found["file"]["text"]


def test_tensors_of_another_model(folder: Path, capsys: Captured) -> None:
    (folder / "model.safetensors").unlink()
    checkpoint.save(folder / "other", TINY, Dummy(TINY).tensors())
    shutil.copy(folder / "other" / "model.safetensors", folder)
    code, found = lines(capsys, str(folder))
    assert code == 6 and found["file"]["status"] == "fail"


def test_hashes_that_the_hub_gave(folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    note = folder / ".cache" / "huggingface" / "download" / "model.safetensors.metadata"
    note.parent.mkdir(parents=True)
    note.write_text(f"{'0' * 40}\n{digest}\n1.0\n")
    assert "SHA-256 as published" in lines(capsys, str(folder))[1]["file"]["text"]
    note.write_text(f"{'0' * 40}\n{'1' * 64}\n1.0\n")
    code, found = lines(capsys, str(folder))
    assert code == 6 and "differs from the published file" in found["file"]["text"]
    monkeypatch.setattr(doctor, "SMALL_BYTES", 0)
    code, found = lines(capsys, str(folder))
    assert code == 0 and "--hash compares SHA-256, and reads 15.4 MB" in found["tensors"]["text"]
    assert lines(capsys, str(folder), "--hash")[0] == 6


def test_the_hubs_cache_names_files_by_their_hash(folder: Path) -> None:
    blob = folder / ("a" * 64)
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    assert doctor.published_sha(folder / "model.safetensors") == "a" * 64
    assert doctor.published_sha(folder / "config.json") is None


def test_a_vocabulary_that_is_damaged_or_anothers(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PUBLISHED_ROWS", 4096)
    code, found = lines(capsys, str(folder))
    assert code == 0 and found["vocabulary"]["status"] == "warn" and "not OpenAI's file" in found["vocabulary"]["text"]
    monkeypatch.setattr(doctor, "TOKENIZER_SHA", doctor.sha256(folder / "tokenizer.json"))
    assert "as published" in lines(capsys, str(folder))[1]["vocabulary"]["text"]
    assert doctor._vocabulary(folder, 100).status == "fail"
    (folder / "tokenizer.json").write_text("{")
    code, found = lines(capsys, str(folder))
    assert code == 6 and found["vocabulary"]["status"] == "fail"


def test_a_model_that_is_not_here(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_memory_bytes", lambda: 12 * 10**9)
    code, found = lines(capsys, "20b")
    assert found["model"]["status"] == "warn" and found["disk"]["status"] == "ok"
    assert code == 3 and "gpt-oss-20b needs 13.8 GB for weights" in found["plan"]["text"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**9))  # type: ignore[attr-defined]
    code, found = lines(capsys, "20b")
    assert code == 5 and found["disk"]["remedy"].startswith("The model takes 13.8 GB; free space")
    code, found = lines(capsys, "nothing/such")
    assert code == 5 and found["model"]["status"] == "fail" and "plan" not in found


@pytest.mark.parametrize(
    ("driver", "status", "says"),
    [
        (None, "ok", "no NVIDIA driver"),
        (HOPPER, "ok", "NVIDIA H200, compute capability 9.0, driver for CUDA 13.0"),
        (Driver((12, 4), ()), "warn", "but no GPU"),
        (Driver((12, 4), (("NVIDIA T4", (7, 5)),)), "warn", "begins at 8.0"),
    ],
)
def test_gpus(driver: Driver | None, status: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "driver", lambda: driver)
    check = list(doctor._gpu())[-1]
    assert check.status == status and says in check.text


def test_libraries_that_do_not_suit_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "driver", lambda: HOPPER)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "build for CUDA" in doctor._torch().remedy
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor._torch().status == "fail" and "update NVIDIA's driver" in doctor._torch().remedy
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert doctor._torch().status == "ok"


@pytest.mark.parametrize(
    ("version", "named", "status", "says"),
    [
        (None, "triton==3.7.0", "fail", "which is not installed here: pip install 'triton==3.7.0'"),
        ("3.5.1", "triton==3.5.1", "fail", "3.6 or later, and 3.5.1 is installed: pip install 'triton>=3.6'"),
        ("3.6.0", "", "ok", ""),
        ("4.0.0", "", "ok", ""),
    ],
)
def test_the_triton_of_a_gpu(
    version: str | None, named: str, status: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="needs triton: pip install triton", exc_type=ImportError)
    monkeypatch.setattr(hardware, "driver", lambda: HOPPER)
    monkeypatch.setattr(hardware, "installed", lambda name: version)
    monkeypatch.setattr(hardware, "triton_of_torch", lambda: named)
    check = doctor._triton()
    assert check.status == status and says in check.remedy
    assert status == "fail" or "with Gluon for prompts' experts" in check.text
    if status == "ok":
        monkeypatch.setattr("harmonium.kernels.triton.gluon.in_gluon", lambda: None)
        assert doctor._triton().status == "warn"
    monkeypatch.setattr(hardware, "driver", lambda: None)
    assert doctor._triton().status == "ok"


def test_the_triton_that_torch_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ["numpy>=2", "triton-windows==9; x", 'triton==3.6.0 ; platform_system == "Linux"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: named)
    assert hardware.triton_of_torch() == "triton==3.6.0"
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: None)
    assert hardware.triton_of_torch() == ""


def test_processors_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "instruction_set", lambda: "portable")
    assert doctor._cpu().status == "warn"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert doctor._threads().remedy.endswith(f"OMP_NUM_THREADS={hardware.n_cores()}.")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "spinning" in doctor._threads().text
    monkeypatch.setattr("harmonium.kernels.cpu.compile.is_kept", lambda: False)
    assert "NUMBA_CACHE_DIR" in doctor._numba().remedy
