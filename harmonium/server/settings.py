"""What an operator decides about a server, and which of it cannot be."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harmonium.errors import BadRequest

PORT = 8000
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
"""As browsers send it, of their extensions, too."""
POSITIVE = {
    "max_body_bytes": "--max-body-mb",
    "requests_per_minute": "--requests-per-minute",
    "concurrent_requests": "--concurrent-requests",
    "queue_limit": "--queue",
    "timeout_s": "--timeout",
    "store_days": "--store-days",
    "max_tokens": "--max-tokens",
}
"""Settings that are above 0 and have an end, by what an operator calls them."""


def state_folder() -> Path:
    """Where this user's Harmonium keeps what outlives a process."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "harmonium"


def keys_file() -> Path:
    """Where `harmonium keys` keeps them."""
    return state_folder() / "keys.json"


@dataclass(frozen=True)
class Settings:
    """served_names: what requests may call the model, the first being what answers call it; none for its own name.

    api_keys: by name. keys_file: further ones, as `harmonium keys` writes it. cors_origins: web pages that may call.
    max_body_bytes and body_within_s: the most that a request may send, and the longest that it may take to. Of each key
    requests_per_minute and concurrent_requests, None for no limit. queue_limit: requests
    that may wait, None for the engine's own. timeout_s: the longest a request may take. upstreams: other servers' URLs
    by name. reasoning_format: "split" sends reasoning as a field of its own, "none" leaves it out. reasoning_budget
    and max_tokens: where a request names none. logs_prompts: the log tells what was asked and answered. store: a file
    for SQLite, or the URL of a PostgreSQL; store_days: how long responses are kept. key_file: the key that seals what
    clients keep.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    served_names: tuple[str, ...] = ()
    api_keys: Mapping[str, str] = field(default_factory=dict)
    keys_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 32 << 20
    body_within_s: float = 60.0
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    queue_limit: int | None = None
    timeout_s: float | None = None
    upstreams: Mapping[str, str] = field(default_factory=dict)
    reasoning_format: Literal["split", "none"] = "split"
    reasoning_budget: int | None = None
    max_tokens: int | None = None
    logs_prompts: bool = False
    store: str | Path = field(default_factory=lambda: state_folder() / "store.db")
    store_days: float = 30.0
    key_file: Path = field(default_factory=lambda: state_folder() / "seal.key")

    def __post_init__(self) -> None:
        for name, option in POSITIVE.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise BadRequest(f"{option} is {value:g}; give a positive number, or leave it out.")
        if not 0 <= self.port <= 65535:
            raise BadRequest(f"--port is {self.port}; give one from 1 to 65535, or 0 for any that is free.")
        if self.reasoning_budget is not None and self.reasoning_budget < 0:
            raise BadRequest(f"--reasoning-budget is {self.reasoning_budget}; give 0 or more tokens.")
        for origin in self.cors_origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise BadRequest(
                    f"--cors-origin {origin} is no origin; give scheme and host alone, as in https://example.com, or *."
                )
        if not all(self.served_names):
            raise BadRequest("--served-model-name is empty; give a name, or leave it out.")
        if not is_loopback(self.host) and not self.asks_for_keys:
            raise BadRequest(
                f"{self.host} can be reached from other machines, and this server has no API key. Make one "
                "with: harmonium keys add NAME, or name a variable that holds one with --api-key-env."
            )

    @property
    def asks_for_keys(self) -> bool:
        """Requests need an API key; a keys file asks for them, even when all of its keys are revoked."""
        return bool(self.api_keys) or (self.keys_file is not None and self.keys_file.exists())


def is_loopback(host: str) -> bool:
    """Only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
