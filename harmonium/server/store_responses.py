"""Responses in the store: kept whole, continued by chains of previous ones, found again by items' and calls' ids."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Row, delete, exists, insert, literal, select, update

from harmonium.server.exact_messages import Said
from harmonium.server.store import Database, is_id
from harmonium.server.store_tables import conversations, items, responses

DEFAULT_TTL_S = 30 * 86400.0
STALE_S = 60.0
"""A response in progress of which nothing was heard for so long is nobody's any more."""
RENEWED_BY_S = 3600.0
"""How much longer than it has to a response is kept when its time is renewed, so that not every turn of a long
conversation writes all the earlier ones.
"""
N_EXPIRED_AT_ONCE = 500
N_ASKED_AT_ONCE = 5000
"""Ids in one statement; databases take some tens of thousands of values."""
RUNNING = ("queued", "in_progress")


@dataclass(frozen=True)
class Item:
    """One item, in OpenAI's form. said: the messages behind it (exact_messages.py), None where the item says it all."""

    body: Mapping[str, Any]
    said: Said | None = None


@dataclass(frozen=True)
class StoredResponse:
    """body: the response object; input: the items it was given, without those of what it continues."""

    body: Mapping[str, Any]
    input: tuple[Item, ...] = ()
    output: tuple[Item, ...] = ()
    conversation_id: str | None = None


@dataclass(frozen=True)
class Known:
    """What the store knows of items that a client sent back.

    by_id: items by their ids. by_call: by a call's id, the output of its response up to the call, which is the last.
    """

    by_id: Mapping[str, Item] = field(default_factory=dict)
    by_call: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """A response and those it continues: their items in order. missing: the id of one that is not there any more.

    is_running: the response has not ended yet.
    """

    items: tuple[Item, ...] = ()
    missing: str | None = None
    is_running: bool = False


