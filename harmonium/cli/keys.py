"""`harmonium keys`: the API keys that `harmonium serve` takes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

from harmonium.cli.options import Json
from harmonium.errors import BadRequest

if TYPE_CHECKING:
    from harmonium.server.auth import Key


def keys(action: Literal["list", "add", "revoke"] = "list", name: str | None = None, /, *, json: Json = False) -> None:
    """List, make or revoke the API keys of this machine's servers.

    For example:

        harmonium keys add team
        harmonium keys revoke team

    A new key is printed once; only its hash is kept. Servers that run see what changed at their next request: one
    that had no key yet asks for one from then on.

    Parameters
    ----------
    action
        list, add or revoke.
    name
        Whom the key is for.
    json
        Print one JSON object.
    """
    from harmonium.cli.terminal import print_json
    from harmonium.server import auth
    from harmonium.server.settings import keys_file

    path = keys_file()
    if action == "list":
        if name is not None:
            raise BadRequest("`harmonium keys list` lists all keys; leave out the name.")
        found = auth.read(path)
        if json:
            print_json({"keys": [{"name": k.name, "created": k.created, "revoked": k.revoked} for k in found]})
        else:
            print("\n".join(map(_line, found)) or "There are no keys; make one with: harmonium keys add NAME")
        return
    if name is None:
        raise BadRequest(f"`harmonium keys {action}` needs a name, as in: harmonium keys {action} team")
    if action == "add":
        is_first = not path.exists()
        made = auth.add(path, name)
        if is_first:
            print("Servers of this machine that need no key yet ask for one from now on.", file=sys.stderr)
        print_json({"name": name, "key": made}) if json else print(made)
    else:
        auth.revoke(path, name)
        print_json({"name": name, "revoked": True}) if json else print(f"{name} is revoked.")
        if all(key.revoked is not None for key in auth.read(path)):
            print(
                f"No key is left, and servers that run still ask for one. To serve without keys, remove {path}.",
                file=sys.stderr,
            )


def _line(key: Key) -> str:
    ended = "" if key.revoked is None else f", revoked {_day(key.revoked)}"
    return f"{key.name:<24} made {_day(key.created)}{ended}"


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
