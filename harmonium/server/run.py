"""Runs an app on a socket until it is told to stop, then lets the streams finish; told again, it ends them."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from harmonium.chat.llm import LLM
from harmonium.engine.warmup import warm_up
from harmonium.errors import BadRequest, PromptTooLong, Unavailable
from harmonium.server.app import create_app
from harmonium.server.calls import STOPPED
from harmonium.server.connection import Connection
from harmonium.server.serving import Serving
from harmonium.server.settings import Settings, is_loopback
from harmonium.server.state import Kept

GRACE_S = 60
"""How long streams and responses in the background may take to finish after the first Ctrl-C or SIGTERM."""


class WebServer(uvicorn.Server):
    """The first Ctrl-C or SIGTERM lets what runs finish, the second ends it, the third does not wait for that.

    told_within_s: how long clients whose requests are ended may take to read that.
    """

    told_within_s = 2.0

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                access_log=False,
                timeout_keep_alive=75,
                server_header=False,
            )
        )
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ending = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif self._is_ending or self._loop is None:
            self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Ends every request that still runs; its client is told, if it reads that in time."""
        assert self._loop is not None, "it has started"
        self._is_ending = True
        if (serving := self._serving) is not None:
            serving.state.background.stop()
        for task in list(self.server_state.tasks):
            task.cancel(STOPPED)
        self._loop.call_later(self.told_within_s, self._hang_up)

    def _hang_up(self) -> None:
        """Loses the connections that are left: their clients do not read."""
        for connection in list(self.server_state.connections):
            if (transport := connection.transport) is not None:
                transport.abort()

    @property
    def _serving(self) -> Serving | None:
        """None before the application has started."""
        serving: Serving | None = getattr(self._app.state, "serving", None)
        return serving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.get_running_loop().call_later(GRACE_S, self.end)
        await super().shutdown(sockets)
        ending.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can reach; taken before a model is loaded, which may be long. Raises BadRequest, and
    Unavailable where another program has the port, which it may give back.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"Another program listens on {host}, port {port}, perhaps a server that lets its streams finish; wait "
                "for its end, or choose another --port."
            ) from None
        raise BadRequest(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}; choose another with --host and --port."
        ) from None


def serve(settings: Settings, llm: LLM, listening: socket.socket, kept: Kept, *, is_quiet: bool = False) -> None:
    """Until SIGINT or SIGTERM. is_quiet: only errors are logged."""
    if llm.engine.arena.device.type == "cuda":
        warm_up(llm.engine)
    try:
        llm.chat("Hello", max_tokens=2)  # what is compiled at first use is compiled before anybody waits for it
    except PromptTooLong:
        raise BadRequest(
            f"--context is {llm.context}, which has no room for the shortest conversation; give a few hundred at least."
        ) from None
    _log_to_stderr(logging.ERROR if is_quiet else logging.INFO)
    host, port = listening.getsockname()[:2]
    shown = "localhost" if is_loopback(host) else f"[{host}]" if ":" in host else host
    server = WebServer(create_app(settings, llm, kept))
    where = f"http://{shown}:{port} (a chat page; the API is at /v1)"
    print(f"Serving {llm.name} at {where}", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()  # a million objects of libraries and model, which live as long as the server: no need to look again
    server.run(sockets=[listening])


def _log_to_stderr(level: int) -> None:
    """Requests as JSON, one a line; of the web server itself what is wrong, alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests = logging.getLogger("harmonium.requests")
    requests.addHandler(handler)
    requests.setLevel(level)
    requests.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
