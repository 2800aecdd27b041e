"""What a message's content says: text, a list of parts, or, from a tool, any value as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harmonium.errors import BadRequest
from harmonium.harmony.schema import compact_json

_TEXT_PARTS = {
    **dict.fromkeys(("text", "input_text", "output_text", "reasoning_text", "summary_text"), "text"),
    "refusal": "refusal",
}
_OTHER_PARTS = {
    **dict.fromkeys(("image", "image_url", "input_image", "computer_screenshot"), "image"),
    **dict.fromkeys(("audio", "input_audio"), "recording"),
    **dict.fromkeys(("video", "video_url"), "video"),
    **dict.fromkeys(("file", "input_file"), "file"),
}
_CARRIERS = ("image_url", "input_audio", "video_url", "file", "file_id", "file_data", "file_url", "source", "data")
"""Keys by which such a part carries what it is of."""


def text_parts(content: Any) -> tuple[str, ...]:
    """The texts of a content: a string, or a list of strings and text parts. Raises BadRequest for others."""
    if content is None or isinstance(content, str):
        return () if content is None else (content,)
    if not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray, memoryview)):
        raise BadRequest(f"The content is text or a list of parts, not {type(content).__name__}.")
    texts = []
    for part in content:
        key = _TEXT_PARTS.get(str(part.get("type", "text"))) if isinstance(part, Mapping) else None
        text = part if isinstance(part, str) else part.get(key) if isinstance(part, Mapping) and key else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise BadRequest(f"gpt-oss reads text only, and this has a part of type {kind!r}. Send it as text.")
        texts.append(text)
    return tuple(texts)


def result_parts(content: Any) -> tuple[str, ...]:
    """What a tool gave: text, a list of parts, or any other value as JSON.

    Parts that cannot be read are told of in their places. The model has asked for them and should learn that this leads
    nowhere, and the conversation goes on.
    """
    if content is None or isinstance(content, str):
        return text_parts(content) or ("",)
    if _is_unreadable(content):
        content = [content]
    if isinstance(content, (list, tuple)):
        content = [_told_of(part) if _is_unreadable(part) else part for part in content]
        if all(map(_is_text, content)):
            return text_parts(content) or ("",)
    return (compact_json(content),)


def unread_kinds(content: Any) -> list[str]:
    """The types of the parts that `result_parts` leaves out."""
    parts = content if isinstance(content, (list, tuple)) else [content]
    return [part["type"] for part in parts if _is_unreadable(part)]


def _told_of(part: Mapping[str, Any]) -> dict[str, str]:
    return {
        "type": "text",
        "text": f"[The {_OTHER_PARTS[part['type']]} that was here is left out: only text can be read.]",
    }


def _is_unreadable(part: Any) -> bool:
    """Is it a part, and none of text? Data may have such a type, too."""
    if not (isinstance(part, Mapping) and str(part.get("type")) in _OTHER_PARTS):
        return False
    return any(part.get(key) is not None for key in _CARRIERS)


def _is_text(item: Any) -> bool:
    """Is it a text part of a content, and not data that happen to have a type?"""
    if not isinstance(item, Mapping) or ("type" not in item and set(item) != {"text"}):
        return False
    key = _TEXT_PARTS.get(str(item.get("type", "text")))
    return key is not None and isinstance(item.get(key), str)
