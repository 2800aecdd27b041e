"""Conversations in the store: items in the order in which they were added, for as long as nobody deletes them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from harmonium.errors import NotFound
from harmonium.server.store import Database, is_id
from harmonium.server.store_responses import Item, add_items, lock_conversation
from harmonium.server.store_tables import conversations, items


@dataclass(frozen=True)
class Page:
    """A part of a list: item bodies, and whether more come behind them."""

    items: tuple[Mapping[str, Any], ...]
    has_more: bool


class ConversationStore:
    """owner, everywhere: whose they are; what belongs to another is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, metadata: Mapping[str, str], added: Sequence[Item]) -> dict[str, Any]:
        """The new conversation object."""
        id_ = f"conv_{secrets.token_hex(24)}"
        row = {"id": id_, "owner": owner, "created_at": time.time(), "metadata": dict(metadata)}

        def insert_it(connection: Connection) -> None:
            connection.execute(insert(conversations).values(row))
            add_items(connection, owner, added, conversation_id=id_)

        await self._database.run(insert_it)
        return _told(row)

    async def get(self, owner: str, conversation_id: str) -> dict[str, Any] | None:
        if not is_id(conversation_id):
            return None
        return await self._database.run(lambda connection: _get(connection, owner, conversation_id))

    async def update(self, owner: str, conversation_id: str, metadata: Mapping[str, str]) -> dict[str, Any] | None:
        """The conversation with new metadata; None where it is not there."""
        if not is_id(conversation_id):
            return None

        def update_it(connection: Connection) -> dict[str, Any] | None:
            own = _own(owner, conversation_id)
            connection.execute(update(conversations).where(own).values(metadata=dict(metadata)))
            return _get(connection, owner, conversation_id)

        return await self._database.run(update_it)

    async def delete(self, owner: str, conversation_id: str) -> bool:
        """Whether it was there. Its items stay where a response has them, too."""
        if not is_id(conversation_id):
            return False

        def delete_it(connection: Connection) -> bool:
            if connection.execute(delete(conversations).where(_own(owner, conversation_id))).rowcount == 0:
                return False
            theirs = items.c.conversation_id == conversation_id
            connection.execute(delete(items).where(theirs, items.c.response_id.is_(None)))
            connection.execute(update(items).where(theirs).values(conversation_id=None))
            return True

        return await self._database.run(delete_it)

    async def add(self, owner: str, conversation_id: str, added: Sequence[Item]) -> bool:
        """Whether the conversation was there to add items to."""

        def add_it(connection: Connection) -> bool:
            if not lock_conversation(connection, owner, conversation_id):
                return False
            add_items(connection, owner, added, conversation_id=conversation_id)
            return True

        return await self._database.run(add_it)

    async def items(self, owner: str, conversation_id: str) -> list[Item] | None:
        """All of them, in order; None where there is no such conversation."""
        if not is_id(conversation_id):
            return None

        def read(connection: Connection) -> list[Item] | None:
            if _get(connection, owner, conversation_id) is None:
                return None
            wanted = select(items.c.body, items.c.said).where(items.c.conversation_id == conversation_id)
            return [Item(row.body, row.said) for row in connection.execute(wanted.order_by(items.c.number))]

        return await self._database.run(read)

    async def item(self, owner: str, conversation_id: str, item_id: str) -> Mapping[str, Any] | None:
        if not (is_id(conversation_id) and is_id(item_id)):
            return None
        wanted = select(items.c.body).where(_item(owner, conversation_id, item_id)).limit(1)
        return await self._database.run(lambda connection: connection.execute(wanted).scalar_one_or_none())

    async def delete_item(self, owner: str, conversation_id: str, item_id: str) -> bool:
        """Whether it was there."""
        if not (is_id(conversation_id) and is_id(item_id)):
            return False

        def delete_it(connection: Connection) -> bool:
            own = _item(owner, conversation_id, item_id)
            n_found = connection.execute(select(func.count()).select_from(items).where(own)).scalar_one()
            connection.execute(delete(items).where(own, items.c.response_id.is_(None)))
            connection.execute(update(items).where(own).values(conversation_id=None))
            return n_found > 0

        return await self._database.run(delete_it)


def page(listed: Sequence[Mapping[str, Any]], after: str | None, limit: int, is_ascending: bool) -> Page:
    """A part of a list of item bodies that stand in order: those behind the item `after`, or the first.

    Raises NotFound where there is no such item.
    """
    ordered = list(listed) if is_ascending else list(reversed(listed))
    starts = [number for number, body in enumerate(ordered, 1) if body["id"] == after]
    if after and not starts:
        raise NotFound(f"The list has no item {after!r} to go on after; leave out after to begin.", param="after")
    start = starts[0] if starts else 0
    return Page(tuple(ordered[start : start + limit]), len(ordered) > start + limit)


def _own(owner: str, conversation_id: str) -> Any:
    return (conversations.c.id == conversation_id) & (conversations.c.owner == owner)


def _item(owner: str, conversation_id: str, item_id: str) -> Any:
    is_there = (items.c.conversation_id == conversation_id) & (items.c.id == item_id)
    return is_there & (items.c.owner == owner)


def _get(connection: Connection, owner: str, conversation_id: str) -> dict[str, Any] | None:
    row = connection.execute(select(conversations).where(_own(owner, conversation_id))).one_or_none()
    return None if row is None else _told(row._asdict())


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """The conversation object."""
    told = {"id": row["id"], "object": "conversation", "created_at": int(row["created_at"])}
    return {**told, "metadata": row["metadata"]}
