"""A short step on a CPU keeps to one thread, and gives torch back its own count."""

from collections.abc import Iterator

import pytest
import torch

from harmonium import kernels


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
