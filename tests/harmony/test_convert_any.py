"""Whatever people hand over as messages and tools becomes a prompt or is refused with a remedy."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmonium.errors import BadRequest
from harmonium.harmony.convert import conversation, to_dicts
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary

WORDS = st.sampled_from(
    ["", "f", "look up", "user", "assistant", "final", "analysis", "text", "\ud800", "日本", "<|end|>"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | WORDS | st.just(float("nan")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "input_text"])}, optional={"text": JSON})
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({}, optional={"name": WORDS | JSON, "arguments": WORDS | JSON})},
        optional={"id": WORDS | JSON},
    ),
    max_size=2,
)
ROLES = st.sampled_from(["user", "assistant", "assistant", "tool", "system", "developer", "function"])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES | JSON},
    optional={
        "content": WORDS | PARTS | JSON,
        "name": WORDS | JSON,
        "tool_calls": CALLS | CALLS | JSON,
        "tool_call_id": WORDS | JSON,
        "reasoning": WORDS | JSON,
        "thinking": WORDS | JSON,
        "function_call": JSON,
        "refusal": WORDS | JSON,
        "channel": WORDS | JSON,
    },
)
HEADERS = st.fixed_dictionaries(
    {"role": ROLES, "recipient": WORDS | JSON},
    optional={"channel": WORDS | JSON, "content_type": WORDS | JSON, "name": WORDS | JSON, "content": WORDS | JSON},
)
TOOLS = st.fixed_dictionaries({"name": WORDS | JSON}, optional={"parameters": JSON, "description": WORDS | JSON})


@given(messages=st.lists(MESSAGES | MESSAGES | HEADERS, min_size=1, max_size=4), tools=st.lists(TOOLS, max_size=2))
@example(messages=[{"role": "user", "content": "Hi"}], tools=[{"name": "f", "parameters": {"properties": {1: {}}}}])
@settings(max_examples=500, deadline=None)
def test_anything_is_rendered_or_refused(messages: list[Any], tools: list[Any], o200k: Vocabulary) -> None:
    try:
        said = conversation(messages, tools=tools)
        ids = render(said, o200k)
    except BadRequest as error:
        assert str(error).rstrip().endswith(".")
        return
    assert all(id_ in range(o200k.size) for id_ in ids)
    parse(ids, o200k, role=None)
    to_dicts(said.messages)
