"""Schemas that no finite value fulfils: each requires another of its kind, and so on.

A model that is held to one would write until its limit. What a schema requires is followed through references; where
it leads back to itself on every way there is no end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harmonium.harmony.references import referent

MOST_STEPS = 10_000
"""After which a schema counts as one that ends, which nearly every one does."""


def is_endless(document: Mapping[str, Any]) -> bool:
    """Raises RecursionError for nesting too deep."""
    return not _Walk(document).ends(document)


class _Walk:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._n_steps = 0
        self._open: set[int] = set()
        self._ending: set[int] = set()

    def ends(self, schema: Any) -> bool:
        """Has it a finite value, as far as is known?"""
        key = id(schema)
        if not isinstance(schema, Mapping) or key in self._ending:
            return True
        self._n_steps += 1
        if self._n_steps > MOST_STEPS:
            return True
        if key in self._open:
            return False
        self._open.add(key)
        does_end = schema.get("nullable") is True or all(self._parts(schema))
        self._open.remove(key)
        if does_end:
            self._ending.add(key)
        return does_end

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[bool]:
        """Does each thing that it requires end?"""
        if isinstance(ref := schema.get("$ref"), str):
            yield self.ends(referent(self._root, ref))
        if isinstance(parts := schema.get("allOf"), list):
            yield from map(self.ends, parts)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(variants := schema.get(keyword), list) and variants:
                yield any(map(self.ends, variants))
        required, properties, items = schema.get("required"), schema.get("properties"), schema.get("items")
        if schema.get("type") == "object" and isinstance(required, list) and isinstance(properties, Mapping):
            yield from (self.ends(properties.get(name)) for name in required if isinstance(name, str))
        least = schema.get("minItems")
        if schema.get("type") == "array" and isinstance(least, int) and least > 0 and "prefixItems" not in schema:
            yield self.ends(items)
