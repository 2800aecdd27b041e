"""What the machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from harmonium import hardware


def test_this_machine():
    found = hardware.detect("cpu")
    assert found.device == "cpu" and found.name
    assert 0 < found.free_bytes <= found.memory_bytes <= psutil.virtual_memory().total
    assert 1 <= found.n_cores <= (os.cpu_count() or 1)
    assert found.kernels.startswith("numba, ")


def test_a_containers_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    cores, memory = hardware.n_cores(), hardware.memory_bytes()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (hardware.n_cores(), hardware.memory_bytes()) == (cores, memory)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    assert (hardware.n_cores(), hardware.memory_bytes()) == (1, 1_000_000)
    assert hardware.detect("cpu").free_bytes == 1_000_000
