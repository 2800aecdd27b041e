"""JSON Schema to the TypeScript types that gpt-oss was trained to read.

Layout, comments and their places are those of the reference renderer, openai-harmony 0.0.8, to the character. Where it
says `any` and so loses what the schema says (anyOf, allOf, const, $ref, null, enums that are not strings), the type is
written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]
_PLAIN = {"number": "number", "integer": "number", "boolean": "boolean", "null": "null"}


def typescript(schema: Schema) -> str:
    """The type of one JSON Schema. Recursive references are cut with a comment."""
    return _Writer(schema).type(schema, "")


class _Writer:
    """Writes the types of one schema document; `root` is where its $refs lead."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._open_refs: list[str] = []

    def type(self, schema: Any, indent: str) -> str:
        if not isinstance(schema, Mapping):
            return "any"
        if isinstance(one_of := schema.get("oneOf"), list):
            return "".join(f"\n{indent} | {self._variant(variant, indent)}" for variant in one_of)
        declared = schema.get("type")
        if declared == "object":
            return self._object(schema, indent)
        if declared == "array":
            return f"{self.type(schema['items'], indent)}[]" if "items" in schema else "Array<any>"
        if (literals := _literals(schema)) is not None:
            return literals
        if isinstance(declared, list) and (names := [name for name in declared if isinstance(name, str)]):
            return " | ".join("number" if name == "integer" else name for name in names)
        if declared == "string":
            return "string"
        return _PLAIN.get(declared, "any") if isinstance(declared, str) else self._compound(schema, indent)

    def _compound(self, schema: Schema, indent: str) -> str:
        """A schema without a type: a reference, or others joined."""
        if isinstance(ref := schema.get("$ref"), str):
            return self._reference(ref, indent)
        for keyword, joint in (("anyOf", " | "), ("allOf", " & ")):
            variants = schema.get(keyword)
            if isinstance(variants, list) and variants:
                return joint.join(_distinct(_with_null(v, self.type(v, indent)) for v in variants))
        return "any"

    def _reference(self, ref: str, indent: str) -> str:
        if ref in self._open_refs:
            return f"any /* {ref.rsplit('/', 1)[-1]}, as above */"
        target: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        self._open_refs.append(ref)
        written = self.type(target, indent)
        self._open_refs.pop()
        return written

    def _variant(self, schema: Any, indent: str) -> str:
        """One line of a oneOf that is not a property's: the type, then description and default."""
        if not isinstance(schema, Mapping):
            return "any"
        written = _with_null(schema, self.type(schema, f"{indent}   "))
        comments = [schema["description"]] if isinstance(schema.get("description"), str) else []
        if "default" in schema:
            default = schema["default"]
            quoted = isinstance(default, str) and not _is_enum(schema)
            comments.append(f'default: "{default}"' if quoted else f"default: {compact_json(default)}")
        return f"{written} // {' '.join(comments)}" if comments else written

    def _object(self, schema: Schema, indent: str) -> str:
        lines = []
        if isinstance(description := schema.get("description"), str):
            lines.append(f"{indent}// {description}\n")
        lines.append("{\n")
        properties = schema.get("properties")
        required = schema.get("required")
        required_names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        for name, value in properties.items() if isinstance(properties, Mapping) else ():
            mark = "" if name in required_names else "?"
            value = value if isinstance(value, Mapping) else {}
            lines += self._comments(value, indent)
            if isinstance(value.get("oneOf"), list):
                lines += self._union_property(f"{name}{mark}", value, indent)
            else:
                written = _with_null(value, self.type(value, f"{indent}    "))
                default = f" // default: {_default(value)}" if "default" in value and "oneOf" not in value else ""
                lines.append(f"{indent}{name}{mark}: {written},{default}\n")
        return "".join(lines) + f"{indent}}}"

    def _comments(self, value: Schema, indent: str) -> Iterable[str]:
        """What stands above a property: title, description, examples."""
        if isinstance(title := value.get("title"), str):
            yield f"{indent}// {title}\n{indent}//\n"
        if isinstance(description := value.get("description"), str) and "oneOf" not in value:
            yield f"{indent}// {description}\n"
        if isinstance(examples := value.get("examples"), list) and examples:
            yield f"{indent}// Examples:\n"
            yield from (f'{indent}// - "{example}"\n' for example in examples if isinstance(example, str))

    def _union_property(self, declared: str, value: Schema, indent: str) -> Iterable[str]:
        """A property with oneOf: its comments, then one line per variant. declared: name and optional mark."""
        variants: list[Any] = value["oneOf"]
        description = value.get("description") if isinstance(value.get("description"), str) else None
        first = variants[0] if variants and isinstance(variants[0], Mapping) else {}
        shown = description is not None and first.get("description") != description
        if shown:
            yield f"{indent}// {description}\n"
        if "default" in value:
            yield f"{indent}// default: {_default(value)}\n"
        yield f"{indent}{declared}:\n"
        for n, item in enumerate(variants):
            variant = item if isinstance(item, Mapping) else {}
            comments = []
            own = variant.get("description")
            if isinstance(own, str) and own != description and not (n == 0 and shown):
                comments.append(own)
            if "default" in variant:
                comments.append(f"default: {_default(variant)}")
            written = _with_null(variant, self.type(variant, f"{indent}   "))
            yield f"{indent} | {written}{' // ' if comments else ''}{' '.join(comments)}\n"
        yield f"{indent},\n"


def _is_enum(schema: Schema) -> bool:
    return isinstance(schema.get("enum"), list) and bool(schema["enum"])


def _literals(schema: Schema) -> str | None:
    """The values of const or enum as a union, or None. Strings are quoted but, as trained, not escaped."""
    values = [schema["const"]] if "const" in schema else schema["enum"] if _is_enum(schema) else []
    if schema.get("type") == "string" and "const" not in schema:
        values = [value for value in values if isinstance(value, str)]
    return " | ".join(f'"{v}"' if isinstance(v, str) else compact_json(v) for v in values) or None


def _with_null(schema: Any, written: str) -> str:
    is_nullable = isinstance(schema, Mapping) and schema.get("nullable") is True
    return f"{written} | null" if is_nullable and "null" not in written else written


def _default(schema: Schema) -> str:
    """A property's default: strings quoted, except beside an enum."""
    default = schema["default"]
    if isinstance(default, str):
        return default if _is_enum(schema) else f'"{default}"'
    return compact_json(default)


def _distinct(written: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(written))


def compact_json(value: Any) -> str:
    """JSON without spaces; numbers as the reference prints them (1e-7, 0.00001, 1e16)."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{compact_json(str(key))}:{compact_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(compact_json, value)) + "]"
    if isinstance(value, float):
        return _shortest(value)
    return json.dumps(value, ensure_ascii=False)


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
