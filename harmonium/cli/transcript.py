"""Conversations as files: JSON of one message per line, as people have them and as harmony knows them.

A file holds a list of messages, or an object whose "messages" is one. Messages with a channel or a recipient are
harmony's own and come back as they were; others are in the form of OpenAI's chat API.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harmonium.errors import BadRequest, CannotWrite
from harmonium.harmony.messages import Author, Message, Role


def read(path: Path) -> list[Any]:
    """The messages of a file. BadRequest where it holds none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRequest(f"{path} is not JSON ({error}); it should hold a list of messages.") from error
    messages = document.get("messages") if isinstance(document, dict) else document
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest(f'{path} should hold a list of messages such as [{{"role": "user", "content": "Hello"}}].')
    return [_from_dict(message) for message in messages]


def write(path: Path, messages: Sequence[Any]) -> None:
    lines = ",\n  ".join(json.dumps(_to_dict(message), ensure_ascii=False) for message in messages)
    try:
        path.write_text(f'{{"messages": [\n  {lines}\n]}}\n', encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror}; save to another folder.") from error


def _to_dict(message: Any) -> dict[str, Any]:
    if not isinstance(message, Message):
        return dict(message)
    fields = {
        "role": str(message.role),
        "name": message.author.name,
        "channel": message.channel and str(message.channel),
        "recipient": message.recipient,
        "content_type": message.content_type,
        "content": message.text,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _from_dict(message: dict[str, Any]) -> Any:
    if not ("channel" in message or "recipient" in message):
        return message
    try:
        author = Author(Role(message["role"]), message.get("name"))
    except (KeyError, ValueError) as error:
        raise BadRequest(
            f"A message has no role that harmony knows ({error}); it is one of {', '.join(Role)}."
        ) from None
    return Message(
        author,
        (str(message.get("content", "")),),
        channel=message.get("channel"),
        recipient=message.get("recipient"),
        content_type=message.get("content_type"),
    )
