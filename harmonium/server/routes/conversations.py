"""/v1/conversations: items that responses with `conversation` read first, and are added to."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import APIRouter, Response
from pydantic import Field

from harmonium.errors import BadRequest, NotFound
from harmonium.server.guarded import Guarded
from harmonium.server.plain_json import Body, Json
from harmonium.server.routes.responses import Limit, Order, owner_of
from harmonium.server.serving import Known, Server, Serving
from harmonium.server.store_conversations import page
from harmonium.server.store_responses import Item
from harmonium.server.wire.response_history import ids_of, recollect
from harmonium.server.wire.response_items import input_items
from harmonium.server.wire.response_object import listed
from harmonium.server.wire.response_request import Metadata

Found = TypeVar("Found")

router = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=Guarded)

MOST_ADDED = 20
"""Items in one request, as OpenAI has it."""


class NewConversation(Body):
    items: list[Any] | None = None
    metadata: Metadata | None = Field(None, max_length=16)


class NewMetadata(Body):
    metadata: Metadata | None = Field(None, max_length=16)


class NewItems(Body):
    items: list[Any]


@router.post("")
async def create_conversation(server: Server, call: Known, asked: NewConversation | None = None) -> dict[str, Any]:
    """A conversation, empty or with its first items."""
    asked = asked or NewConversation(metadata=None)
    items = await _items(server, owner_of(call), asked.items or [])
    return await server.state.conversations.create(owner_of(call), asked.metadata or {}, items)


@router.get("/{conversation_id}")
async def retrieve_conversation(conversation_id: str, server: Server, call: Known) -> dict[str, Any]:
    return _there(await server.state.conversations.get(owner_of(call), conversation_id), conversation_id)


@router.post("/{conversation_id}")
async def update_conversation(conversation_id: str, asked: NewMetadata, server: Server, call: Known) -> dict[str, Any]:
    """New metadata in place of the old."""
    found = await server.state.conversations.update(owner_of(call), conversation_id, asked.metadata or {})
    return _there(found, conversation_id)


@router.delete("/{conversation_id}")
async def delete_conversation(conversation_id: str, server: Server, call: Known) -> dict[str, Any]:
    """Responses that were made in it stay."""
    if not await server.state.conversations.delete(owner_of(call), conversation_id):
        raise _not_found(conversation_id)
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


@router.post("/{conversation_id}/items", response_model=None)
async def create_items(conversation_id: str, asked: NewItems, server: Server, call: Known) -> Response:
    """Adds up to 20 items at the end."""
    items = await _items(server, owner_of(call), asked.items)
    if not await server.state.conversations.add(owner_of(call), conversation_id, items):
        raise _not_found(conversation_id)
    return Json(listed(page([item.body for item in items], None, MOST_ADDED, True)))


@router.get("/{conversation_id}/items", response_model=None)
async def list_items(
    conversation_id: str,
    server: Server,
    call: Known,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> Response:
    items = await server.state.conversations.items(owner_of(call), conversation_id)
    bodies = [item.body for item in _there(items, conversation_id)]
    return Json(listed(page(bodies, after, limit, order == "asc")))


@router.get("/{conversation_id}/items/{item_id}", response_model=None)
async def retrieve_item(conversation_id: str, item_id: str, server: Server, call: Known) -> Response:
    found = await server.state.conversations.item(owner_of(call), conversation_id, item_id)
    if found is None:
        raise NotFound(f"The conversation {conversation_id!r} has no item {item_id!r}.", param="item_id")
    return Json(found)


@router.delete("/{conversation_id}/items/{item_id}")
async def delete_item(conversation_id: str, item_id: str, server: Server, call: Known) -> dict[str, Any]:
    """The conversation without the item."""
    if not await server.state.conversations.delete_item(owner_of(call), conversation_id, item_id):
        raise NotFound(f"The conversation {conversation_id!r} has no item {item_id!r}.", param="item_id")
    return await retrieve_conversation(conversation_id, server, call)


async def _items(server: Serving, owner: str, given: list[Any]) -> list[Item]:
    """Items as they are stored. Raises BadRequest for what are none, and for too many."""
    if len(given) > MOST_ADDED:
        raise BadRequest(f"There are {len(given)} items; add at most {MOST_ADDED} at a time.", param="items")
    bodies = input_items(given, "items")
    known = await server.state.recall.known(owner, *ids_of(bodies))
    return recollect(bodies, (), known, server.state.seal)


def _there(found: Found | None, conversation_id: str) -> Found:
    if found is None:
        raise _not_found(conversation_id)
    return found


def _not_found(conversation_id: str) -> NotFound:
    return NotFound(f"There is no conversation {conversation_id!r}.", param="conversation_id")
