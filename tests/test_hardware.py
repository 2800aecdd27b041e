"""What the machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from harmonium import hardware
from harmonium.hardware import PRESETS


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


def test_limits_of_the_groups_around_a_process_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As systemd-run sets them, and in the first version of control groups."""
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    monkeypatch.setattr(hardware, "OWN_CGROUP", tmp_path / "own")
    inner = tmp_path / "user.slice" / "run.scope"
    inner.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/user.slice/run.scope\n")
    (inner / "memory.max").write_text("3000000\n")
    (inner.parent / "memory.max").write_text("max\n")
    (inner.parent / "cpu.max").write_text("100000 100000\n")
    assert (hardware.n_cores(), hardware.memory_bytes()) == (1, 3_000_000)
    (tmp_path / "own").write_text("4:memory:/lxc/inner\n1:cpu,cpuacct:/not/seen/inside\n")
    memory, cpu = tmp_path / "memory" / "lxc" / "inner", tmp_path / "cpu"
    memory.mkdir(parents=True), cpu.mkdir()
    (memory / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (memory.parent / "memory.limit_in_bytes").write_text("2000000\n")
    (cpu / "cpu.cfs_quota_us").write_text("50000\n")
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    assert (hardware.n_cores(), hardware.memory_bytes()) == (1, 2_000_000)


def test_kinds_of_gpu():
    for preset in PRESETS.values():
        found = preset.hardware()
        assert found.free_bytes == found.memory_bytes == preset.memory_gb * 10**9
        assert preset.hardware(10**9).free_bytes == 10**9
        assert (found.refusal is None) == (preset.maker == "NVIDIA")
    assert hardware.plain_cpu(10**9).refusal is None


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch):
    def none(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", none)
    assert hardware.driver() is None
    assert hardware.has_gpu() == Path("/dev/kfd").exists()


class Library:
    """NVIDIA's driver for CUDA 12.8 with one GPU, as the CUDA Driver API answers."""

    def cuInit(self, flags: int) -> int:
        return flags

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, device: Any, place: int) -> int:
        device._obj.value = place
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b"NVIDIA L4"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: 8, 76: 9}[attribute]
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12080
        return 0


def test_a_driver_and_its_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: Library())
    assert hardware.driver() == hardware.Driver((12, 8), (("NVIDIA L4", (8, 9)),))
    assert hardware.has_gpu()
    monkeypatch.setattr(Library, "cuInit", lambda self, flags: 100)  # CUDA_ERROR_NO_DEVICE
    assert hardware.driver() == hardware.Driver((0, 0), ())


def test_a_gpu_held_to_less_memory(monkeypatch: pytest.MonkeyPatch):
    """The driver's and PyTorch's numbers are made up: 141 GB, of which the driver takes 0.5 and this process 3."""
    import torch

    total, reserved, allocated, fractions = 141 * 10**9, 3 * 10**9, 2 * 10**9, [1.0]
    made_up = {
        "mem_get_info": lambda device: (total - 500_000_000 - reserved, total),
        "memory_reserved": lambda device: reserved,
        "memory_allocated": lambda device: allocated,
        "current_device": lambda: 0,
        "get_per_process_memory_fraction": lambda number: fractions[-1 + number],
        "set_per_process_memory_fraction": lambda fraction, number: fractions.append(fraction),
    }
    for name, function in made_up.items():
        monkeypatch.setattr(torch.cuda, name, function)
    assert hardware.free_bytes("cuda") == total - 500_000_000 - allocated
    hardware.limit_memory(16 * 10**9)
    assert fractions[-1] == pytest.approx(15.5 / 141)
    assert hardware.free_bytes("cuda:0") == pytest.approx(13.5 * 10**9, abs=2)
    hardware.limit_memory(200 * 10**9, "cuda:0")
    assert fractions[-1] == 1.0
