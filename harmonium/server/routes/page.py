"""The chat page at /: the files of web/, with headers that let it load and run nothing but these.

It needs no key: it holds no data, and what it asks of the API carries the user's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from harmonium.errors import NotFound

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).resolve().parent.parent / "web"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text can become markup or code: the browser refuses innerHTML and its kin altogether.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Kept, and asked about every time: an upgraded server is never met with half of an old page.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str
    tag: str


def read_files() -> dict[str, File]:
    """All files of the page by their path in web/. Only these are served: a path is looked up, never opened."""
    found = {}
    for path in sorted(WEB.rglob("*")):
        if path.suffix in MEDIA_TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(WEB).as_posix()] = File(content, MEDIA_TYPES[path.suffix], tag)
    return found


FILES = read_files()


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself."""
    return answer(request, FILES["index.html"])


@router.api_route("/web/{path:path}", methods=["GET", "HEAD"])
async def part(path: str, request: Request) -> Response:
    """One of its parts."""
    if path not in FILES:
        raise NotFound(f"The page has no file {path}.")
    return answer(request, FILES[path])


def answer(request: Request, file: File) -> Response:
    """The file, or 304 where the browser has it."""
    headers = HEADERS | {"ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
