"""What outlives a request: stored responses and conversations, the seal, and responses that run in the background."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harmonium.errors import HarmoniumError, Unavailable
from harmonium.server.background import Background
from harmonium.server.recall import Recall
from harmonium.server.sealing import Seal, load_seal
from harmonium.server.store import Database, open_database
from harmonium.server.store_conversations import ConversationStore
from harmonium.server.store_responses import ResponseStore

EXPIRE_EVERY_S = 3600.0
CHECK_WITHIN_S = 5.0
CHECK_EVERY_S = 1.0
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """What lies on disks: opened before a model is loaded, which may be long."""

    database: Database
    seal: Seal

    @staticmethod
    def open(place: str | Path, key_file: Path) -> Kept:
        """place: a file or a URL, as open_database takes it. Raises what that and load_seal raise."""
        return Kept(open_database(place), load_seal(key_file))


class State:
    """model: whose ids are stored. Enter it for as long as requests may need it; its end closes what is kept."""

    def __init__(self, kept: Kept, model: str, ttl_s: float) -> None:
        database = kept.database
        self.seal, self.model = kept.seal, model
        self.responses = ResponseStore(database, ttl_s)
        self.conversations = ConversationStore(database)
        self.recall = Recall(self.responses, model)
        self.background = Background(self.responses)
        self._database = database
        self._tasks: set[asyncio.Task[Any]] = set()
        self._expiring: asyncio.Task[None] | None = None
        self._is_writable, self._checked_at = True, -math.inf

    async def __aenter__(self) -> State:
        self._expiring = asyncio.create_task(self._expire())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends what runs in the background, and waits for what is being written."""
        await self.background.close()
        if self._expiring is not None:
            self._expiring.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._database.close()

    def surely(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Does something whether or not the request that asks for it goes on, before the state is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def check(self) -> None:
        """Raises Unavailable where nothing can be stored, as it was found a second ago or is now."""
        if time.monotonic() - self._checked_at >= CHECK_EVERY_S:
            try:
                async with asyncio.timeout(CHECK_WITHIN_S):
                    await self._database.check()
                self._is_writable = True
            except (Unavailable, TimeoutError):
                self._is_writable = False
            self._checked_at = time.monotonic()
        if not self._is_writable:
            raise Unavailable("The server's store cannot be written now; its log says why.")

    async def _expire(self) -> None:
        while True:
            try:
                if n := await self.responses.expire():
                    log.info("%d responses have expired.", n)
            except HarmoniumError:
                log.exception("What has expired could not be deleted; it is tried again in an hour.")
            await asyncio.sleep(EXPIRE_EVERY_S)
