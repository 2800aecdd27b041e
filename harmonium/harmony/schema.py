"""JSON Schema to the TypeScript types that gpt-oss was trained to read.

Layout, comments and their places are those of the reference renderer, openai-harmony 0.0.8, to the character. Where its
text says less than the schema, or the same for two different ones, the type is written out; docs/harmony.md has the
list. Any value gives a type of bounded length: references that lead back to themselves are cut with a comment, and so
is nesting without end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from harmonium.errors import BadRequest
from harmonium.harmony.references import referent

Schema = Mapping[str, Any]
MAX_DEPTH = 64
MAX_CHARACTERS = 400_000  # about the model's whole context
MAX_TYPES = 20_000  # as many as may fit into them; references can ask for more, which then are written for nothing
MAX_WRITTEN = MAX_DEPTH * MAX_CHARACTERS  # in all, with those of types within types counted again
_SCALARS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_OBJECT_KEYWORDS = ("properties", "additionalProperties", "patternProperties")
_ARRAY_KEYWORDS = ("items", "prefixItems")


class Type(NamedTuple):
    """A written type. is_joined: a union or intersection, which `[]` behind it would tear apart."""

    text: str
    is_joined: bool = False
    has_null: bool = False

    @property
    def says_nothing(self) -> bool:
        return self.text == "any" or "".join(self.text.split()) == "{}"

    def enclosed(self, indent: str) -> str:
        """With parentheses where it needs them to stand beside something."""
        if not self.is_joined:
            return self.text
        return f"({self.text}\n{indent})" if self.text.startswith("\n") else f"({self.text})"


_ANY = Type("any")


class _Known(NamedTuple):
    """A reference's type as it was written. met: references within it; open: those of them that were open around it,
    by which alone it may be another type elsewhere.
    """

    written: Type
    met: frozenset[str]
    open: frozenset[str]


class Work:
    """What was written for a prompt so far, also in vain: schemas that lead to each other can ask for ever more."""

    def __init__(self) -> None:
        self.n_types = self.n_written = 0

    def add(self, text: str) -> None:
        self.n_types += 1
        self.n_written += len(text)

    @property
    def is_too_much(self) -> bool:
        return self.n_types > MAX_TYPES or self.n_written > MAX_WRITTEN


def typescript(schema: Schema, work: Work | None = None) -> str:
    """The type of one JSON Schema. Raises BadRequest when it, or the work on all, is more than a prompt can hold."""
    return _Writer(schema, work).type(schema, "").text


class _Writer:
    """Writes the types of one schema document; `root` is where its $refs lead."""

    def __init__(self, root: Schema, work: Work | None = None) -> None:
        self._root, self._work = root, work or Work()
        self._open_refs: list[str] = []
        self._met: set[str] = set()
        self._known: dict[tuple[str, str, int], _Known] = {}
        self._depth = 0
        self._n_characters = 0

    def type(self, schema: Any, indent: str) -> Type:
        if self._depth == MAX_DEPTH:
            return Type(f"any /* more than {MAX_DEPTH} types deep */")
        before = self._n_characters
        self._depth += 1
        written = self._type(schema, indent)
        self._depth -= 1
        self._n_characters = before + len(written.text)
        self._work.add(written.text)  # equal variants vanish, but cost
        if self._work.is_too_much or self._n_characters > MAX_CHARACTERS:
            raise BadRequest(
                f"A JSON Schema comes to more than {MAX_CHARACTERS:,} characters, or {MAX_TYPES:,} types, when its "
                "references are written out, which no prompt can hold. Give it fewer properties or references, or "
                "describe them in words."
            )
        return written

    def _type(self, schema: Any, indent: str) -> Type:
        if not isinstance(schema, Mapping):
            return Type("never") if schema is False else _ANY
        if (variants := _lines(schema)) is not None:
            return self._union_lines(variants, indent)
        base = self._base(schema, indent)
        others = [part for part in self._composed(schema, indent) if not part.says_nothing and part.text != base.text]
        parts = list(dict.fromkeys(others if base.says_nothing else [base, *others]))
        if len(parts) < 2:
            return parts[0] if parts else base
        return Type(" & ".join(part.enclosed(indent) for part in parts), is_joined=True)

    def _base(self, schema: Schema, indent: str) -> Type:
        """What the schema says of itself, by its type or what implies one."""
        declared = schema.get("type")
        if (literals := _literals(schema)) is not None:
            return literals
        if isinstance(declared, list) and (names := [name for name in declared if isinstance(name, str)]):
            texts = [self._named(name, schema, indent) for name in names]
            return Type(" | ".join(texts), len(texts) > 1, "null" in names)
        if isinstance(declared, str):
            if declared in ("object", "array"):
                return self._object(schema, indent) if declared == "object" else self._array(schema, indent)
            return Type(_SCALARS.get(declared, "any"), has_null=declared == "null")
        if any(keyword in schema for keyword in _OBJECT_KEYWORDS):
            return self._object(schema, indent)
        return self._array(schema, indent) if any(keyword in schema for keyword in _ARRAY_KEYWORDS) else _ANY

    def _named(self, name: str, schema: Schema, indent: str) -> str:
        """One of several types."""
        if name == "object" and any(keyword in schema for keyword in _OBJECT_KEYWORDS):
            return self._object(schema, indent).text
        if name == "array" and any(keyword in schema for keyword in _ARRAY_KEYWORDS):
            return self._array(schema, indent).text
        return "number" if name == "integer" else name

    def _composed(self, schema: Schema, indent: str) -> Iterator[Type]:
        """What a reference and other schemas add."""
        if isinstance(ref := schema.get("$ref"), str):
            yield self._reference(ref, indent)
        for keyword in ("oneOf", "anyOf"):
            if isinstance(variants := schema.get(keyword), list) and variants:
                if any(isinstance(variant, Mapping) and _comments_behind(variant) for variant in variants):
                    yield self._union_lines(variants, indent)
                    continue
                written = [self._nullable(variant, self.type(variant, indent)) for variant in variants]
                telling = [part for part in written if part.text.split() != ["{", "}"]]
                if telling and _ANY not in telling:
                    texts = list(dict.fromkeys(_in_union(part, indent) for part in telling))
                    yield Type(
                        " | ".join(texts), len(texts) > 1 or telling[0].is_joined, any(p.has_null for p in telling)
                    )
        if isinstance(parts := schema.get("allOf"), list):
            yield from (self._nullable(part, self.type(part, indent)) for part in parts)

    def _reference(self, ref: str, indent: str) -> Type:
        self._met.add(ref)
        if ref in self._open_refs:
            name = ref.rsplit("/", 1)[-1].replace("*/", "")
            return Type(f"any /* {'the whole' if name == '#' else name}, as above */")
        place = ref, indent, self._depth
        known = self._known.get(place)
        if known is None or known.met.intersection(self._open_refs) != known.open:
            known = self._known[place] = self._followed(ref, indent)
        else:
            self._n_characters += len(known.written.text)
        self._met |= known.met
        return known.written

    def _followed(self, ref: str, indent: str) -> _Known:
        around, self._met = self._met, set()
        target = referent(self._root, ref)
        self._open_refs.append(ref)
        written = self._nullable(target, self.type(target, indent))
        self._open_refs.pop()
        met, self._met = frozenset(self._met), around
        return _Known(written, met, met.intersection(self._open_refs))

    def _union_lines(self, variants: list[Any], indent: str) -> Type:
        """Variants one a line: the type, then description and default."""
        lines, has_null = [], False
        for variant in variants:
            written = self._nullable(variant, self.type(variant, f"{indent}   "))
            has_null = has_null or written.has_null
            comments = _comments_behind(variant) if isinstance(variant, Mapping) else []
            lines.append(f"\n{indent} | {written.text}{' // ' if comments else ''}{' '.join(comments)}")
        return Type("".join(lines), True, has_null)

    def _nullable(self, schema: Any, written: Type) -> Type:
        is_nullable = isinstance(schema, Mapping) and schema.get("nullable") is True and not written.has_null
        return Type(f"{written.text} | null", True, True) if is_nullable else written

    def _array(self, schema: Schema, indent: str) -> Type:
        items, first = schema.get("items"), schema.get("prefixItems")
        if isinstance(items, list):
            items, first = schema.get("additionalItems"), items
        if isinstance(first, list):
            texts = [self._nullable(item, self.type(item, indent)).text for item in first]
            if isinstance(items, Mapping):
                texts.append(f"...{self._elements(items, indent)}")
            return Type(f"[{', '.join(texts)}]")
        return Type("Array<any>" if "items" not in schema else self._elements(items, indent))

    def _elements(self, items: Any, indent: str) -> str:
        return f"{self._nullable(items, self.type(items, indent)).enclosed(indent)}[]"

    def _object(self, schema: Schema, indent: str) -> Type:
        lines = []
        if isinstance(description := schema.get("description"), str):
            lines.append(f"{indent}// {description}\n")
        lines.append("{\n")
        properties = schema.get("properties")
        required = schema.get("required")
        required_names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        for name, value in properties.items() if isinstance(properties, Mapping) else ():
            lines += self._property(f"{name}{'' if name in required_names else '?'}", value, indent)
        patterns = schema.get("patternProperties")
        for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
            lines.append(f"{indent}// Keys that match {pattern}:\n")
            lines += self._property("[key: string]", value, indent)
        others = schema.get("additionalProperties")
        if others is True or isinstance(others, Mapping):
            lines += self._property("[key: string]", others, indent)
        return Type("".join(lines) + f"{indent}}}")

    def _property(self, declared: str, value: Any, indent: str) -> Iterator[str]:
        """A property's lines. declared: its name, with the mark of an optional one."""
        if not isinstance(value, Mapping):
            yield f"{indent}{declared}: {self.type(value, indent).text},\n"
            return
        variants = _lines(value)
        yield from _comments_above(self._with_description(value), indent, is_union=variants is not None)
        if variants is not None:
            yield from self._union_property(declared, value, variants, indent)
            return
        written = self._nullable(value, self.type(value, f"{indent}    "))
        default = f" // default: {_default(value)}" if "default" in value and not _is_odd(value) else ""
        yield f"{indent}{declared}: {written.text},{default}\n"

    def _with_description(self, value: Schema) -> Schema:
        """A bare reference is described by what it leads to; objects show their own description."""
        ref = value.get("$ref")
        target = referent(self._root, ref) if isinstance(ref, str) and "description" not in value else None
        if isinstance(target, Mapping) and target.get("type") != "object" and "description" in target:
            return {**value, "description": target["description"]}
        return value

    def _union_property(self, declared: str, value: Schema, variants: list[Any], indent: str) -> Iterator[str]:
        """A property with its variants one a line. A description that the first variant shares is not repeated."""
        description = value.get("description") if isinstance(value.get("description"), str) else None
        first = variants[0] if variants and isinstance(variants[0], Mapping) else {}
        shown = description is not None and first.get("description") != description
        if shown:
            yield f"{indent}// {description}\n"
        if "default" in value:
            yield f"{indent}// default: {_default(value)}\n"
        yield f"{indent}{declared}:\n"
        has_null = False
        for n, item in enumerate(variants):
            variant = item if isinstance(item, Mapping) else {}
            hidden = variant.get("description") if n == 0 and shown else description
            comments = _comments_behind(variant, hidden, is_property=True)
            written = self._nullable(variant, self.type(item, f"{indent}   "))
            has_null = has_null or written.has_null
            yield f"{indent} | {written.text}{' // ' if comments else ''}{' '.join(comments)}\n"
        if value.get("nullable") is True and not has_null:
            yield f"{indent} | null\n"
        yield f"{indent},\n"


