"""Tokens of an answer as completions report them."""

from __future__ import annotations

from collections.abc import Sequence

from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

from harmonium.chat.events import Usage


def completion_usage(usages: Sequence[Usage]) -> CompletionUsage:
    """Of several answers to one prompt, which counts once."""
    prompt = max((usage.prompt for usage in usages), default=0)
    completion = sum(usage.completion for usage in usages)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=min((usage.cached for usage in usages), default=0)),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=sum(usage.reasoning for usage in usages)),
    )
