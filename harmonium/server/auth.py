"""API keys: who may ask. Files hold names and hashes, never a key; a key that is revoked stops at the next request.

A key is 256 random bits, so a plain SHA-256 of it tells nobody anything; it needs no salt and no slow hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harmonium.errors import BadRequest, Unauthorized

PREFIX = "sk-harmonium-"
NO_FILE = (0, 0)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """sha256: of the key, in hexadecimal; created, revoked: seconds since 1970."""

    name: str
    sha256: str
    created: int
    revoked: int | None = None


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read(path: Path) -> list[Key]:
    """The keys of a file; none where there is no file. Raises BadRequest where it is damaged."""
    try:
        return [Key(**key) for key in json.loads(path.read_text(encoding="utf-8"))["keys"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadRequest(f"{path} is no file of API keys ({error!r}); mend it, or delete it.") from None


def write(path: Path, keys: list[Key]) -> None:
    """Replaces the file at once; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
    os.replace(beside, path)


def add(path: Path, name: str) -> str:
    """Makes a key and returns it: this is the only time that it can be read."""
    keys = read(path)
    if not name.strip():
        raise BadRequest("A key needs a name: that of the person, program or team that it is for.")
    if any(key.name == name and key.revoked is None for key in keys):
        raise BadRequest(f"There is a key named {name!r} already; revoke it first, or choose another name.")
    made = f"{PREFIX}{secrets.token_urlsafe(32)}"
    write(path, [*keys, Key(name, digest(made), int(time.time()))])
    return made


def revoke(path: Path, name: str) -> None:
    """Takes a key's rights away. Raises BadRequest where no valid key has that name."""
    keys = read(path)
    valid = [key.name for key in keys if key.revoked is None]
    if name not in valid:
        raise BadRequest(f"There is no valid key named {name!r}; there are: {', '.join(valid) or 'none'}.")
    now = int(time.time())
    write(path, [Key(k.name, k.sha256, k.created, now) if k.name == name and not k.revoked else k for k in keys])


def check_any_valid(path: Path) -> None:
    """Raises BadRequest for a file of which every key is revoked: it asks for keys, and nobody has one."""
    if path.exists() and all(key.revoked is not None for key in read(path)):
        raise BadRequest(
            f"Every key of {path} is revoked, so nobody could ask a server; make one with: harmonium keys add NAME, or "
            "remove the file to serve without keys."
        )


class Keyring:
    """The keys that are valid now: those given at the start, and those of a file, read again when it changes.

    From the first key that a file gets, keys are asked for, and from then on always: removing the file opens nothing.
    """

    def __init__(self, given: Mapping[str, str], path: Path | None = None) -> None:
        self._given = {digest(key): name for name, key in given.items()}
        self._path, self._stamp = path, NO_FILE
        self._names: dict[str, str] = {}
        self._are_asked_for = bool(given) or self._has_file

    @property
    def are_asked_for(self) -> bool:
        self._are_asked_for = self._are_asked_for or self._has_file
        return self._are_asked_for

    @property
    def _has_file(self) -> bool:
        return self._path is not None and self._path.exists()

    def name_of(self, authorization: str | None) -> str:
        """Whose key it is; "anonymous" where none are asked for. Raises Unauthorized.

        authorization: the header, "Bearer KEY".
        """
        if not self.are_asked_for:
            return "anonymous"
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("This server needs an API key; send it as the header Authorization: Bearer KEY.")
        self._refresh()
        name = self._names.get(digest(key.strip())) or self._given.get(digest(key.strip()))
        if name is None:
            raise Unauthorized("This API key is not valid here; ask who runs this server for one.")
        return name

    def _refresh(self) -> None:
        """Reads the file again if it has changed; while it is damaged, none of its keys is valid."""
        if self._path is None:
            return
        try:
            stat = self._path.stat()
            stamp = stat.st_mtime_ns, stat.st_ino
        except FileNotFoundError:
            stamp = NO_FILE
        if stamp == self._stamp:
            return
        self._stamp, self._names = stamp, {}
        try:
            self._names = {key.sha256: key.name for key in read(self._path) if key.revoked is None}
        except BadRequest as error:
            log.error("No key of the file is valid: %s", error)
