"""Long runs, each on a server process of its own: two hundred clients at once; memory over ten thousand requests."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.deep
TOKEN = re.compile(rb'content":"[^"]')
N_CLIENTS, MOST_SILENCE_S = 200, 5.0
N_REQUESTS, AFTER, MOST_GROWTH = 10_000, 1_000, 30 * 10**6


@contextmanager
def serving(*options: str) -> Iterator[tuple[int, psutil.Process]]:
    """A process's port and itself."""
    command = [sys.executable, "-m", "harmonium", "serve", "--port", "0", "--quiet", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r" at http://\S+:(\d+)", line)))
        try:
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            assert process.stderr.read() == ""
            process.wait()


def request(path: str, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


async def read(port: int, asked: bytes) -> tuple[float, bytes]:
    """The longest silence between two pieces with a token, once the request is sent; and all that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    pieces, silence, last = [], 0.0, time.monotonic()
    while piece := await reader.read(1 << 16):
        pieces.append(piece)
        if TOKEN.search(piece):
            silence, last = max(silence, time.monotonic() - last), time.monotonic()
    writer.close()
    return max(silence, time.monotonic() - last), b"".join(pieces)


def test_two_hundred_clients_at_once(nano: Path) -> None:
    """Every one is answered, and none waits long for its first token or its next, as the server is without options."""
    ask = [
        request(
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": f"What is {n} + {3 * n}?"}],
                "reasoning_effort": "high",
                "stream": True,
            },
        )
        for n in range(N_CLIENTS)
    ]

    async def all_of_them(port: int) -> list[tuple[float, bytes]]:
        return await asyncio.gather(*(read(port, asked) for asked in ask))

    with serving() as (port, _):
        told = asyncio.run(all_of_them(port))
    assert all(answer.startswith(b"HTTP/1.1 200") and b"data: [DONE]" in answer for _, answer in told)
    assert max(silence for silence, _ in told) < MOST_SILENCE_S


def test_memory_stays_where_it_is(nano: Path) -> None:
    """From the thousandth request to the ten thousandth, of every kind.

    The first thousand are longer, so that they fill the cache of finished prompts, which is as large as it is then.
    """
    asked = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "What is {n} + 2?"}], "max_tokens": 3}),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Word {n}"}], "max_tokens": 3, "stream": True},
        ),
        ("/v1/completions", {"prompt": "Number {n} is", "max_tokens": 3}),
        ("/v1/responses", {"input": "What is {n} + 2?", "max_output_tokens": 16, "store": False}),
        ("/v1/chat/completions", {"messages": [], "n": "{n}"}),
    ]

    async def send(port: int, first: int, last: int) -> None:
        numbers = iter(range(first, last))

        async def client() -> None:
            for n in numbers:
                path, body = asked[n % len(asked)]
                words = " ".join([str(n)] * (16 if n < AFTER else 1))
                text = json.loads(json.dumps(body).replace("{n}", words))
                _, answer = await read(port, request(path, text))
                assert answer.split(b" ", 2)[1] in (b"200", b"400"), answer

        await asyncio.gather(*(client() for _ in range(32)))

    with serving() as (port, process):
        asyncio.run(send(port, 0, AFTER))
        before = process.memory_info().rss
        asyncio.run(send(port, AFTER, N_REQUESTS))
        growth = process.memory_info().rss - before
    assert growth < MOST_GROWTH, f"{growth / 1e6:.1f} MB more"
