"""What this machine is, and what machines there are: device, memory, cores, and which kernels they run."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CGROUP, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

# PyTorch's allocator then grows what it has instead of leaving pieces that nothing fits: beside 20b on a GPU of 16 GB
# these were 0.7 GB, and the first step found no room. It is read when a GPU's memory is first used.
if sys.platform == "linux" and "PYTORCH_ALLOC_CONF" not in os.environ:
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

LEAST_CAPABILITY = (8, 0)
"""Compute capability from which on tensor cores and instructions know bfloat16. Source: NVIDIA, PTX ISA."""
LEAST_TRITON = (3, 6)
"""The oldest that the kernels compile and run in."""
HEAD_DIMS = (16, 32, 64, 128)
"""Widths of an attention head that a GPU's kernels take: powers of two, from what tensor cores multiply at once to what
every GPU has the shared memory for."""


@dataclass(frozen=True)
class Hardware:
    """device is "cuda" or "cpu"; memory is the device's, in bytes; kernels says what its operations run on.

    Of a GPU: maker is NVIDIA or AMD, capability its compute capability, lack what `triton_lack` says.
    """

    device: str
    name: str
    memory_bytes: int
    free_bytes: int
    n_cores: int
    kernels: str
    maker: str = ""
    capability: tuple[int, int] = (0, 0)
    lack: str = ""

    @property
    def refusal(self) -> str | None:
        """Why no model runs on this device, and what to do about it; None where it does."""
        if self.device == "cpu":
            return None
        instead = "or run on the CPU, with --device cpu"
        if self.maker == "AMD":
            return (
                f"{self.name} is an AMD GPU, and the kernels decode MXFP4 with NVIDIA's instructions; take an NVIDIA "
                f"GPU of compute capability 8.0 or later, {instead}."
            )
        if self.capability < LEAST_CAPABILITY:
            return (
                f"{self.name} has compute capability {'{}.{}'.format(*self.capability)}, and the kernels compute in "
                f"bfloat16, which begins at 8.0; take a GPU of Ampere or later, {instead}."
            )
        return f"{self.name} needs {self.lack}, {instead}." if self.lack else None


@dataclass(frozen=True)
class Preset:
    """A kind of GPU as its maker states it: memory in 10**9 bytes (drivers report a little more), and where it says so.

    Capabilities: https://developer.nvidia.com/cuda-gpus
    """

    name: str
    maker: str
    capability: tuple[int, int]
    memory_gb: int
    source: str

    def hardware(self, memory_bytes: int | None = None) -> Hardware:
        """One such GPU, whole and free, or with so much memory."""
        memory = memory_bytes or self.memory_gb * 10**9
        return Hardware("cuda", self.name, memory, memory, 0, "triton", self.maker, self.capability)


NVIDIA = "https://www.nvidia.com/en-us/"
PRESETS = {
    "h100": Preset("NVIDIA H100 80GB", "NVIDIA", (9, 0), 80, f"{NVIDIA}data-center/h100/"),
    "h200": Preset("NVIDIA H200", "NVIDIA", (9, 0), 141, f"{NVIDIA}data-center/h200/"),
    "gb200": Preset("NVIDIA GB200, one GPU", "NVIDIA", (10, 0), 186, f"{NVIDIA}data-center/gb200-nvl72/"),
    "rtx5090": Preset("NVIDIA RTX 5090", "NVIDIA", (12, 0), 32, f"{NVIDIA}geforce/graphics-cards/50-series/rtx-5090/"),
    "rtx4090": Preset("NVIDIA RTX 4090", "NVIDIA", (8, 9), 24, f"{NVIDIA}geforce/graphics-cards/40-series/rtx-4090/"),
    "a100": Preset("NVIDIA A100 80GB", "NVIDIA", (8, 0), 80, f"{NVIDIA}data-center/a100/"),
    "l4": Preset("NVIDIA L4", "NVIDIA", (8, 9), 24, f"{NVIDIA}data-center/l4/"),
    "mi300x": Preset(
        "AMD Instinct MI300X",
        "AMD",
        (0, 0),
        192,
        "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
    ),
}


def detect(device: str | None = None) -> Hardware:
    """This machine, as seen from `device`: the first GPU if there is one, unless named."""
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        total = int(properties.total_memory * torch.cuda.get_per_process_memory_fraction(_number(device)))
        maker = "AMD" if torch.version.hip else "NVIDIA"
        name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        lack = triton_lack(installed("triton"), triton_of_torch())
        return Hardware("cuda", name, total, free_bytes(device), n_cores(), "triton", maker, capability, lack)
    return plain_cpu()


def installed(package: str) -> str | None:
    """A package's version, or None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def triton_of_torch() -> str:
    """The requirement that the installed PyTorch has of Triton; empty where it has none, as a CPU's build."""
    try:
        named = metadata.requires("torch") or []
    except metadata.PackageNotFoundError:
        named = []
    found = (re.match(r"triton\s*([=<>~!][^;]*)?(?=;|$)", one) for one in named)
    return next(("".join(one[0].split()) for one in found if one), "")


def triton_lack(version: str | None, named: str = "") -> str:
    """What is wanted of Triton beside the version that is here, and how to get it; empty where nothing is.

    named: the requirement that PyTorch has of it, which is what to install where it is new enough.
    """
    least = "{}.{}".format(*LEAST_TRITON)
    if version is not None and _release(version) >= LEAST_TRITON:
        return ""
    here = f"and {version} is installed" if version else "which is not installed here"
    wanted = named if named and _release(named) >= LEAST_TRITON else f"triton>={least}"
    return f"Triton {least} or later, {here}: pip install '{wanted}'"


