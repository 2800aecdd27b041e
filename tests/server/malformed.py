"""Bodies that are none, by seed: cut, no JSON at all, or with fields of the wrong kind or beyond every bound."""

from __future__ import annotations

import json
import random
from typing import Any

MESSAGES = [{"role": "user", "content": "What is 2 + 2?"}]
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 4, "temperature": 0.5, "tools": [], "stop": "x"},
    "/v1/completions": {"prompt": "What is", "max_tokens": 4, "n": 2, "logprobs": 1, "stop": ["x", "y"]},
    "/v1/responses": {"input": "What is 2 + 2?", "max_output_tokens": 16, "store": False, "temperature": 0.5},
    "/tokenize": {"messages": MESSAGES, "reasoning_effort": "low"},
    "/detokenize": {"tokens": [1, 2, 3]},
}
NOT_A_NUMBER: list[Any] = ["hot", [], {}, [1], float("nan"), -1e9, 1e308]
SAMPLING: dict[str, list[Any]] = {
    "temperature": NOT_A_NUMBER,
    "top_p": [*NOT_A_NUMBER, 0, 1.1],
    "stream": ["maybe", [], {}, 7],
}
MORE: dict[str, list[Any]] = {
    "top_k": ["x", [], {}, -1, 1.5],
    "min_p": [*NOT_A_NUMBER, 2],
    "n": [0, -1, 1.5, "two", [], {}, 10**6],
    "max_tokens": [-2, "x", 1.5, [], {}, 0.1],
    "stop": [5, [1], [""], {}, ["x"] * 17],
    "seed": ["x", 1.5, [], {}],
    "presence_penalty": NOT_A_NUMBER,
    "repetition_penalty": [*NOT_A_NUMBER, 0],
    "logit_bias": [{"a": 1}, [1], "x", {"1": "x"}, {"-1": 1}, {"999999999": 1}, {"1": 1e9}],
}
SCHEMAS: list[Any] = ["json", [], {"type": "json_schema"}, {"type": "xml"}, {"type": "json_schema", "json_schema": 5}]
TOOLS: list[Any] = [{}, "x", [1], [{"type": "function"}], [{"type": "function", "function": {"name": 5}}], 7]
WRONG: dict[str, dict[str, list[Any]]] = {
    "/v1/chat/completions": SAMPLING
    | MORE
    | {
        "messages": [
            "x",
            5,
            [],
            [1],
            [[]],
            {},
            [{}],
            [{"role": "king", "content": "x"}],
            [{"role": "user", "content": 5}],
        ],
        "tools": TOOLS,
        "tool_choice": [5, [], "unknown", {"type": "function", "function": {"name": "unknown"}}],
        "response_format": SCHEMAS,
        "reasoning_effort": ["most", 5, [], {}],
        "top_logprobs": [21, -1, "x", []],
    },
    "/v1/completions": SAMPLING
    | MORE
    | {
        "prompt": ["", [], [[]], {}, 5, [1, "a"], [-1], [10**30], [[1], []], [None]],
        "logprobs": [-1, 21, "x", []],
        "suffix": ["y", 5, []],
    },
    "/v1/responses": SAMPLING
    | {
        "input": [5, {}, [5], [[]], [{"role": "king", "content": "x"}]],
        "tools": TOOLS,
        "max_output_tokens": [0, -5, "x", 1.5, [], {}],
        "previous_response_id": ["resp_unknown", 5, []],
        "reasoning": [5, [], "x", {"effort": "most"}],
        "text": [5, [], {"format": {"type": "xml"}}, {"format": 5}],
    },
    "/tokenize": {"messages": ["x", 5, [1], [{}], []], "prompt": [5, [], {}, "both"]},
    "/detokenize": {"tokens": ["x", 5, [-1], [10**30], ["a"], [None], {}]},
}


def malformed(seed: int) -> tuple[str, bytes]:
    """A path, and a body that it cannot take."""
    drawn = random.Random(seed)
    path = drawn.choice(list(VALID))
    valid = json.dumps(VALID[path]).encode()
    kind = drawn.randrange(4)
    if kind == 0:
        return path, valid[: drawn.randrange(len(valid))]
    if kind == 1:
        return path, b"\x00" + drawn.randbytes(drawn.randrange(200))
    if kind == 2:
        return path, drawn.choice([b"[]", b"null", b"5", b'"x"', b"true", b"[" * 50_000, b'{"a":' * 50_000, b"{}x"])
    wrong = WRONG[path]
    body = dict(VALID[path])
    for name in drawn.sample(list(wrong), min(len(wrong), drawn.randint(1, 3))):
        body[name] = drawn.choice(wrong[name])
    return path, json.dumps(body).encode()
