"""The chat page at /: the files of web/, with headers that let it load and run nothing but these.

It needs no key: it holds no data, and what it asks of the API carries the user's own.
"""

from __future__ import annotations

import hashlib
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
}


# The parts are asked for by an address that names their contents, so that browsers keep them for good and an upgraded
# server is never met with half of an old page. The page itself is kept, and asked about every time.
FILES = {path.relative_to(WEB).as_posix(): path.read_bytes() for path in sorted(WEB.rglob("*")) if path.is_file()}
VERSION = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in FILES.values())).hexdigest()[:16]
PAGE = FILES["index.html"].replace(b'"web/', f'"web/{VERSION}/'.encode())
FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}
ASKED_ABOUT = {"Cache-Control": "no-cache", "ETag": f'"{VERSION}"'}


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself, or 304 where the browser has it."""
    headers = HEADERS | ASKED_ABOUT
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(PAGE, media_type=MEDIA_TYPES[".html"], headers=headers)


@router.api_route("/web/{version}/{path:path}", methods=["GET", "HEAD"])
async def part(version: str, path: str) -> Response:
    """One of its parts. A path is looked up, never opened."""
    if version != VERSION or path not in FILES:
        raise NotFound(f"The page has no file {path} of version {version}; load the page again.")
    return Response(FILES[path], media_type=MEDIA_TYPES[Path(path).suffix], headers=HEADERS | FOR_GOOD)
