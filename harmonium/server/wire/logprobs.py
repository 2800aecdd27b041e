"""Chances of tokens as OpenAI's chat completions report them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harmonium.chat.events import TokenLogprob

LEAST = -9999.0
"""What OpenAI says of a token that is all but impossible; JSON has no infinities."""


def reported(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Each token with its chance, and the likeliest in its place."""
    return [_one(token) | {"top_logprobs": [_one(other) for other in token.top]} for token in tokens]


def finite(logprob: float) -> float:
    return max(logprob, LEAST)


def _one(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": finite(token.logprob), "bytes": list(token.bytes)}
