"""Whom a server without keys answers: this machine's own programs and pages, and the web pages that are named.

Such a server trusts whoever reaches it, and a browser on this machine reaches it for any web page: by a name of the
page's own that leads here (DNS rebinding), or by sending what needs no permission. Both are told by two headers, which
browsers do not let a page choose.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from harmonium.errors import Forbidden
from harmonium.server.settings import is_loopback


def check_local(host: str | None, origin: str | None, allowed: Collection[str]) -> None:
    """Raises Forbidden for a request that was not sent to this machine's own address, or not by a page from there.

    host, origin: the headers, where there are any. allowed: further pages, as --cors-origin names them.
    """
    if host is not None and not _is_local(host):
        raise Forbidden(
            f"This server has no API key, so it answers to localhost alone, and was asked as {host!r}. Ask it as "
            "localhost, or give it a key: harmonium keys add NAME"
        )
    if origin is None or "*" in allowed or origin in allowed:
        return
    if host is None or _place(origin) != host.lower():
        raise Forbidden(
            f"Web pages of {origin} may not call this server; start it with --cors-origin {origin}, which lets them."
        )


def _place(origin: str) -> str | None:
    """Host and port as a Host header has them; None where the origin is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return is_loopback(name) or name.endswith(".localhost")
