"""--response-format: what an answer follows, as a word or as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harmonium.errors import BadRequest

GRAMMARS = {".lark": "lark", ".regex": "regex"}


def load(word: str) -> Mapping[str, Any]:
    """OpenAI's response_format for "json", or for a file: a JSON Schema, a response_format, a grammar.

    Raises BadRequest for a file that is none of them.
    """
    if word in ("json", "text"):
        return {"type": "json_object" if word == "json" else "text"}
    path = Path(word)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadRequest(f'{word} cannot be read ({error.strerror}); a response format is "json" or a file.') from None
    except ValueError:
        raise BadRequest(f"{word} is not UTF-8 text; a response format is JSON, or a grammar.") from None
    if path.suffix in GRAMMARS:
        return {"type": "grammar", "syntax": GRAMMARS[path.suffix], "definition": text.rstrip("\n")}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"{word} is not JSON ({error}); grammars are in files named .lark and .regex.") from None
    if not isinstance(value, dict):
        raise BadRequest(f'{word} should hold a JSON Schema, an object such as {{"type": "object"}}.')
    if value.get("type") in ("text", "json_object", "json_schema", "grammar"):
        return value
    return {"type": "json_schema", "json_schema": {"name": path.stem, "schema": value}}
