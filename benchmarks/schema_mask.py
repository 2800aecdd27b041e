"""What a JSON schema's mask costs a token, over the vocabulary of gpt-oss: 201,088 rows of logits.

    PYTHONPATH=. python benchmarks/schema_mask.py

Needs no weights. One body whose texts stay below their maxLength, as is usual, and one that fills one of them: near its
end a text's mask has to look at the length of every token. Prints a table and one last JSON line; milliseconds a token,
after the first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import mean, median, quantiles

from harmonium.cli.bench import BODY, SCHEMA, machine
from harmonium.harmony.grammar import Compiler, Grammar, Matcher
from harmonium.harmony.vocabulary import Vocabulary
from tests.o200k import tokenizer_json

N_ROWS = 201_088
REPEATS = 20
FILLED = BODY.replace("The quick brown fox jumps over", ("The quick brown fox jumps over the lazy dog. " * 2)[:80])


def main() -> None:
    vocabulary = Vocabulary.from_file(tokenizer_json())
    started = time.perf_counter()
    begin = Compiler(vocabulary, N_ROWS).compile(Grammar.json_schema(SCHEMA))
    rows = {"compile_s": round(time.perf_counter() - started, 2)}
    for name, text in (("usual", BODY), ("filled", FILLED)):
        first, later = times(begin, vocabulary.encode(text))
        rows |= {f"{name}_first_ms": round(first, 3), f"{name}_median_ms": round(median(later), 3)}
        rows |= {f"{name}_mean_ms": round(mean(later), 3), f"{name}_p95_ms": round(quantiles(later, n=20)[-1], 3)}
    for key, value in machine().items():
        print(f"{key}: {value}", end="  ")
    print(f"\n  compiling, the look at every token included   {rows['compile_s']:>8} s")
    for name in ("usual", "filled"):
        figures = "  ".join(f"{kind} {rows[f'{name}_{kind}_ms']:.3f}" for kind in ("first", "median", "mean", "p95"))
        print(f"  {name + ' body, ms a token':<44}  {figures}")
    print(json.dumps(machine() | rows))


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
