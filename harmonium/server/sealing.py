"""What clients keep for the server and cannot read: JSON values, sealed with a key that only servers have.

Fernet (AES-128 in CBC mode, authenticated with HMAC-SHA256) over compressed JSON. The key is a file, made when it is
first asked for; whoever has the file, a restart or another replica, opens what was sealed with it.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from harmonium.errors import BadRequest, CannotWrite

MOST_BYTES = 64 * 2**20
"""Of opened JSON: more than any context holds."""


class Seal:
    """Seals with one key. Raises BadRequest for a key that is none."""

    def __init__(self, key: bytes) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError:
            raise BadRequest("The key is not 32 bytes in URL-safe base64; remove its file to have one made.") from None

    def close(self, value: Any) -> str:
        """A JSON value as opaque text."""
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return self._fernet.encrypt(zlib.compress(written)).decode()

    def open(self, text: str) -> Any:
        """The value, or None where the text was not sealed with this key."""
        try:
            packed = self._fernet.decrypt(text.encode("ascii"))
        except (InvalidToken, UnicodeEncodeError):
            return None
        written = zlib.decompressobj().decompress(packed, MOST_BYTES)
        return json.loads(written.decode("utf-8", "surrogatepass"))


def load_seal(path: Path) -> Seal:
    """The seal whose key is in a file, which is made, readable by its owner alone, if it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return Seal(path.read_bytes().strip())
    except OSError as error:
        raise CannotWrite(f"The key file {path} cannot be read or made: {error.strerror}.") from error


def _make(path: Path) -> None:
    """Writes a new key, unless another process was faster: a whole one, or none."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
