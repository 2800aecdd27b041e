"""A short step on a CPU keeps to one thread, and gives torch back its own count."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from harmonium import hardware, kernels


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_tokens", "n_threads"), [(1, 1), (255, 1), (256, 2), (2000, 2)])
def test_steps_short_enough_keep_to_one_thread(n_tokens: int, n_threads: int) -> None:
    with kernels.threads_for(torch.zeros(n_tokens, 256)):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == 2


def test_the_count_returns_after_an_error() -> None:
    with pytest.raises(RuntimeError), kernels.threads_for(torch.zeros(1, 256)):
        raise RuntimeError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("n_threads", [1, 2])
def test_kernels_have_as_many_threads_as_torch(n_threads: int) -> None:
    """Those of OMP_NUM_THREADS, though the step that first wants them keeps torch to one."""
    code = (
        "import torch; from harmonium import kernels\n"
        "with kernels.threads_for(torch.zeros(255, 256)): from harmonium.kernels.cpu.pool import POOL\n"
        "print(1 + POOL.n_workers)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(said.stdout) == min(n_threads, hardware.n_cores())
