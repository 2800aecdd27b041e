"""Grammars that are known to compile at once, by what they are made of: schemas as most tools and formats have them.

Time without bound comes from texts that have to be of two kinds together, and from bounds. A schema that has neither
costs what its length does: some tenths of a second at most, for LONGEST.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harmonium.harmony.grammar import Grammar

LONGEST = 16 << 10
"""Characters of a grammar as llguidance has it."""
_NOTES = {"title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment", "x-guidance"}
_DEFINED = {"$defs", "definitions"}
_KINDS = ({"type", "enum", "const", "properties", "required", "additionalProperties", "items"}, {"anyOf"}, {"$ref"})
"""Keywords of which nothing stands beside those of another kind: it would have to hold at the same time."""


def is_plain(grammar: Grammar) -> bool:
    """False for whatever is not known."""
    if len(grammar.source) > LONGEST:
        return False
    try:
        inner = json.loads(grammar.source)["grammars"]
    except ValueError:
        return False  # Lark, in which there may be anything
    return all(one.get("lark_grammar") is None and _is_plain(one.get("json_schema")) for one in inner)


def _is_plain(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return isinstance(schema, bool)
    used = schema.keys() - _NOTES - _DEFINED
    inside = [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for name in _DEFINED | {"properties"}:
        inside += schema.get(name, {}).values()
    inside += schema.get("anyOf", ())
    return any(used <= kind for kind in _KINDS) and all(map(_is_plain, inside))