class ResponseStore:
    """owner, everywhere: whose they are; what belongs to another is not there."""

    def __init__(self, database: Database, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._database, self._ttl_s = database, ttl_s

    async def add(self, owner: str, response: StoredResponse) -> None:
        """A response that is not there yet. What it continues is kept for as long as it is."""
        await self._database.run(lambda connection: self._add(connection, owner, response))

    async def finish(self, owner: str, response: StoredResponse) -> bool:
        """The end of a response that was running; false where it was cancelled or deleted meanwhile, and stays so."""
        return await self._database.run(lambda connection: self._finish(connection, owner, response))

    async def get(self, owner: str, response_id: str) -> Mapping[str, Any] | None:
        """The response object. One whose process has died is failed."""
        if not is_id(response_id):
            return None
        row = await self._database.run(lambda connection: self._row(connection, owner, response_id))
        return None if row is None else _told(row)

    async def cancel(self, owner: str, response_id: str) -> bool:
        """Marks a running response as cancelled; the process that computes it hears of it with its next beat."""
        return await self._database.run(lambda connection: _cancel(connection, owner, response_id))

    async def beat(self, owner: str, response_id: str) -> bool:
        """Says that a response is still computed; false where it was deleted or cancelled meanwhile."""
        statement = update(responses).where(_running(owner, response_id)).values(beat_at=time.time())
        return await self._database.run(lambda connection: connection.execute(statement).rowcount) == 1

    async def input_items(self, owner: str, response_id: str) -> list[Mapping[str, Any]] | None:
        """In order; None where there is no such response."""
        if not is_id(response_id):
            return None
        return await self._database.run(lambda connection: self._input(connection, owner, response_id))

    async def delete(self, owner: str, response_id: str) -> bool:
        """Whether it was there. Its items stay in a conversation that has them."""
        if not is_id(response_id):
            return False
        return await self._database.run(lambda connection: self._delete(connection, owner, response_id))

    async def chain(self, owner: str, response_id: str) -> Chain:
        """What a response that continues this one reads first."""
        if not is_id(response_id):
            return Chain(missing=response_id)
        return await self._database.run(lambda connection: self._chain(connection, owner, response_id))

    async def known(self, owner: str, ids: Collection[str], call_ids: Collection[str]) -> Known:
        """What is stored of these."""
        ids, call_ids = set(filter(is_id, ids)), set(filter(is_id, call_ids))
        if not (ids or call_ids):
            return Known()
        return await self._database.run(lambda connection: _known(connection, owner, ids, call_ids))

    async def expire(self) -> int:
        """Deletes what has expired, and items that nothing has any more, some at a time; returns how many responses."""
        n_expired = 0
        while n := await self._database.run(_expire):
            n_expired += n
        while await self._database.run(_sweep):
            pass
        return n_expired

    def _row(self, connection: Connection, owner: str, response_id: str) -> Row[Any] | None:
        is_there = (responses.c.id == response_id) & (responses.c.owner == owner)
        return connection.execute(select(responses).where(is_there, responses.c.expires_at > time.time())).one_or_none()

    def _add(self, connection: Connection, owner: str, response: StoredResponse) -> None:
        body, now = response.body, time.time()
        connection.execute(
            insert(responses).values(
                id=body["id"],
                owner=owner,
                previous_id=body["previous_response_id"],
                status=body["status"],
                created_at=body["created_at"],
                beat_at=now,
                expires_at=now + self._ttl_s,
                body=dict(body),
            )
        )
        _add_both(connection, owner, response)
        if body["previous_response_id"] is not None:
            _keep_until(connection, _links(owner, body["previous_response_id"]), now + self._ttl_s)

    def _finish(self, connection: Connection, owner: str, response: StoredResponse) -> bool:
        body = response.body
        running = _running(owner, body["id"])
        changed = update(responses).where(running).values(status=body["status"], body=dict(body))
        if connection.execute(changed).rowcount == 0:
            return False
        connection.execute(delete(items).where(items.c.response_id == body["id"]))
        _add_both(connection, owner, response)
        return True

    def _input(self, connection: Connection, owner: str, response_id: str) -> list[Mapping[str, Any]] | None:
        if self._row(connection, owner, response_id) is None:
            return None
        given = (items.c.response_id == response_id) & items.c.is_output.is_(False)
        return [*connection.execute(select(items.c.body).where(given).order_by(items.c.number)).scalars()]

    def _delete(self, connection: Connection, owner: str, response_id: str) -> bool:
        own = (responses.c.id == response_id) & (responses.c.owner == owner)
        if connection.execute(delete(responses).where(own)).rowcount == 0:
            return False
        _let_go(connection, [response_id])
        return True

    def _chain(self, connection: Connection, owner: str, response_id: str) -> Chain:
        links = _links(owner, response_id)
        rows = connection.execute(select(links).order_by(links.c.depth)).all()
        if not rows:
            return Chain(missing=response_id)
        if rows[-1].previous_id is not None:
            return Chain(missing=rows[-1].previous_id)
        depth = {row.id: row.depth for row in rows}
        found = connection.execute(
            select(items.c.response_id, items.c.body, items.c.said)
            .where(items.c.response_id.in_(depth))
            .order_by(items.c.number)
        ).all()
        found = sorted(found, key=lambda row: -depth[row.response_id])  # stable: items keep their order
        return Chain(tuple(Item(row.body, row.said) for row in found), is_running=_is_computed(rows[0]))


def _cancel(connection: Connection, owner: str, response_id: str) -> bool:
    running = _running(owner, response_id)
    body = connection.execute(select(responses.c.body).where(running)).scalar_one_or_none()
    if body is None:
        return False
    changed = update(responses).where(running).values(status="cancelled", body={**body, "status": "cancelled"})
    return connection.execute(changed).rowcount == 1


def _running(owner: str, response_id: str) -> Any:
    """A condition: the response is there, and being computed."""
    return (responses.c.id == response_id) & (responses.c.owner == owner) & responses.c.status.in_(RUNNING)


def _keep_until(connection: Connection, links: Any, until: float) -> None:
    """Keeps responses at least so long. Their rows are locked in one order, for several turns may continue the same."""
    short = responses.c.id.in_(select(links.c.id)) & (responses.c.expires_at < until)
    locked = select(responses.c.id).where(short).order_by(responses.c.id).with_for_update()
    if connection.execute(locked).all():
        connection.execute(update(responses).where(short).values(expires_at=until + RENEWED_BY_S))


def lock_conversation(connection: Connection, owner: str, conversation_id: str) -> bool:
    """Whether it is there. Until the transaction's end nobody else adds to it or deletes it, so that what is added
    stands together.
    """
    own = (conversations.c.id == conversation_id) & (conversations.c.owner == owner)
    return connection.execute(select(conversations.c.id).where(own).with_for_update()).one_or_none() is not None


def _add_both(connection: Connection, owner: str, response: StoredResponse) -> None:
    """In its conversation, too, unless that was deleted meanwhile."""
    conversation_id = response.conversation_id
    if conversation_id is not None and not lock_conversation(connection, owner, conversation_id):
        conversation_id = None
    places = {"response_id": response.body["id"], "conversation_id": conversation_id}
    add_items(connection, owner, response.input, **places)
    add_items(connection, owner, response.output, **places, is_output=True)


def add_items(
    connection: Connection,
    owner: str,
    added: Sequence[Item],
    *,
    response_id: str | None = None,
    conversation_id: str | None = None,
    is_output: bool = False,
) -> None:
    rows = [
        {
            "id": item.body["id"],
            "owner": owner,
            "response_id": response_id,
            "conversation_id": conversation_id,
            "is_output": is_output,
            "call_id": item.body.get("call_id") if is_output else None,
            "body": dict(item.body),
            "said": item.said,
        }
        for item in added
    ]
    if rows:
        connection.execute(insert(items), rows)


def _links(owner: str, response_id: str) -> Any:
    """A recursive query: a response and what it continues, the newest at depth 0."""
    alive = (responses.c.owner == owner) & (responses.c.expires_at > time.time())
    columns = responses.c.id, responses.c.previous_id, responses.c.status, responses.c.beat_at
    first = select(*columns, literal(0).label("depth")).where(responses.c.id == response_id, alive)
    links = first.cte("links", recursive=True)
    return links.union_all(select(*columns, links.c.depth + 1).where(responses.c.id == links.c.previous_id, alive))


def _known(connection: Connection, owner: str, ids: Collection[str], call_ids: Collection[str]) -> Known:
    by_id = {row.id: Item(row.body, row.said) for row in _items(connection, owner, items.c.id, ids)}
    calls = {row.response_id: row for row in _items(connection, owner, items.c.call_id, call_ids)}
    said = _items(connection, owner, items.c.response_id, calls)
    by_call: dict[str, tuple[Item, ...]] = {}
    for response_id, call in calls.items():
        of_it = [row for row in said if row.response_id == response_id and row.is_output and row.number <= call.number]
        by_call[call.call_id] = tuple(Item(row.body, row.said) for row in of_it)
    return Known(by_id, by_call)


def _items(connection: Connection, owner: str, column: Column[Any], values: Collection[str]) -> list[Row[Any]]:
    """Items that have one of the values in a column, in their order; asked for in parts."""
    listed, found = list(values), list[Row[Any]]()
    for start in range(0, len(listed), N_ASKED_AT_ONCE):
        part = column.in_(listed[start : start + N_ASKED_AT_ONCE])
        found += connection.execute(select(items).where(items.c.owner == owner, part)).all()
    return sorted(found, key=lambda row: row.number)


def _expire(connection: Connection) -> int:
    expired = responses.c.expires_at <= time.time()
    ids = [*connection.execute(select(responses.c.id).where(expired).limit(N_EXPIRED_AT_ONCE)).scalars()]
    if ids:
        connection.execute(delete(responses).where(responses.c.id.in_(ids)))
        _let_go(connection, ids)
    return len(ids)


def _sweep(connection: Connection) -> int:
    """Deletes items that neither a response nor a conversation has, as an ended process may have left them."""
    of_response = exists().where(responses.c.id == items.c.response_id)
    of_conversation = exists().where(conversations.c.id == items.c.conversation_id)
    lost = select(items.c.number).where(~of_response, ~of_conversation).limit(N_EXPIRED_AT_ONCE)
    numbers = [*connection.execute(lost).scalars()]
    if numbers:
        connection.execute(delete(items).where(items.c.number.in_(numbers)))
    return len(numbers)


def _let_go(connection: Connection, response_ids: Sequence[str]) -> None:
    """Deletes the items of responses, but for those that are a conversation's."""
    theirs = items.c.response_id.in_(response_ids)
    is_in_one = exists().where(conversations.c.id == items.c.conversation_id)
    connection.execute(delete(items).where(theirs, ~is_in_one))
    connection.execute(update(items).where(theirs).values(response_id=None))


def _is_computed(row: Row[Any]) -> bool:
    return row.status in RUNNING and time.time() - row.beat_at < STALE_S


def _told(row: Row[Any]) -> Mapping[str, Any]:
    """The response object, which says so if nobody computes it any more."""
    body: dict[str, Any] = row.body
    if row.status not in RUNNING or _is_computed(row):
        return body
    error = {"code": "server_error", "message": "The server stopped while it computed this response; ask again."}
    return {**body, "status": "failed", "error": error}
