"""Where a reference within a JSON Schema document leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


def referent(root: Any, ref: str) -> Any:
    """What `#/a/b` is in the document `root`, or None, which names of anchors and of other documents are, too."""
    target: Any = root if ref == "#" or ref.startswith("#/") else None
    for step in ref.removeprefix("#").split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(target, list):
            target = target[int(key)] if key.isdecimal() and int(key) < len(target) else None
        else:
            target = target.get(key) if isinstance(target, Mapping) else None
    return target
