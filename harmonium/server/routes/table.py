"""All endpoints: a new one is a file in this folder, and two lines here. They are tried in this order."""

from __future__ import annotations

from fastapi import APIRouter

from harmonium.server.routes import (
    chat_completions,
    completions,
    conversations,
    description,
    health,
    models,
    page,
    responses,
    tokenize,
)

ROUTERS: tuple[APIRouter, ...] = (
    chat_completions.router,
    responses.router,
    completions.router,
    models.router,
    conversations.router,
    tokenize.router,
    health.router,
    description.router,
    page.router,
)
