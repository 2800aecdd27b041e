"""A server that is killed: what it had acknowledged as stored is there when it comes back, and turns go on."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.conftest import Start
from tests.server.test_responses import WEATHER

N_CLIENTS = 8


@contextmanager
def serving(store: str, folder: Path) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    """A process of its own, killed at the end at the latest."""
    command = [sys.executable, "-m", "harmonium", "serve", "--port", "0", "--quiet"]
    places = ["--store", store, "--store-key", str(folder / "key")]
    with subprocess.Popen([*command, *places], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = next(found[1] for line in process.stderr if (found := re.search(r"(http://\S+)", line)))
            with httpx2.Client(base_url=f"{url}/v1", timeout=60, trust_env=False) as client:
                yield client, process
        finally:
            process.kill()


def ask_until_killed(url: Any, number: int) -> list[dict[str, Any]]:
    """Continues one conversation until the server is gone; what it was given."""
    acknowledged: list[dict[str, Any]] = []
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        while True:
            previous = acknowledged[-1]["id"] if acknowledged else None
            body = {"input": f"Hello {number}", "previous_response_id": previous, "max_output_tokens": 4}
            try:
                answer = client.post("responses", json=body)
            except httpx2.TransportError:
                return acknowledged
            assert answer.status_code == 200, answer.text
            acknowledged.append(answer.json())


def check_kill(store: str, folder: Path) -> None:
    with serving(store, folder) as (client, process), ThreadPoolExecutor(N_CLIENTS) as threads:
        question = {"input": "What is the weather in Oslo?", "tools": [WEATHER]}
        called = client.post("responses", json=question).json()
        begun = [threads.submit(ask_until_killed, client.base_url, number) for number in range(N_CLIENTS)]
        for _ in range(5):
            client.post("responses", json={"input": "Hi", "max_output_tokens": 8})
        process.send_signal(signal.SIGKILL)
        acknowledged = [response for one in begun for response in one.result()]
    assert len(acknowledged) >= N_CLIENTS
    with serving(store, folder) as (client, _):
        for response in [called, *acknowledged]:
            assert client.get(f"responses/{response['id']}").json() == response
        check_that_it_goes_on(called, lambda body: client.post("responses", json=body).json())


def check_that_it_goes_on(called: dict[str, Any], ask: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A turn that waits for a tool's result."""
    output = {"type": "function_call_output", "call_id": called["output"][-1]["call_id"], "output": "7 degrees"}
    answer = ask({"input": [output], "previous_response_id": called["id"], "tools": [WEATHER]})
    assert "7" in answer["output"][-1]["content"][0]["text"]
    assert answer["usage"]["input_tokens"] > called["usage"]["total_tokens"]


def test_what_is_acknowledged_is_on_the_disk(start: Start, tmp_path: Path) -> None:
    """The files as they are at that moment, which is how a killed server leaves them, are all that another needs."""
    question = {"input": "What is the weather in Oslo?", "tools": [WEATHER]}
    (tmp_path / "left").mkdir()
    with start(store=tmp_path / "store.db", key_file=tmp_path / "key") as server:
        called = server.post("/responses", **question)
        for file in tmp_path.glob("store.db*"):
            shutil.copy(file, tmp_path / "left")
    with start(store=tmp_path / "left" / "store.db", key_file=tmp_path / "key") as server:
        assert server.http.get(f"/v1/responses/{called['id']}").json() == called
        check_that_it_goes_on(called, lambda body: server.post("/responses", **body))


@pytest.mark.deep
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    check_kill(str(tmp_path / "store.db"), tmp_path)


@pytest.mark.deep
def test_what_was_acknowledged_survives_a_kill_with_postgresql(postgres: str, tmp_path: Path) -> None:
    check_kill(postgres, tmp_path)
