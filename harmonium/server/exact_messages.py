"""Messages with the exact ids that a model said them with, as JSON: what the store and sealed reasoning hold.

Ids mean something to the model that produced them alone, so they are read back for that one only; for another the
same messages are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harmonium.harmony.messages import Author, Message, Role

Said = list[dict[str, Any]]


def to_json(messages: Iterable[Message], model: str) -> Said:
    """model: whose ids they are."""
    return [_to_dict(message, model) for message in messages]


def from_json(said: Sequence[Mapping[str, Any]], model: str) -> tuple[Message, ...]:
    """model: which is to read them."""
    return tuple(_from_dict(message, model) for message in said)


def _to_dict(message: Message, model: str) -> dict[str, Any]:
    fields = {
        "role": str(message.role),
        "name": message.author.name,
        "channel": None if message.channel is None else str(message.channel),
        "recipient": message.recipient,
        "content_type": message.content_type,
        "text": message.text,
        "ids": None if message.ids is None else list(message.ids),
        "model": None if message.ids is None else model,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _from_dict(said: Mapping[str, Any], model: str) -> Message:
    message = Message(
        Author(Role(said["role"]), said.get("name")),
        (said["text"],),
        said.get("channel"),
        said.get("recipient"),
        said.get("content_type"),
    )
    return message.with_ids(said["ids"]) if said.get("model") == model else message
