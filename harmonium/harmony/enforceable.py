"""JSON Schema as people write it, to the JSON Schema that llguidance enforces, with the same meaning.

What OpenAPI and pydantic say in their own ways is said in the schema's: `nullable`, `oneOf` of variants that exclude
one another, a decimal's look-ahead, formats that are nobody's. What cannot be enforced is refused by its name, or
left out where the schema is not strict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

from harmonium.errors import BadRequest
from harmonium.harmony.bounds import hold_bounds
from harmonium.harmony.endless import is_endless
from harmonium.harmony.references import referent

_ONE = ("items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_AT_THE_ROOT = ("$defs", "definitions", "components", "$schema", "$id")
_NOT_ONLY = re.compile(r"\^?\(\?!\^?\[([^\[\]\\^]+)\]\*\$\)\^?")
"""A pattern's beginning that says: not these characters alone. So does pydantic of Decimal."""
MOST_VARIANTS = 64
"""Of a oneOf, that are compared pair by pair where no property tells them apart."""
MOST_COMPARED = 20_000
"""Pairs of schemas, and of their values, in a document; what is not compared does not count as exclusive."""
REMEDY = 'leave it out, or say "strict": false'


def enforceable(schema: Mapping[str, Any], is_strict: bool = True) -> dict[str, Any]:
    """The schema with the same meaning for llguidance; less where not is_strict. Raises BadRequest by name of what
    cannot be enforced, and RecursionError for a schema that contains itself."""
    translated = _Translation(schema, is_strict).of_mapping(schema, is_root=True)
    if is_endless(schema):
        raise BadRequest(
            "No value of it ever ends, for every one requires another inside; make the property that leads back "
            "optional, or let it be null."
        )
    return translated


@lru_cache(maxsize=1024)
def problem(keyword: str, value: str) -> str:
    """Why llguidance cannot hold a text to this format or pattern, empty where it can."""
    from llguidance import LLMatcher

    source = LLMatcher.grammar_from_json_schema({"type": "string", keyword: value})
    return str(LLMatcher.validate_grammar(source)).strip()


