"""How long one core parses a token of harmony, as an answer streams.

    python -m benchmarks.parse

Tokens are fed one by one and their events dropped, in gpt-oss's published vocabulary, with no functions declared and
with a thousand. Each row is the best of nine rounds, so that what else the machine does counts little. Prints a table
and one last JSON line. The bound is 5 us.
"""

from __future__ import annotations

import json
import platform
import time

from harmonium.harmony.parse import Parser
from harmonium.harmony.vocabulary import Vocabulary
from tests.o200k import tokenizer_json

TURN = (
    "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant to=functions.get_weather<|channel|>commentary "
    '<|constrain|>json<|message|>{"city":"Lima"}<|call|>'
)
MALFORMED = "<|channel|>analysis??<|message|>A<|end|><|start|>assistant hm<|channel|>final huh<|message|>B<|return|>"
CASES = {
    "a long answer": "<|channel|>final<|message|>" + "Some words of an answer, and some more. " * 500,
    "a long answer in Japanese and emoji": "<|channel|>final<|message|>" + "日本語の文章も、🫠🦊も。" * 500,
    "a short turn: reasoning, a call": TURN,
    "malformed headers": MALFORMED,
    "no header, at length": "Well, this has no header at all, and goes on and on. " * 500,
    "a header that never ends": "<|channel|>analysis " + "?? " * 2000,
    "channel tokens, at length": "?<|channel|>" * 20_000,
    "start tokens, at length": "<|start|>" * 40_000,
    "start tokens and a sign, at length": "<|start|>?" * 20_000,
    "start tokens and a role, at length": "<|start|>assistant" * 10_000,
    "a closed header of signs": "<|channel|>" + " !" * 20_000 + "<|message|>",
    "a closed header of words": "<|channel|>" + " x" * 20_000 + "<|message|>",
    "nearly declared recipients": "<|channel|>commentary" + " to=functions.tool_9" * 2_000 + "<|message|>",
    "nearly declared words": "<|channel|>commentary" + " functions.tool_99" * 2_000 + "<|message|>",
    "channels and roles, at length": "<|channel|>assistant" * 10_000,
    "ends and channels, at length": "<|end|><|channel|>" * 10_000,
    "ends and a sign, at length": "<|end|>?" * 10_000,
}
FUNCTIONS = tuple(f"tool_{n}_of_many" for n in range(1000))
N_ROUNDS, N_TOKENS = 9, 20_000


def us_per_token(ids: list[int], vocabulary: Vocabulary, functions: tuple[str, ...]) -> float:
    """The best round of at least N_TOKENS tokens."""
    n_turns = max(1, N_TOKENS // len(ids))
    best = float("inf")
    for _ in range(N_ROUNDS):
        started = time.process_time()
        for _ in range(n_turns):
            parser = Parser(vocabulary, functions=functions)
            for id_ in ids:
                parser.feed(id_)
            parser.finish()
        best = min(best, time.process_time() - started)
    return best / (n_turns * len(ids)) * 1e6


def main() -> None:
    vocabulary = Vocabulary.from_file(tokenizer_json())
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one core\n")
    print(f"{'sequence':<38}{'tokens':>8}{'us/token':>10}{'declared':>10}")
    results = {}
    for name, text in CASES.items():
        ids = vocabulary.encode(text, parse_special=True)
        results[name] = [round(us_per_token(ids, vocabulary, functions), 2) for functions in ((), FUNCTIONS)]
        print(f"{name:<38}{len(ids):>8}{results[name][0]:>10.2f}{results[name][1]:>10.2f}")
    print(json.dumps({"benchmark": "parse", "us_per_token": results}))


if __name__ == "__main__":
    main()
