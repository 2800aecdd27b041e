"""Is the server there, can it answer, and how does it fare: /health, /ready, /metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from harmonium import __version__
from harmonium.errors import Busy
from harmonium.server.guarded import Guarded
from harmonium.server.serving import Known, Server

router = APIRouter(tags=["health"], route_class=Guarded)


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> dict[str, Any]:
    """The process is there."""
    return {"status": "ok", "version": __version__}


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
async def ready(server: Server) -> dict[str, Any]:
    """A request would be taken now. Raises RequestFailed where the engine has stopped, Unavailable where nothing can be
    stored, Busy where the queue is full.
    """
    server.llm.engine.check_running()
    await server.state.check()
    if server.llm.engine.engine.scheduler.is_full:
        raise Busy("The queue is full; come again in a second.")
    return {"status": "ready", "model": server.name}


@router.get("/metrics", response_class=Response)
async def metrics(server: Server, _: Known) -> Response:
    """For Prometheus."""
    return Response(server.metrics.page(), media_type=CONTENT_TYPE_LATEST)
