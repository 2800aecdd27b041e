"""The suite's own rule: no network but loopback, here and in the processes that tests start."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

OUTSIDE = "192.0.2.1"  # an address set aside for documentation, RFC 5737


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((OUTSIDE, 80), timeout=1),
        lambda: socket.getaddrinfo("example.com", 443),
        lambda: socket.gethostbyname("example.com"),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", (OUTSIDE, 53)),
        lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
    ],
)
def test_networks_and_look_ups_are_refused(reach: Callable[[], object]) -> None:
    with pytest.raises(OSError, match="the suite runs offline"):
        reach()


def test_child_processes_are_shut_off_too() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 1
    assert "the suite runs offline" in child.stderr


def test_loopback_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
        answer.start()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            assert client.recv(5) == b"hello"
        answer.join()


def test_the_hub_cache_is_empty_and_temporary() -> None:
    from huggingface_hub import constants

    assert "harmonium-tests-" in constants.HF_HUB_CACHE
