"""Where a request has what LLM's options name otherwise: errors tell clients the field that they know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


@contextmanager
def told_of(fields: Mapping[str, str]) -> Iterator[None]:
    """Errors from inside name fields of the request in place of options. fields: by option, where they differ."""
    try:
        yield
    except HarmoniumError as error:
        if error.param is not None:
            error.param = fields.get(error.param, error.param)
        raise
