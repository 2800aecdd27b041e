"""What HTTP costs: the same 32 chat requests through the async engine and over a socket, in turn.

    python -m benchmarks.serve [PAIRS]

Two processes hold nano: `harmonium serve`, and one that reads the engine's streams for itself, with the same prompts,
constraints and parameters. The client is raw sockets and a selector; its own processor time is reported, since it takes
from the same cores. Prints the machine, each pair and, last, one JSON line with the median ratios: of wall times, which
need a quiet machine, and of the two processes' processor times.
"""

from __future__ import annotations

import asyncio
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import psutil

from harmonium.hardware import machine

WORDS = (
    *("strawberry", "banana", "cherry", "elephant", "giraffe", "kangaroo", "umbrella", "mountain", "sandwich"),
    *("butterfly", "chocolate", "dinosaur", "adventure", "basketball", "calendar", "diamond", "engineer"),
    *("festival", "gardener", "hospital", "internet", "jungle", "keyboard", "language", "medicine", "notebook"),
    *("operator", "passenger", "question", "restaurant", "sunflower", "telephone"),
)
N_REQUESTS = 32


def bodies() -> list[dict[str, Any]]:
    """Distinct questions, answered in about a hundred tokens each."""
    letters = [word[len(word) // 2] for word in WORDS]
    asked = [f"How many {letter}'s are in the word '{word}'?" for word, letter in zip(WORDS, letters, strict=True)]
    return [
        {
            "messages": [{"role": "user", "content": text}],
            "reasoning_effort": "high",
            "temperature": 0,
            "stream": True,
        }
        for text in asked[:N_REQUESTS]
    ]


def over_http(port: int) -> tuple[float, float, int]:
    """Seconds until the last answer has ended, the client's own processor seconds, and chunks received."""
    started, used = time.perf_counter(), time.process_time()
    selector, n_events, n_open = selectors.DefaultSelector(), 0, 0
    for body in bodies():
        text = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", port))
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        connection.sendall(head.encode() + text)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, [])
        n_open += 1
    while n_open:
        for key, _ in selector.select():
            connection = key.fileobj  # type: ignore[assignment]
            piece = connection.recv(1 << 16)
            if piece:
                key.data.append(piece)
                continue
            selector.unregister(connection)
            connection.close()
            n_open -= 1
            answer = b"".join(key.data)
            assert answer.startswith(b"HTTP/1.1 200") and b"data: [DONE]" in answer, answer[-500:]
            n_events += answer.count(b"data: ")
    return time.perf_counter() - started, time.process_time() - used, n_events


async def through_the_engine(serving: Any, llm: Any) -> tuple[float, int]:
    """Seconds until the last stream has ended, and ids received."""

    async def read(body: dict[str, Any]) -> int:
        settings = llm.turns.settings({"effort": "high", "temperature": 0.0, "stop_loops": True, "run_tools": False})
        wanted = next(llm.turns.turn(body["messages"], settings, llm.context))
        async with serving.stream(wanted.prompt, settings.params, wanted.constraint) as outputs:
            return sum([len(output.ids) async for output in outputs])

    started = time.perf_counter()
    counts = await asyncio.gather(*map(read, bodies()))
    return time.perf_counter() - started, sum(counts)


def engine_process() -> None:
    """Runs the requests once for every line on stdin, and writes the seconds."""
    from harmonium import LLM
    from harmonium.engine.async_engine import AsyncEngine

    async def serve() -> None:
        llm = LLM()
        async with AsyncEngine(llm.engine) as serving:
            for _ in sys.stdin:
                print(json.dumps(await through_the_engine(serving, llm)), flush=True)

    asyncio.run(serve())


@contextmanager
def server() -> Iterator[tuple[int, psutil.Process]]:
    """A server of its own: its port and its process."""
    command = [sys.executable, "-m", "harmonium", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(int(found[1]) for text in process.stderr if (found := re.search(r" at http://\S+?:(\d+)", text)))
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()
            drain.terminate()


@contextmanager
def engine() -> Iterator[subprocess.Popen[str]]:
    """The other process."""
    command = [sys.executable, "-m", "benchmarks.serve", "engine"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def used_by(process: psutil.Process) -> float:
    """Its processor seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def main(n_pairs: int) -> None:
    where = machine()
    print("  ".join(f"{name}: {value}" for name, value in where.items()))
    walls, works, shares = [], [], []
    with server() as (port, serving), engine() as alone:
        assert alone.stdin is not None and alone.stdout is not None
        computing = psutil.Process(alone.pid)
        for number in range(1 + n_pairs):
            before = used_by(computing)
            print(file=alone.stdin, flush=True)
            engine_s, n_ids = json.loads(alone.stdout.readline())
            engine_cpu_s, before = used_by(computing) - before, used_by(serving)
            http_s, client_s, n_events = over_http(port)
            http_cpu_s = used_by(serving) - before
            if not number:
                continue  # the first pair fills the caches
            walls.append(http_s / engine_s)
            works.append(http_cpu_s / engine_cpu_s)
            shares.append(client_s / http_s)
            print(f"  engine {engine_s:5.2f} s, {engine_cpu_s:5.2f} s of processors", end="   ")
            print(f"HTTP {http_s:5.2f} s, {http_cpu_s:5.2f} s and the client's {client_s:4.2f} s", end="   ")
            print(f"ratios {walls[-1]:.3f}, {works[-1]:.3f}", flush=True)
    told = {"requests": N_REQUESTS, "tokens": n_ids, "events": n_events, "pairs": n_pairs}
    ratios = {"wall_ratio": median(walls), "cpu_ratio": median(works), "client_share": median(shares)}
    print(json.dumps(where | told | {name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    engine_process() if sys.argv[1:] == ["engine"] else main(int((sys.argv[1:] or ["7"])[0]))
