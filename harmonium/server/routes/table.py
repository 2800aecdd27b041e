"""All endpoints: a new one is a file in this folder, and a line here."""

from __future__ import annotations

from fastapi import APIRouter

from harmonium.server.routes import chat_completions, conversations, health, models, page, responses

ROUTERS: tuple[APIRouter, ...] = (
    responses.router,
    conversations.router,
    chat_completions.router,
    models.router,
    health.router,
    page.router,
)
