"""All endpoints: a new one is a file in this folder, and two lines here."""

from __future__ import annotations

from fastapi import APIRouter

from harmonium.server.routes import (
    chat_completions,
    completions,
    conversations,
    health,
    models,
    page,
    responses,
    tokenize,
)

ROUTERS: tuple[APIRouter, ...] = (
    page.router,
    responses.router,
    conversations.router,
    chat_completions.router,
    completions.router,
    models.router,
    tokenize.router,
    health.router,
)
