"""Real servers on 127.0.0.1 with nano, whose weights are loaded once for all of these tests."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

import harmonium
from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server.app import create_app
from harmonium.server.run import WebServer, listen
from harmonium.server.serving import Serving
from harmonium.server.settings import Settings
from harmonium.server.store import Database, open_database
from harmonium.server.store_tables import metadata
from tests.server.postgres import cluster


@dataclass(frozen=True)
class Running:
    """A server that runs. http: a client of its own, whose addresses begin behind `url`. stop: as SIGTERM does.

    connections: those that are open.
    """

    url: str
    llm: LLM
    app: Any
    http: httpx2.Client
    stop: Callable[[], None]
    connections: Callable[[], list[Any]]

    @property
    def serving(self) -> Serving:
        found: Serving = self.app.state.serving
        return found

    def openai(self, **settings: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", **{"api_key": "any", "max_retries": 0} | settings)

    def post(self, path: str, **body: Any) -> Any:
        """The JSON that comes back from /v1 and this path."""
        return self.http.post(f"/v1{path}", json=body).json()


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def weights(nano: Path) -> Loaded:
    loaded = harmonium.load("nano")
    LLM(loaded).chat("Hello", max_tokens=2)  # kernels are compiled before a client waits for it
    return loaded


@contextmanager
def running(settings: Settings, llm: LLM) -> Iterator[Running]:
    """A server in a thread, until the end of the block."""
    app = create_app(settings, llm)
    server = WebServer(app)
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
                assert http.get("/health").status_code == 200
                connections = server.server_state.connections
                stop = partial(server.handle_exit, signal.SIGTERM, None)
                yield Running(url, llm, app, http, stop, lambda: list(connections))
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def everywhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of every server, unless a test has others; with TEST_STORE=postgresql in the environment, its store."""
    return {"store": request.getfixturevalue("postgres")} if os.environ.get("TEST_STORE") == "postgresql" else {}


@pytest.fixture(scope="session")
def server(weights: Loaded, everywhere: dict[str, Any]) -> Iterator[Running]:
    """One server for all tests that change nothing about it."""
    with running(Settings(**everywhere), LLM(weights)) as one:
        yield one


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL of the tests' own; what a test leaves in it the next one finds."""
    with cluster() as url:
        yield url


@pytest.fixture
def start(weights: Loaded, everywhere: dict[str, Any]) -> Start:
    """start(name=value, ...): a server with these Settings, as a context manager; `llm` replaces nano."""

    def begin(llm: LLM | None = None, **settings: Any) -> Any:
        return running(Settings(**everywhere | settings), llm or LLM(weights))

    return begin


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Of a store: a file, and the URL of a PostgreSQL."""
    return tmp_path / "store.db" if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def database(place: Any) -> Iterator[Database]:
    """Empty tables there."""
    opened = open_database(place)
    yield opened
    asyncio.run(opened.run(metadata.drop_all))
    opened.close()
