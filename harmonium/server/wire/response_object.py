"""The response object: every field that OpenAI's type has, null where it is not set.

`Head` is what a response is from its beginning; `Head.object` is the object at a moment, with what has been said and
used until then.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import Response

from harmonium.chat.events import Done, FinishReason, Repair, Usage
from harmonium.errors import HarmoniumError
from harmonium.server.store_conversations import Page
from harmonium.server.wire.fields import shown

FIELDS: dict[str, None] = dict.fromkeys(Response.model_fields)
LONGEST_METADATA = 512
STATUS = {
    FinishReason.STOP: "completed",
    FinishReason.TOOL_CALLS: "completed",
    FinishReason.TOOL_ROUNDS: "incomplete",
    FinishReason.LENGTH: "incomplete",
    FinishReason.ABORT: "cancelled",
    FinishReason.ERROR: "failed",
}


@dataclass
class Notes:
    """What a client should know of how its request was taken, told in the metadata: by name, as short texts."""

    not_offered: Sequence[str] = ()
    not_read: Sequence[str] = ()
    ignored: Sequence[str] = ()
    repairs: list[Repair] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reasoning_cut: str | None = None

    def metadata(self) -> dict[str, str]:
        told = {
            "harmony_not_offered": ", ".join(shown(self.not_offered)),
            "harmony_not_read": ", ".join(shown(self.not_read)),
            "harmony_ignored": ", ".join(shown(self.ignored)),
            "harmony_repairs": ", ".join(f"{repair.kind}@{repair.at}" for repair in self.repairs),
            "harmony_refused_calls": ", ".join(self.refused),
            "harmony_reasoning_cut": self.reasoning_cut or "",
        }
        return {name: _short(text) for name, text in told.items() if text}


@dataclass(frozen=True)
class Head:
    """said_back: the fields that say what was asked for."""

    id: str
    created_at: int
    model: str
    said_back: Mapping[str, Any]
    metadata: Mapping[str, str]

    @staticmethod
    def new(model: str, said_back: Mapping[str, Any], metadata: Mapping[str, str] | None) -> Head:
        return Head(f"resp_{secrets.token_hex(24)}", int(time.time()), model, said_back, metadata or {})

    def object(
        self,
        status: str,
        output: Sequence[Mapping[str, Any]] = (),
        *,
        usage: Usage | None = None,
        notes: Notes | None = None,
        error: Mapping[str, str] | None = None,
        incomplete: str | None = None,
    ) -> dict[str, Any]:
        """The object as it is now. incomplete: why it is, where it is."""
        return {
            **FIELDS,
            **self.said_back,
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "model": self.model,
            "output": list(output),
            "error": error,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "metadata": {**self.metadata, **({} if notes is None else notes.metadata())},
            "usage": None if usage is None else usage_of(usage),
        }

    def finished(self, done: Done, output: Sequence[Mapping[str, Any]], notes: Notes) -> dict[str, Any]:
        """The object at the end of a turn."""
        status = STATUS[done.finish_reason]
        incomplete = "max_output_tokens" if status == "incomplete" else None
        error = error_of(None) if status == "failed" else None
        return self.object(status, output, usage=done.usage, notes=notes, error=error, incomplete=incomplete)


def listed(page: Page) -> dict[str, Any]:
    """A part of a list of items."""
    ids = [item["id"] for item in page.items]
    ends = {"first_id": ids[0] if ids else "", "last_id": ids[-1] if ids else ""}
    return {"object": "list", "data": list(page.items), **ends, "has_more": page.has_more}


def usage_of(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": max(0, usage.prompt - usage.cached),
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def error_of(error: HarmoniumError | None) -> dict[str, str]:
    """A failure as the object has it: OpenAI names few codes."""
    code = "rate_limit_exceeded" if error is not None and error.status == 429 else "server_error"
    return {"code": code, "message": str(error) if error is not None else "The request failed."}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_METADATA else f"{text[: LONGEST_METADATA - 1]}…"