class _Translation:
    """Of one document; root is where its references lead."""

    def __init__(self, root: Mapping[str, Any], is_strict: bool) -> None:
        self._root, self._is_strict = root, is_strict
        self._n_compared = 0

    def of(self, schema: Any) -> Any:
        return self.of_mapping(schema) if isinstance(schema, Mapping) else schema

    def of_mapping(self, schema: Mapping[str, Any], is_root: bool = False) -> dict[str, Any]:
        told = {key: value for key, value in schema.items() if key not in ("nullable", "x-guidance")}
        for key in _ONE:
            if isinstance(told.get(key), Mapping):
                told[key] = self.of(told[key])
        for key in _LISTS:
            if isinstance(told.get(key), Sequence) and not isinstance(told[key], str):
                told[key] = [self.of(part) for part in told[key]]
        for key in _MAPS:
            if isinstance(told.get(key), Mapping):
                told[key] = {name: self.of(part) for name, part in told[key].items()}
        if is_root and isinstance(components := told.get("components"), Mapping):
            told["components"] = {
                name: {key: self.of(part) for key, part in parts.items()} if isinstance(parts, Mapping) else parts
                for name, parts in components.items()
            }
        self._move_bounds(told)
        if told.get("uniqueItems") is False:
            del told["uniqueItems"]
        if isinstance(told.get("format"), str) and problem("format", told["format"]):
            del told["format"]  # as JSON Schema has it: a note
        if isinstance(told.get("pattern"), str):
            self._mend_pattern(told)
        if isinstance(names := told.get("patternProperties"), dict):
            told["patternProperties"] = {name: part for name, part in names.items() if self._holds(name)}
        if isinstance(told.get("oneOf"), list) and "anyOf" not in told and self._exclude_one_another(told["oneOf"]):
            told["anyOf"] = told.pop("oneOf")
        return _or_null(told, is_root) if schema.get("nullable") is True else told

    def _move_bounds(self, told: dict[str, Any]) -> None:
        declared = told.get("type")
        types = declared if isinstance(declared, list) else [declared]
        beyond = hold_bounds(told, is_integer="integer" in types and "number" not in types)
        if beyond and self._is_strict:
            raise BadRequest(
                f"A {beyond[0]} beyond 64 bits cannot be enforced; choose one nearer to zero, or {REMEDY}."
            )

    def _mend_pattern(self, told: dict[str, Any]) -> None:
        pattern = told["pattern"]
        if (found := _NOT_ONLY.match(pattern)) is not None:
            told["pattern"] = pattern = f"^{pattern[found.end() :]}"
            told["allOf"] = [*told.get("allOf", ()), {"pattern": f"[^{_escaped(found[1])}]"}]
        if not self._holds(pattern):
            del told["pattern"]

    def _holds(self, pattern: str) -> bool:
        """Can a text be held to it? Raises BadRequest where it cannot, but should be."""
        found = problem("pattern", pattern)
        if found and self._is_strict:
            reason = found.splitlines()[-1].removeprefix("error: ").removesuffix(".")
            raise BadRequest(f"The pattern {pattern!r} cannot be enforced ({reason}); write another, {REMEDY}.")
        return not found

    def _exclude_one_another(self, variants: Sequence[Any]) -> bool:
        if self._are_told_apart(variants):
            return True
        if len(variants) > MOST_VARIANTS:
            return False
        return all(self._exclude(one, other, 0) for one, other in combinations(variants, 2))

    def _are_told_apart(self, variants: Sequence[Any]) -> bool:
        """By values of their own, or by those of a property that every one requires, as most unions are written."""
        targets = [self._target(variant) for variant in variants]
        if self._have_own_values(targets):
            return True
        if not targets or not all(map(_is_plain_object, targets)):
            return False
        names = frozenset.intersection(*map(_required, targets))
        return any(self._have_own_values([one.get("properties", {}).get(name) for one in targets]) for name in names)

    def _have_own_values(self, schemas: Sequence[Any]) -> bool:
        seen: set[Any] = set()
        for schema in map(self._target, schemas):
            values = _values(schema) if isinstance(schema, Mapping) and not schema.get("nullable") else None
            if values is None or any(isinstance(value, (list, dict)) for value in values) or seen & set(values):
                return False
            seen.update(values)
        return True

    def _exclude(self, one: Any, other: Any, depth: int) -> bool:
        """Is there surely no value that both allow?"""
        one, other = self._target(one), self._target(other)
        self._n_compared += 1
        if not isinstance(one, Mapping) or not isinstance(other, Mapping) or depth > 8:
            return one is False or other is False
        if one.get("nullable") or other.get("nullable"):
            return False
        values, others = _values(one), _values(other)
        if values is not None and others is not None:
            self._n_compared += len(values) * len(others)
        if self._n_compared > MOST_COMPARED:
            return False
        if values is not None and others is not None:
            return not any(value == another for value in values for another in others)
        types, other_types = _types(one), _types(other)
        if types is not None and other_types is not None and not types & other_types:
            return True
        if not _is_plain_object(one) or not _is_plain_object(other):
            return False
        shared = _required(one) & _required(other)
        fields, other_fields = one.get("properties", {}), other.get("properties", {})
        return any(self._exclude(fields.get(name), other_fields.get(name), depth + 1) for name in shared)

    def _target(self, schema: Any) -> Any:
        """Where references lead that are all that a schema says."""
        for _ in range(8):
            if not isinstance(schema, Mapping) or not isinstance(ref := schema.get("$ref"), str):
                return schema
            place = referent(self._root, ref) if ref.startswith("#/") else None
            if not isinstance(place, Mapping):
                return None
            schema = place
        return None


def _is_plain_object(schema: Any) -> bool:
    """An object and nothing else, with properties and required as they should be."""
    if not isinstance(schema, Mapping) or schema.get("nullable") or _types(schema) != {"object"}:
        return False
    return isinstance(schema.get("properties", {}), Mapping) and isinstance(schema.get("required", []), (list, tuple))


def _required(schema: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name in schema.get("required", ()) if isinstance(name, str))


def _escaped(characters: str) -> str:
    """Characters of a class without ranges, for another; a hyphen is at the end there, as it was at an end here."""
    if "-" not in (characters[0], characters[-1]):
        return characters
    return characters.replace("-", "") + "-"


def _or_null(told: dict[str, Any], is_root: bool) -> dict[str, Any]:
    """What the schema allows, or null."""
    if any(key in told for key in ("$ref", "allOf", "not", "const", "oneOf")):
        kept = {key: told.pop(key) for key in _AT_THE_ROOT if is_root and key in told}
        return {**kept, "anyOf": [told, {"type": "null"}]}
    if isinstance(told.get("enum"), list) and None not in told["enum"]:
        told["enum"] = [*told["enum"], None]
    if isinstance(told.get("anyOf"), list):
        told["anyOf"] = [*told["anyOf"], {"type": "null"}]
    if "type" in told:
        types = told["type"] if isinstance(told["type"], list) else [told["type"]]
        told["type"] = types if "null" in types else [*types, "null"]
    return told


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _types(schema: Mapping[str, Any]) -> set[str] | None:
    """Names of the JSON types that a schema allows, whole numbers being numbers; None where it does not say."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    if (values := _values(schema)) is not None:
        return {names.get(type(value), "null") for value in values}
    declared = schema.get("type")
    if isinstance(declared, str):
        declared = [declared]
    if not isinstance(declared, list):
        return None
    return {"number" if name == "integer" else name for name in declared}
