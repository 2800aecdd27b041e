"""All endpoints: a new one is a file in this folder, and a line here."""

from __future__ import annotations

from fastapi import APIRouter

from harmonium.server.routes import chat_completions, health, models

ROUTERS: tuple[APIRouter, ...] = (
    chat_completions.router,
    models.router,
    health.router,
)
