"""Compiled kernels on disk: kept, made anew where a file is damaged, and done without where there is no room."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmonium.hardware import instruction_set
from harmonium.kernels.cpu.compile import _compiling, compiled, is_kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    return tmp_path


def is_found() -> bool:
    """Whether a kernel comes from disk; it computes either way."""
    kernel: Any = compiled(lambda x: x + 1)
    assert kernel(2) == 3
    return bool(sum(kernel.stats.cache_hits.values()))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def zeroed(content: bytes) -> bytes:
    """As a file system may leave it after a power cut."""
    return content[:-1000] + bytes(1000)


def flipped(content: bytes) -> bytes:
    """One bit of it."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("kind", ["nbc", "nbi"])
@pytest.mark.parametrize("damage", [cut, emptied, zeroed, flipped])
def test_what_is_damaged_is_made_anew_once(folder: Path, kind: str, damage: Callable[[bytes], bytes]):
    assert not is_found()
    assert is_found()
    (path,) = folder.rglob(f"*.{kind}")
    path.write_bytes(damage(path.read_bytes()))
    assert not is_found()
    assert is_found()


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """No file of this process may be longer, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_compiling_is_told_once(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "harmonium.kernels.cpu.compile")
    _compiling.cache_clear()
    assert not is_found()
    compiled(lambda x: x - 1)(2)
    (message,) = caplog.messages
    assert message.startswith("Compiling kernels")


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_a_full_disk_costs_compiling_and_nothing_else(folder: Path, n_bytes: int, caplog: pytest.LogCaptureFixture):
    with room_for(n_bytes):
        assert not is_found()
        assert not is_found()
        assert not is_kept()
    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "File too large" in message and str(folder) in message
    assert is_kept()
    assert not is_found()
    assert is_found()


def test_kernels_compile_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    assert not is_kept()
    assert not is_found()


AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
UNPACKS = """
import numba, numpy as np
from harmonium import hardware
from harmonium.kernels.cpu.dots import unpack
out = np.empty(32, np.float32)
matrix = np.arange(16, dtype=np.uint8), np.full(1, 128, np.uint8)
numba.njit(lambda matrix, out: unpack(matrix, 0, 1, 1, out))(matrix, out)
print(hardware.instruction_set(), hardware.has_vnni(), *out[:8])
"""


@pytest.mark.parametrize(
    ("environment", "form"),
    [({"NUMBA_CPU_NAME": "generic"}, "portable"), pytest.param(AVX2, "avx2", marks=pytest.mark.deep)],
)
def test_the_form_is_that_of_the_processor_which_numba_compiles_for(environment: dict[str, str], form: str):
    if form == "avx2" and instruction_set() == "portable":
        pytest.skip("this processor has no AVX2; run the tests on one that has")
    done = subprocess.run([sys.executable, "-c", UNPACKS], env=os.environ | environment, capture_output=True, text=True)
    assert done.stdout.split() == [form, "False", "0.0", "1.0", "2.0", "3.0", "4.0", "6.0", "8.0", "12.0"], done.stderr


@pytest.mark.deep
@pytest.mark.parametrize("environment", [{"NUMBA_CPU_NAME": "generic"}, AVX2])
def test_every_kernel_in_the_other_forms(environment: dict[str, str]):
    if environment is AVX2 and instruction_set() == "portable":
        pytest.skip("this processor has no AVX2; run the tests on one that has")
    names = ("test_cpu", "test_cpu_faces", "test_cpu_sampling", "test_coded")
    paths = [str(Path(__file__).with_name(f"{name}.py")) for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *paths], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
