"""GET /openapi.json. It is made in a thread, so that others are served meanwhile, and kept as it is sent."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from harmonium.server.description import Description

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def description(request: Request) -> Response:
    """What there is, for machines. It needs no key."""
    found = request.app.state.description
    assert isinstance(found, Description), "the app has one"
    return Response(found.json(), media_type="application/json")
