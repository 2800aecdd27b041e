"""Where a request has what LLM's options name otherwise: errors tell clients the field that they know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from harmonium.errors import HarmoniumError

CHAT = {
    "effort": "reasoning_effort",
    "identity": "chat_template_kwargs",
    "logprobs": "top_logprobs",
    "prompt": "messages",
}
RESPONSES = {
    "effort": "reasoning.effort",
    "logprobs": "top_logprobs",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "prompt": "input",
    "reasoning_budget": "reasoning.max_tokens",
    "response_format": "text.format",
}


LONGEST_SHOWN, MOST_SHOWN = 64, 32
"""Characters of a name, and names, that an answer says back."""


def shown(names: Sequence[str]) -> list[str]:
    """Names that clients sent, as they are told of them: long ones are cut, and of many the rest is counted."""
    told = [name if len(name) <= LONGEST_SHOWN else f"{name[: LONGEST_SHOWN - 1]}…" for name in names[:MOST_SHOWN]]
    return told if len(names) <= MOST_SHOWN else [*told, f"and {len(names) - MOST_SHOWN:,} more"]


@contextmanager
def told_of(fields: Mapping[str, str]) -> Iterator[None]:
    """Errors from inside name fields of the request in place of options. fields: by option, where they differ."""
    try:
        yield
    except HarmoniumError as error:
        if error.param is not None:
            error.param = fields.get(error.param, error.param)
        raise