def _lines(schema: Schema) -> list[Any] | None:
    """The variants to be written one a line: of a oneOf with nothing beside it, of an anyOf with words of its own."""
    one_of, any_of = schema.get("oneOf"), schema.get("anyOf")
    is_one_of = isinstance(one_of, list)
    others = ("anyOf", "allOf", "$ref") if is_one_of else ("oneOf", "allOf", "$ref", "type", "enum", "const")
    if any(keyword in schema for keyword in (*others, *_OBJECT_KEYWORDS)):
        return None
    if isinstance(one_of, list):
        return one_of
    is_told = isinstance(any_of, list) and any(isinstance(v, Mapping) and _comments_behind(v) for v in any_of)
    return any_of if is_told and isinstance(any_of, list) else None


def _in_union(part: Type, indent: str) -> str:
    return part.enclosed(indent) if part.text.startswith("\n") or " & " in part.text else part.text


def _comments_above(value: Schema, indent: str, is_union: bool) -> Iterable[str]:
    """What stands above a property: title, description, examples."""
    if isinstance(title := value.get("title"), str):
        yield f"{indent}// {title}\n{indent}//\n"
    if isinstance(description := value.get("description"), str) and not is_union and not _is_odd(value):
        yield f"{indent}// {description}\n"
    if isinstance(examples := value.get("examples"), list) and examples:
        yield f"{indent}// Examples:\n"
        for example in examples:
            written = f'"{example}"' if isinstance(example, str) else compact_json(example)
            yield f"{indent}// - {written}\n"