def _release(version: str) -> tuple[int, int]:
    """Major and minor of a version, or of the first in a requirement."""
    major, minor = re.findall(r"\d+", version + " 0 0")[:2]
    return int(major), int(minor)


def head_refusal(head_dim: int) -> str | None:
    """Why a model with such heads does not run on a GPU, and what to do about it; None where it does."""
    if head_dim in HEAD_DIMS:
        return None
    taken = ", ".join(map(str, HEAD_DIMS))
    return (
        f"A GPU's kernels take heads of a head_dim of {taken}, and this model's is {head_dim}; run it on the CPU, with "
        "--device cpu."
    )


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver: the newest CUDA that it runs, and its GPUs by name and compute capability."""

    cuda: tuple[int, int]
    gpus: tuple[tuple[str, tuple[int, int]], ...]


def driver() -> Driver | None:
    """NVIDIA's driver, asked without PyTorch; None where there is none. Source: NVIDIA, CUDA Driver API."""
    import ctypes

    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    number, name, gpus = ctypes.c_int(), ctypes.create_string_buffer(256), []
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(number)):
        return Driver((0, 0), ())
    for place in range(number.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        library.cuDeviceGet(ctypes.byref(device), place)
        library.cuDeviceGetName(name, len(name), device)
        library.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        library.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        gpus.append((name.value.decode(), (major.value, minor.value)))
    library.cuDriverGetVersion(ctypes.byref(number))
    return Driver((number.value // 1000, number.value % 1000 // 10), tuple(gpus))


def has_gpu() -> bool:
    """PyTorch would see a GPU, if it is built for one; without importing it."""
    found = driver()
    return Path("/dev/kfd").exists() or (found is not None and bool(found.gpus))


def free_bytes(device: str) -> int:
    """Memory that could be had now on cpu, cuda or cuda:N, what PyTorch holds there unused included."""
    if device == "cpu":
        return min(free_memory_bytes(), memory_bytes())
    import torch

    allocated = torch.cuda.memory_allocated(device)
    unused = torch.cuda.memory_reserved(device) - allocated
    free, total = torch.cuda.mem_get_info(device)
    return min(free + unused, int(total * torch.cuda.get_per_process_memory_fraction(_number(device))) - allocated)


def unreserved_bytes(device: str = "cuda") -> int:
    """Memory that PyTorch has not taken yet, and may."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    allowed = int(total * torch.cuda.get_per_process_memory_fraction(_number(device)))
    return min(free, allowed - torch.cuda.memory_reserved(device))


def limit_memory(n_bytes: int, device: str = "cuda") -> None:
    """Holds this process to so much of a GPU's memory, its driver's part included, as if there were no more."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    taken = total - free - torch.cuda.memory_reserved(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0, n_bytes - taken) / total), _number(device))


def _number(device: str) -> int:
    """N of cuda:N, or that of the GPU that plain cuda is."""
    import torch

    number = torch.device(device).index
    return torch.cuda.current_device() if number is None else number


def plain_cpu(memory: int | None = None) -> Hardware:
    """This machine without its GPUs, as it is now or with so much memory, all of it free."""
    total = memory or memory_bytes()
    free = memory or min(free_memory_bytes(), total)
    return Hardware("cpu", cpu_name(), total, free, n_cores(), f"numba, {instruction_set()}")


def n_cores() -> int:
    """Cores this process may use: its affinity, and its container's quota rounded up."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for folder in _groups("cpu"):
        period = _read(folder / "cpu.cfs_period_us")
        quota = (_read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {period}").split()
        if len(quota) == 2 and quota[0].isdigit():
            cores = min(cores, -(-int(quota[0]) // int(quota[1])))
    return max(cores, 1)


def n_threads() -> int:
    """Threads to compute with: PyTorch's, of which OMP_NUM_THREADS says how many, but no more than there are cores.

    By default it has one for each core that computes by itself: two of one core read and multiply no faster.
    """
    import torch

    return min(torch.get_num_threads(), n_cores())


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or its container's limit."""
    if sys.platform == "win32":
        return _windows_memory()[0]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [_read(folder / name).strip() for folder in _groups("memory") for name in names]
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from its own to the outermost; of both versions.

    A container may see its own as the outermost, whatever the path that it has outside. Source: cgroups(7).
    """
    yield CGROUP
    for line in _read(OWN_CGROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            own = Path(path.lstrip("/"))
            root = CGROUP / controller if controllers else CGROUP
            yield from (root / part for part in (own, *own.parents))


def free_memory_bytes() -> int:
    """Memory that could be had without swapping; where the system does not say, all of it."""
    if sys.platform == "win32":
        return _windows_memory()[1]
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return memory_bytes()


def machine() -> dict[str, str | int]:
    """What a figure depends on."""
    import torch

    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """The widest vectors that the CPU kernels know and compile for: avx512, avx2, or portable."""
    features = _features()
    if "+avx512f" in features:
        return "avx512"
    return "avx2" if {"+avx2", "+fma"} <= features else "portable"


def has_vnni() -> bool:
    """Whether kernels may multiply, add up and look up 64 bytes at a time, one instruction each (VNNI, VBMI)."""
    return {"+avx512f", "+avx512bw", "+avx512vl", "+avx512vbmi", "+avx512vnni"} <= _features()


def _features() -> set[str]:
    """What numba compiles for: this processor, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say instead."""
    from numba.core import codegen, config

    named: str | None = config.CPU_FEATURES  # type: ignore[attr-defined]
    features: str = codegen.get_host_cpu_features() if named is None else named  # type: ignore[no-untyped-call]
    return set(features.split(","))


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
