"""What a schema without words means, and what a TypeScript type means, as plain values: an oracle for keywords that
the reference does not write. The one is read off the schema, the other out of the written text, layout set aside.

A type is a name such as "string", a pair of "literal" and JSON, or a pair of a kind and its parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

Type = Any
WORDS = ("title", "description", "default", "examples")
EMPTY = ("object", ())
_TOKEN = re.compile(r"\s*(\.\.\.|Array<any>|[A-Za-z_]+|.)", re.DOTALL)
_BRACKETS = re.compile(r"\s*\[\]")
_KEY = re.compile(r"\s*(\[key: string\]|[^\n:?\[]+)(\??):")


def bare(schema: Any) -> Any:
    """The schema without its words, in which text may look like a type."""
    if isinstance(schema, list):
        return [bare(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    named = ("properties", "patternProperties", "$defs", "definitions")
    return {
        key: value
        if key in ("enum", "const", "required")
        else {name: bare(item) for name, item in value.items()}
        if key in named
        else bare(value)
        for key, value in schema.items()
        if key not in WORDS
    }


def union(types: Iterable[Type]) -> Type:
    """Any of them; what says nothing makes the others say nothing, but an empty object is passed over."""
    members = {member for type_ in types for member in (type_[1] if type_[0] == "union" else (type_,))}
    if "any" in members:
        return "any"
    told = members - {EMPTY} or members
    return next(iter(told)) if len(told) == 1 else ("union", frozenset(told))


def intersection(types: Iterable[Type]) -> Type:
    """All of them; the first, if none says anything."""
    parts = list(types)
    members = {member for part in parts for member in (part[1] if part[0] == "intersection" else (part,))}
    told = members - {EMPTY, "any"}
    if not told:
        return parts[0]
    return next(iter(told)) if len(told) == 1 else ("intersection", frozenset(told))


def meaning(schema: Any, root: Any = None, open_refs: tuple[str, ...] = ()) -> Type:
    """Of a schema; references end where they come again."""
    root = schema if root is None else root
    if not isinstance(schema, Mapping):
        return "never" if schema is False else "any"

    def inner(value: Any, open_refs: tuple[str, ...] = open_refs) -> Type:
        written = meaning(value, root, open_refs)
        is_nullable = isinstance(value, Mapping) and value.get("nullable") is True
        return union((written, "null")) if is_nullable else written

    is_object = any(key in schema for key in ("properties", "patternProperties", "additionalProperties"))
    if "oneOf" in schema and not is_object and not any(key in schema for key in ("anyOf", "allOf", "$ref")):
        return union(map(inner, schema["oneOf"]))
    parts = [_own(schema, inner, is_object)]
    if "$ref" in schema:
        ref = schema["$ref"]
        parts.append("any" if ref in open_refs else inner(_target(ref, root), (*open_refs, ref)))
    for key in ("oneOf", "anyOf"):
        if key in schema:
            joined = union(map(inner, schema[key]))
            parts.append("any" if joined == EMPTY else joined)
    return intersection((*parts, *map(inner, schema.get("allOf", ()))))


def _target(ref: str, root: Any) -> Any:
    for step in ref.split("/")[1:]:
        root = root.get(unquote(step).replace("~1", "/").replace("~0", "~")) if isinstance(root, Mapping) else None
    return root if ref.startswith("#") else None


def _own(schema: Mapping[str, Any], inner: Any, is_object: bool) -> Type:
    """What it says by type, const and enum, or by what implies a type."""
    declared = schema.get("type")
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if declared == "string" and "const" not in schema:
        values = [value for value in values if isinstance(value, str)]
    if values:
        return union("null" if value is None else _literal(value) for value in values)
    is_array = "items" in schema or "prefixItems" in schema
    if isinstance(declared, list):
        return union(_named(name, schema, inner, is_object, is_array) for name in declared)
    if declared is None:
        declared = "object" if is_object else "array" if is_array else "unknown"
    return _named(declared, schema, inner, True, True)


def _named(name: str, schema: Mapping[str, Any], inner: Any, is_object: bool, is_array: bool) -> Type:
    if name == "object" and is_object:
        required, others = schema.get("required", ()), schema.get("additionalProperties", False)
        keys = [(key, key not in required, inner(value)) for key, value in schema.get("properties", {}).items()]
        patterns = [*schema.get("patternProperties", {}).values(), *([others] if others is not False else [])]
        return "object", (*keys, *(("[key: string]", False, inner(value)) for value in patterns))
    if name == "array" and is_array:
        items, first = schema.get("items", True), schema.get("prefixItems")
        if isinstance(items, list):
            items, first = True, items
        if first is None:
            return "array", inner(items)
        rest = ("array", inner(items)) if isinstance(items, Mapping) else None
        return "tuple", (*map(inner, first),), rest
    known = {"integer": "number", **{name: name for name in ("string", "number", "boolean", "null", "object", "array")}}
    return known.get(name, "any")


def _literal(value: Any) -> Type:
    return "literal", json.dumps(value, ensure_ascii=False)


def read(text: str) -> Type:
    """The meaning of a type as it is written."""
    return _Reader(re.sub(r"//[^\n]*|/\*.*?\*/", "", text)).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> Type:
        type_ = self._union()
        assert not self._text[self._at :].strip(), self._text[self._at :]
        return type_

    def _next(self, *wanted: str) -> str:
        """The next token if it is one of these, or any when none is named; else ""."""
        match = _TOKEN.match(self._text, self._at)
        if match is None or (wanted and match[1] not in wanted):
            return ""
        self._at = match.end()
        return match[1]

    def _union(self) -> Type:
        members: list[Type] = []
        while not members or self._next("|"):
            while self._next("|"):
                pass
            members.append(self._intersection())
        return union(members)

    def _intersection(self) -> Type:
        parts = [self._element()]
        while self._next("&"):
            parts.append(self._element())
        return intersection(parts)

    def _element(self) -> Type:
        type_ = self._single()
        while brackets := _BRACKETS.match(self._text, self._at):
            self._at = brackets.end()
            type_ = ("array", type_)
        return type_

    def _single(self) -> Type:
        token = self._next()
        start = self._at - len(token)
        is_json = token in ("true", "false", '"', "-") or token.isdecimal() or self._text.startswith('{"', start)
        if is_json:
            value, self._at = json.JSONDecoder().raw_decode(self._text, start)
            return _literal(value)
        if token == "(":
            inner = self._union()
            assert self._next(")")
            return inner
        if token in ("{", "["):
            return self._object() if token == "{" else self._tuple()
        assert token in ("string", "number", "boolean", "null", "object", "array", "any", "never", "Array<any>"), token
        return ("array", "any") if token == "Array<any>" else token

    def _object(self) -> Type:
        keys = []
        while not self._next("}"):
            key = _KEY.match(self._text, self._at)
            assert key is not None, self._text[self._at :]
            self._at = key.end()
            keys.append((key[1], key[2] == "?", self._union()))
            assert self._next(",")
        return "object", tuple(keys)

    def _tuple(self) -> Type:
        members, rest = [], None
        while not self._next("]"):
            if self._next("..."):
                rest = self._element()
            else:
                members.append(self._union())
            self._next(",")
        return "tuple", tuple(members), rest
