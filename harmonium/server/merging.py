"""Several streams of events as one, in the order in which they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


async def merged(streams: Sequence[AsyncIterator[Item]]) -> AsyncIterator[tuple[int, Item | None]]:
    """Every item with its stream's number; None is a stream's end. The first error of any of them is raised.

    A stream is read no faster than the merged one, so a slow reader piles nothing up.
    """
    waiting = {asyncio.ensure_future(_next(stream)): number for number, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: waiting[task]):
                number, item = waiting.pop(task), task.result()
                yield number, item
                if item is not None:
                    waiting[asyncio.ensure_future(_next(streams[number]))] = number
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _next(stream: AsyncIterator[Item]) -> Item | None:
    return await anext(stream, None)
