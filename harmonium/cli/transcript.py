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
from harmonium.harmony.convert import conversation
from harmonium.harmony.messages import Author, Channel, Message, Role


def read(path: Path) -> list[Any]:
    """The messages of a file. BadRequest where it holds no list of them, or one that means nothing to a model."""
    return read_with_tools(path)[0]


def read_with_tools(path: Path) -> tuple[list[Any], list[Any]]:
    """The messages of a file and the tools that it declares beside them, as a request of OpenAI's chat API does."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{path} is not JSON ({error}); it should hold a list of messages.") from None
    messages = document.get("messages") if isinstance(document, dict) else document
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest(f'{path} should hold a list of messages such as [{{"role": "user", "content": "Hello"}}].')
    tools = (document.get("tools") if isinstance(document, dict) else None) or []
    if not isinstance(tools, list):
        raise BadRequest(f"{path}: its tools should be a list of functions, as OpenAI's chat API has them.")
    try:
        said = [_from_dict(number, message) for number, message in enumerate(messages)]
        if said:
            conversation(said, tools=tools)
    except BadRequest as error:
        raise BadRequest(f"{path} cannot be used. {error}") from None
    return said, tools


def write(path: Path, messages: Sequence[Any]) -> None:
    """Saves a conversation, in place of an older one. Raises BadRequest where the file is anything else."""
    if path.is_file() and not _is_saved(path):
        raise BadRequest(f"{path} is not a saved conversation; give another name.")
    lines = ",\n  ".join(json.dumps(_to_dict(message), ensure_ascii=False) for message in messages)
    try:
        # Half a surrogate pair, which JSON may hold and UTF-8 not, is written as JSON's own escape.
        path.write_text(f'{{"messages": [\n  {lines}\n]}}\n', encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror}; save to another folder.") from error


def _is_saved(path: Path) -> bool:
    """The file is empty or as `write` leaves it, so that it can be written over."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if text else {"messages": []}
    except (OSError, ValueError, RecursionError):
        return False
    messages = document["messages"] if isinstance(document, dict) and document.keys() == {"messages"} else None
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)


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


def _from_dict(number: int, message: dict[str, Any]) -> Any:
    """A dict of OpenAI's chat API as it is, harmony's own as a Message."""
    if message.get("channel") is None and message.get("recipient") is None:
        return message
    for name in ("role", "name", "channel", "recipient", "content_type", "content"):
        if not isinstance(message.get(name, ""), str):
            raise BadRequest(f"Message {number}: its {name} should be text, not {type(message[name]).__name__}.")
    role, channel = message.get("role"), message.get("channel")
    if role not in list(Role):
        raise BadRequest(f"Message {number}: {role!r} is no role; it is one of {', '.join(Role)}.")
    if role in (Role.SYSTEM, Role.DEVELOPER):
        raise BadRequest(f"Message {number}: a {role} message has no channel and no recipient; leave them out.")
    if channel is not None and channel not in list(Channel):
        raise BadRequest(f"Message {number}: {channel!r} is no channel; it is one of {', '.join(Channel)}.")
    return Message(
        Author(Role(role), message.get("name")),
        (message.get("content", ""),),
        channel=channel and Channel(channel),
        recipient=message.get("recipient"),
        content_type=message.get("content_type"),
    )
