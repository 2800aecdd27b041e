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
_OTHER_PARTS = ("image", "image_url", "input_image", "audio", "input_audio", "video", "video_url", "file", "input_file")
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
    """What a tool gave: text, a list of parts, or any other value as JSON. Raises BadRequest for what is none."""
    if content is None or isinstance(content, str):
        return text_parts(content) or ("",)
    if isinstance(content, (list, tuple)) and all(map(_is_part, content)):
        return text_parts(content) or ("",)
    return (compact_json(content),)


def _is_part(item: Any) -> bool:
    """Is it a part of a content, and not data that happen to have a type?"""
    if not isinstance(item, Mapping):
        return False
    kind = item.get("type")
    if not isinstance(kind, str):
        return set(item) == {"text"}
    if kind in _OTHER_PARTS:
        return not item.keys().isdisjoint(_CARRIERS)
    return kind in _TEXT_PARTS and isinstance(item.get(_TEXT_PARTS[kind]), str)
