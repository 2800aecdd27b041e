"""Tokens of an answer as completions report them."""

from __future__ import annotations

from collections.abc import Sequence

from openai.types.completion_usage import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

from harmonium.chat.events import Usage


def completion_usage(prompts: Sequence[Sequence[Usage]]) -> CompletionUsage:
    """Of the answers to each prompt. A prompt counts once, however many answers it has."""
    usages = [usage for answers in prompts for usage in answers]
    prompt = sum(max(usage.prompt for usage in answers) for answers in prompts)
    completion = sum(usage.completion for usage in usages)
    cached = sum(min(usage.cached for usage in answers) for answers in prompts)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=sum(usage.reasoning for usage in usages)),
    )
