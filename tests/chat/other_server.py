"""A server that is not ours: answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}]}


@dataclass
class Answer:
    """body: sent as it is. A body shorter than length breaks off."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def document(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(value).encode(), status, headers=headers)


def events(objects: Iterable[Any], is_done: bool = True) -> Answer:
    """A stream of them, which is broken off unless it is done."""
    body = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in objects)
    body += b"data: [DONE]\n\n" if is_done else b""
    return Answer(body, kind="text/event-stream", length=None if is_done else len(body) + 100)


@dataclass
class Asked:
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class OtherServer:
    url: str
    asked: list[Asked]

    @property
    def bodies(self) -> list[Any]:
        return [asked.body for asked in self.asked if asked.body is not None]


@contextmanager
def other_server(*posts: Answer, models: Answer | None = None) -> Iterator[OtherServer]:
    """posts: the answers to POST requests, in order."""
    waiting, asked = list(posts), list[Asked]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None, models or document(MODELS))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(body, waiting.pop(0))

        def _answer(self, body: Any, answer: Answer) -> None:
            asked.append(Asked(self.path, dict(self.headers), body))
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            for name, value in {"Content-Type": answer.kind, "Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield OtherServer(f"http://127.0.0.1:{server.server_port}/v1", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
