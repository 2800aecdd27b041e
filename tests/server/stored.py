"""What tests of the store put into it."""

from __future__ import annotations

from typing import Any

from harmonium.server.store_responses import Item, StoredResponse

OWNER, OTHER = "me", "you"


def response(
    id_: str,
    previous: str | None = None,
    status: str = "completed",
    said: str = "hi",
    conversation: str | None = None,
) -> StoredResponse:
    """One that was given one item and said another."""
    body = {"id": id_, "previous_response_id": previous, "status": status, "created_at": 1.0, "said": said}
    return StoredResponse(body, (item(f"{id_}-in"),), (item(f"{id_}-out"),), conversation)


def item(id_: str, **fields: Any) -> Item:
    return Item({"id": id_, "type": "message", **fields})
