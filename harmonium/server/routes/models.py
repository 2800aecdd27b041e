"""Which models are served: /v1/models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from openai.types import Model

from harmonium.server.guarded import Guarded
from harmonium.server.serving import Known, Server, Serving

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=Guarded)


@router.get("/", include_in_schema=False)
@router.get("")
async def list_models(server: Server, _: Known) -> dict[str, Any]:
    """Every name that the model here goes by. What upstreams have they tell themselves, and it costs a request."""
    return {"object": "list", "data": [_model(server, name) for name in server.names]}


@router.get("/{name:path}", response_model=None)
async def retrieve_model(name: str, request: Request, server: Server, _: Known) -> Response:
    """One of them, or what an upstream tells of MODEL:NAME. A name that is not served is a 404 that says what is."""
    if (upstream := server.upstream(name)) is not None:
        return await upstream.describe(request)
    return JSONResponse(_model(server, name))


def _model(server: Serving, name: str) -> dict[str, Any]:
    made = Model(id=name, created=server.started, object="model", owned_by="harmonium")
    return made.model_dump(exclude_unset=True) | {"context_length": server.llm.llm.context}
