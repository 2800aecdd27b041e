"""Text to /v1/completions' objects, which in a stream and whole have the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage

from harmonium.chat.events import TokenLogprob
from harmonium.server.wire.logprobs import finite


@dataclass
class Text:
    """An answer as it grows; it is its pieces, joined."""

    index: int
    has_logprobs: bool
    text: str = ""
    finish_reason: str | None = None
    logprobs: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, text: str, tokens: Sequence[TokenLogprob], finish_reason: str | None) -> dict[str, Any]:
        """A piece as a choice of its own."""
        logprobs = _logprobs(tokens, len(self.text)) if self.has_logprobs else None
        self.text += text
        self.finish_reason = finish_reason
        for name, values in (logprobs or {}).items():
            self.logprobs.setdefault(name, []).extend(values)
        return _choice(self.index, text, logprobs, finish_reason)

    @property
    def choice(self) -> dict[str, Any]:
        """The whole."""
        return _choice(self.index, self.text, self.logprobs if self.has_logprobs else None, self.finish_reason)


@dataclass(frozen=True)
class Head:
    """What every object of one request begins with."""

    id: str
    created: int
    model: str

    def completion(
        self, choices: list[dict[str, Any]], usage: CompletionUsage | None, extra: dict[str, Any]
    ) -> dict[str, Any]:
        fields = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}
        return fields | {"choices": choices, "usage": usage and usage.model_dump(exclude_unset=True)} | extra


def _choice(index: int, text: str, logprobs: dict[str, list[Any]] | None, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, list[Any]]:
    """text_offset: where each token's text begins in the answer."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [finite(token.logprob) for token in tokens],
        "top_logprobs": [{other.text: finite(other.logprob) for other in token.top} for token in tokens],
        "text_offset": offsets,
    }
