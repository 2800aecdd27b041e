"""Many requests through the application itself, without a socket: each gets what it would get over HTTP."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from fastapi import FastAPI

from harmonium.chat.llm import LLM
from harmonium.server.app import create_app
from harmonium.server.plain_json import dump
from harmonium.server.settings import Settings


async def answered(
    llm: LLM, requests: Sequence[Mapping[str, Any]], concurrency: int
) -> AsyncGenerator[dict[str, Any], None]:
    """OpenAI's batch lines, each with custom_id, url and body, to its answer lines, as they come.

    What they store is gone with the batch.
    """
    with TemporaryDirectory() as folder:  # a batch's answers are in its file, and a server's store is not theirs
        settings = Settings(queue_limit=max(1024, concurrency), store=Path(folder) / "store.db")
        async with aclosing(_answered(create_app(settings, llm), requests, concurrency)) as answers:
            async for answer in answers:
                yield answer


async def _answered(
    app: FastAPI, requests: Sequence[Mapping[str, Any]], concurrency: int
) -> AsyncGenerator[dict[str, Any], None]:
    todo = iter(requests)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client,
    ):
        running: set[asyncio.Task[dict[str, Any]]] = set()
        try:
            while True:
                for request in islice(todo, concurrency - len(running)):
                    running.add(asyncio.create_task(_answer(client, request)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _answer(client: httpx2.AsyncClient, request: Mapping[str, Any]) -> dict[str, Any]:
    response = await client.post(request["url"], content=dump(request["body"]))
    told = {
        "status_code": response.status_code,
        "request_id": response.headers.get("x-request-id"),
        "body": response.json(),
    }
    return {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": request["custom_id"],
        "response": told,
        "error": None,
    }