def _comments_behind(variant: Schema, hidden: object = None, is_property: bool = False) -> list[str]:
    """What stands behind a variant: description, unless it is the hidden one, and default."""
    comments = []
    if isinstance(description := variant.get("description"), str) and description != hidden:
        comments.append(description)
    if "default" in variant:
        is_quoted = _is_enum(variant) and not is_property
        comments.append(f"default: {compact_json(variant['default']) if is_quoted else _default(variant)}")
    return comments


def _is_odd(schema: Schema) -> bool:
    """Of a oneOf that is no list the reference takes the words away, and so do we."""
    return "oneOf" in schema and not isinstance(schema["oneOf"], list)


def _is_enum(schema: Schema) -> bool:
    return isinstance(schema.get("enum"), list) and bool(schema["enum"])


def _literals(schema: Schema) -> Type | None:
    """The values of const or enum as a union, or None. Strings are quoted but, as trained, not escaped."""
    values = [schema["const"]] if "const" in schema else schema["enum"] if _is_enum(schema) else []
    if schema.get("type") == "string" and "const" not in schema:
        values = [value for value in values if isinstance(value, str)]
    texts = [f'"{value}"' if isinstance(value, str) else compact_json(value) for value in values]
    return Type(" | ".join(texts), len(texts) > 1, None in values) if texts else None


