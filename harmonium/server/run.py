"""Runs an app on a socket until it is told to stop, then lets the streams finish."""

from __future__ import annotations

import gc
import logging
import socket
import sys

import uvicorn

from harmonium.chat.llm import LLM
from harmonium.engine.warmup import warm_up
from harmonium.errors import BadRequest, PromptTooLong
from harmonium.server.app import create_app
from harmonium.server.settings import Settings, is_loopback

GRACE_S = 60
"""How long streams may take to finish after the first Ctrl-C or SIGTERM; a second Ctrl-C ends them at once."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can reach; taken before a model is loaded, which may be long. Raises BadRequest."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise BadRequest(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}; choose another with --host and --port."
        ) from None


def serve(settings: Settings, llm: LLM, listening: socket.socket, *, is_quiet: bool = False) -> None:
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
    config = uvicorn.Config(
        create_app(settings, llm),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        server_header=False,
    )
    where = f"http://{shown}:{port} (a chat page; the API is at /v1)"
    print(f"Serving {llm.name} at {where}", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()  # a million objects of libraries and model, which live as long as the server: no need to look again
    uvicorn.Server(config).run(sockets=[listening])


def _log_to_stderr(level: int) -> None:
    """Requests as JSON, one a line; of the web server itself what is wrong, alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests = logging.getLogger("harmonium.requests")
    requests.addHandler(handler)
    requests.setLevel(level)
    requests.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
