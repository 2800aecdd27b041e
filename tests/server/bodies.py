"""Bodies as clients send them, and what becomes of them when any part is replaced by something else."""

from __future__ import annotations

import random
from typing import Any

TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"role": "developer", "content": "Be brief."},
    {
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Yes?", "annotations": []}],
        "phase": "commentary",
    },
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAAA"},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "*** Begin"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "done"}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
    {"type": "local_shell_call", "call_id": "call_3", "action": {"type": "exec", "command": ["ls"], "env": {}}},
    {"type": "local_shell_call_output", "id": "call_3", "output": "{}"},
    {"type": "mcp_call", "id": "mcp_1", "name": "g", "arguments": "{}", "output": "9", "server_label": "s"},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    {"type": "compaction", "encrypted_content": "gAAAA"},
    {"type": "item_reference", "id": "msg_1"},
]
BODY: dict[str, Any] = {
    "model": "nano",
    "input": ITEMS[:-1],
    "instructions": "Be kind.",
    "tools": [TOOL, {"type": "web_search"}, {"type": "custom", "name": "patch", "format": {"type": "text"}}],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto", "max_tokens": 5},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "max_output_tokens": 2,
    "max_tool_calls": 3,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 2,
    "truncation": "auto",
    "metadata": {"key": "value"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "stream": False,
    "user": "u",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "conversation": None,
    "previous_response_id": None,
    "background": False,
    "stop": ["END"],
    "seed": 1,
}
ODD = (
    *(None, True, False, 0, -1, 1, 2**63, 2**200, 0.5, 1e308, float("inf"), float("nan")),
    *("", "x", "\x00", "\ud800", "a" * 2000, "none", "required", "auto"),
    *([], [None], [[]], ["x"], [1], [{}], [{"type": "message"}], [{"type": []}], [{"role": "user"}]),
    *(
        {},
        {"type": None},
        {"type": "function"},
        {"type": "x", "name": 1},
        {"id": {}},
        {"role": "user", "content": [{}]},
    ),
    *({"type": "json_schema", "schema": {"$ref": "#"}}, {"type": "json_schema", "name": "n", "schema": {"type": "?"}}),
)


def mutated(body: Any, chance: random.Random, n_changes: int) -> Any:
    """A body with some of its parts, at any depth, replaced, removed or doubled."""
    for _ in range(n_changes):
        body = _mutate(body, chance)
    return body


def _mutate(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        kept = [*value[:at], *([_mutate(value[at], chance)] if chance.random() < 0.8 else []), *value[at + 1 :]]
        return [*kept, chance.choice(kept)] if kept and chance.random() < 0.1 else kept
    name = chance.choice([*value])
    kept = {key: one for key, one in value.items() if key != name}
    if chance.random() < 0.1:
        return kept
    return {**kept, (name if chance.random() < 0.95 else "other"): _mutate(value[name], chance)}
