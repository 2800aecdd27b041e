"""What this machine is: its device, memory, cores, and which kernels it runs."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Hardware:
    """device is "cuda" or "cpu"; memory is the device's, in bytes; kernels says what its operations run on."""

    device: str
    name: str
    memory_bytes: int
    free_bytes: int
    n_cores: int
    kernels: str


def detect(device: str | None = None) -> Hardware:
    """This machine, as seen from `device`: the first GPU if there is one, unless named."""
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        return Hardware("cuda", torch.cuda.get_device_name(device), total, free, n_cores(), "torch")
    total = memory_bytes()
    free = min(free_memory_bytes(), total)
    return Hardware("cpu", cpu_name(), total, free, n_cores(), f"numba, {instruction_set()}")


def n_cores() -> int:
    """Cores this process may use: its affinity, and its container's quota rounded up."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = _read(CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, -(-int(quota[0]) // int(quota[1])))
    return max(cores, 1)


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or its container's limit."""
    if sys.platform == "win32":
        return _windows_memory()[0]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(CGROUP / "memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def free_memory_bytes() -> int:
    """Memory that could be had without swapping; where the system does not say, all of it."""
    if sys.platform == "win32":
        return _windows_memory()[1]
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return memory_bytes()


def cpu_name() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """The widest vectors that the CPU kernels know and this processor has: avx512, avx2, or portable."""
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f", False):
        return "avx512"
    return "avx2" if features.get("avx2", False) and features.get("fma", False) else "portable"


def _windows_memory() -> tuple[int, int]:
    """Total and available bytes. Source: MEMORYSTATUSEX in Microsoft's sysinfoapi.h."""
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")),
        )

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return status.total, status.available


def _read(path: Path) -> str:
    """A file's text; empty where the system has no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
