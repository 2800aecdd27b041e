"""What goes into the engine and what comes out: token ids, sampling parameters, finish reasons. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harmonium.errors import BadRequest


class FinishReason(StrEnum):
    STOP = "stop"
    """A stop id was produced; it is the last id of the output."""
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch the filters off.

    seed None draws a fresh one. max_tokens None means up to the context's end. stop_ids end the request and are part of
    its output; the engine itself knows no format.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        bounds = (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
        )
        for name, value, low, high in bounds:
            if not low <= value <= high:
                raise BadRequest(f"{name} is {value}; give a number from {low:g} to {high:g}.")
        if self.top_p == 0.0:
            raise BadRequest("top_p is 0, which leaves no token; give a number above 0, or temperature=0 for greedy.")
        if self.top_k < 0:
            raise BadRequest(f"top_k is {self.top_k}; give 0 (off) or a positive number.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadRequest(f"max_tokens is {self.max_tokens}; give a positive number.")


@dataclass(frozen=True)
class StepOutput:
    """New ids of one request after a step; finish_reason is set on its last output, error where that is ERROR."""

    request_id: int
    ids: tuple[int, ...]
    finish_reason: FinishReason | None = None
    error: str | None = None
