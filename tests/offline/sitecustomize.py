"""Shuts a Python process off from every network but loopback, name look-ups included.

Python imports a module of this name at start, so tests/conftest.py puts this folder on PYTHONPATH: the rule then holds
in the processes that tests start, too. An audit hook cannot be taken off again.
"""

import ipaddress
import sys
from typing import Any

LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class NetworkBlocked(OSError):
    """A test reached for a network."""


def is_loopback(host: Any) -> bool:
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if host is None or host in ("", "localhost", "0.0.0.0", "::"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_networks(event: str, args: tuple[Any, ...]) -> None:
    if event in SENDS:
        address = args[1]
        # A path is a Unix socket; no address is a socket that is connected already.
        if not isinstance(address, tuple) or is_loopback(address[0]):
            return
        raise NetworkBlocked(f"the suite runs offline; {event} to {address!r} was refused")
    if event in LOOK_UPS:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
        if not is_loopback(host):
            raise NetworkBlocked(f"the suite runs offline; the look-up of {host!r} was refused")


sys.addaudithook(refuse_networks)
