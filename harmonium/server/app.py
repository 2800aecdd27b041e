"""The web application: one Serving, the routers of routes/, and what surrounds every request."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from harmonium import __version__
from harmonium.chat.async_llm import AsyncLLM
from harmonium.chat.llm import LLM
from harmonium.harmony.trial import Trial
from harmonium.server.auth import Keyring
from harmonium.server.calls import Calls
from harmonium.server.description import Description
from harmonium.server.errors import handle_errors
from harmonium.server.limits import Limits
from harmonium.server.metrics import Metrics
from harmonium.server.routes.table import ROUTERS
from harmonium.server.serving import Serving
from harmonium.server.settings import Settings
from harmonium.server.state import Kept, State
from harmonium.server.upstream import Upstreams


def create_app(settings: Settings, llm: LLM, kept: Kept | None = None) -> FastAPI:
    """An application that serves a model. From its start to its end the model's engine is its own.

    Ending it ends the engine; a server that ends gracefully has let all streams finish before that. kept: its store,
    where that is open already. Raises BadRequest and CannotWrite where it cannot be opened.
    """
    kept = kept or Kept.open(settings.store, settings.key_file)
    state = State(kept, llm.name, settings.store_days * 86400)
    metrics, keys = Metrics(), Keyring(settings.api_keys, settings.keys_file)
    metrics.watch(llm.engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if settings.queue_limit is not None:
            llm.engine.scheduler.queue_limit = settings.queue_limit
        llm.turns.prepare()
        upstreams = Upstreams(settings.upstreams, settings.timeout_s)
        with Trial() as trial:
            async with AsyncLLM(llm, metrics) as running, upstreams, state:
                app.state.serving = Serving(
                    settings=settings,
                    llm=running,
                    names=settings.served_names or (llm.name,),
                    metrics=metrics,
                    keys=keys,
                    limits=Limits(settings.requests_per_minute, settings.concurrent_requests),
                    upstreams=upstreams,
                    started=int(time.time()),
                    state=state,
                    trial=trial,
                )
                yield

    app = FastAPI(
        title="Harmonium", version=__version__, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.state.description = Description(app)
    handle_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(
        Calls,
        metrics=metrics,
        keys=keys,
        allowed_origins=settings.cors_origins,
        max_body_bytes=settings.max_body_bytes,
        body_within_s=settings.body_within_s,
    )
    if settings.cors_origins:  # around everything else, so that pages can read every error
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return app
