"""What a JSON schema's mask costs a token, over the vocabulary of gpt-oss: 201,088 rows of logits.

    PYTHONPATH=. python benchmarks/schema_mask.py

Needs no weights. Several kinds of schema, each with a body: what costs is a text whose end is near, where the length of
every token counts, and a pattern that says more than which characters. Prints a table and one last JSON line;
milliseconds a token, after the first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import mean, median, quantiles
from typing import Any

from harmonium.cli.bench import BODY, SCHEMA
from harmonium.hardware import machine
from harmonium.harmony.grammar import Compiler, Grammar, Matcher
from harmonium.harmony.vocabulary import Vocabulary
from tests.o200k import tokenizer_json

N_ROWS = 201_088
REPEATS = 20
FILLED = BODY.replace("The quick brown fox jumps over", ("The quick brown fox jumps over the lazy dog. " * 2)[:80])


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def text(**limits: Any) -> dict[str, Any]:
    return {"type": "string", **limits}


NUMBER, FOX = {"type": "integer"}, "The quick brown fox jumps over the lazy dog"
MIXED = {"type": "array", "items": {"anyOf": [text(maxLength=40), NUMBER, {"type": "array", "items": NUMBER}]}}
PET = {"anyOf": [fields(kind={"const": kind}, name=text(maxLength=30)) for kind in ("cat", "dog")]}
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "bench's, usual": (SCHEMA, BODY),
    "bench's, a text filled": (SCHEMA, FILLED),
    "any object": ({"type": "object"}, json.dumps({"name": FOX, "n": [1, 2.5, None], "more": {"is": True}})),
    "nested, enums, numbers": (
        fields(pets={"type": "array", "items": PET}),
        '{"pets":[{"kind":"dog","name":"Rex II"}]}',
    ),
    "text of 20 to 60": (fields(a=text(minLength=20, maxLength=60)), json.dumps({"a": f"{FOX} again"})),
    "texts, numbers, lists": (MIXED, json.dumps([FOX[:30], 5, [1, 2, 3], "lazy dogs"])),
    "date-time and email": (
        fields(at=text(format="date-time"), to=text(format="email")),
        '{"at":"2024-05-06T10:11:12Z","to":"some.one@example.com"}',
    ),
    "pattern of a date": (fields(a=text(pattern=r"^\d{4}-\d{2}-\d{2}$")), '{"a":"2024-05-06"}'),
    "pattern of a price": (fields(a=text(pattern=r"^\$?\d{1,3}(,\d{3})*(\.\d{2})?$")), '{"a":"$1,234,567.89"}'),
    "pattern of an address": (fields(a=text(pattern=r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")), '{"a":"some.one@example.com"}'),
    "^[A-Za-z ]{0,80}$": (fields(a=text(pattern="^[A-Za-z ]{0,80}$")), json.dumps({"a": FOX})),
    "^[a-z_][a-z0-9_]{0,30}$": (fields(a=text(pattern="^[a-z_][a-z0-9_]{0,30}$")), '{"a":"name_of_a_thing"}'),
    "^[a-z]+( [a-z]+){3,12}$": (fields(a=text(pattern="^[a-z]+( [a-z]+){3,12}$")), json.dumps({"a": FOX.lower()})),
    "^([a-z]+ ){3,12}[a-z]+$": (fields(a=text(pattern="^([a-z]+ ){3,12}[a-z]+$")), json.dumps({"a": FOX.lower()})),
}


def main() -> None:
    vocabulary = Vocabulary.from_file(tokenizer_json())
    started = time.perf_counter()
    compiler = Compiler(vocabulary, N_ROWS)
    compiler.compile(Grammar.json_object())
    found: dict[str, Any] = {"compile_s": round(time.perf_counter() - started, 2)}
    for key, value in machine().items():
        print(f"{key}: {value}", end="  ")
    print(f"\n  compiling, the look at every token included: {found['compile_s']} s\n")
    print(f"  {'ms a token':<26}{'first':>8}{'median':>8}{'mean':>8}{'p95':>8}")
    for name, (schema, said) in KINDS.items():
        first, later = times(compiler.compile(Grammar.json_schema(schema)), vocabulary.encode(said))
        figures = {"first": first, "median": median(later), "mean": mean(later), "p95": quantiles(later, n=20)[-1]}
        found[name] = {kind: round(figure, 3) for kind, figure in figures.items()}
        print(f"  {name:<26}" + "".join(f"{figure:>8.3f}" for figure in figures.values()))
    print(json.dumps(machine() | found))


def times(begin: Callable[[], Matcher], ids: list[int]) -> tuple[float, list[float]]:
    """Milliseconds of the median first token, and of each later one: its mask, and taking it."""
    first, later = list[float](), list[float]()
    for _ in range(REPEATS):
        matcher = begin()
        for number, id_ in enumerate(ids):
            started = time.perf_counter()
            matcher.mask()
            matcher.accept(id_)
            (later if number else first).append(1e3 * (time.perf_counter() - started))
        assert matcher.can_end()
    return median(first), later


if __name__ == "__main__":
    main()