def _default(schema: Schema) -> str:
    """A property's default: strings quoted, except beside an enum."""
    default = schema["default"]
    if isinstance(default, str):
        return default if _is_enum(schema) else f'"{default}"'
    return compact_json(default)


def compact_json(value: Any) -> str:
    """JSON without spaces; numbers as the reference prints them (1e-7, 0.00001, 1e16), NaN and infinity as null.

    Raises BadRequest for what is not JSON, or contains itself.
    """
    try:
        return _json(value)
    except RecursionError:
        raise BadRequest("A value is nested too deep to be written as JSON. Send it as text, or flatter.") from None


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join([f"{_json(str(key))}:{_json(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_json(item) for item in value]) + "]"
    if isinstance(value, float):
        return _shortest(value) if math.isfinite(value) else "null"
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise BadRequest(f"A value of type {type(value).__name__} is not JSON. Send it as text.") from None


def _shortest(value: float) -> str:
    """Python's digits are the shortest already; only where the exponent begins to be written differs."""
    written = repr(value)
    if "e" not in written:
        return written
    mantissa, exponent = written.split("e")
    if int(exponent) == -5:
        digits = mantissa.replace("-", "").replace(".", "")
        return f"{'-' if value < 0 else ''}0.0000{digits}"
    return f"{mantissa}e{int(exponent)}"
