"""What a chosen id means for its request: more tokens, a step of its constraint, an end. No torch."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from harmonium.engine.constraint import Cursor, TableConstraint
from harmonium.engine.request import FinishReason, Request
from harmonium.engine.scheduler import Row
from harmonium.errors import BadRequest

BAD = -1
"""Sampled where logits are not finite or a constraint allows nothing."""

DEAD_END = "The constraint allows no id here; give one that every beginning of it can complete."

Failure = str | BadRequest | None
Outcome = tuple[FinishReason, Failure, bool]
"""Why a request ends, what failed, and whether what it computed may be wrong."""


def constrain(request: Request, constraint: TableConstraint, *, jumps: bool = False) -> Failure:
    """Begins the request's constraint, as `Cursor` has it; returns what went wrong."""
    try:
        request.cursor = Cursor(constraint, jumps=jumps)
        request.mask = request.cursor.mask() if request.cursor.needs_host else None
    except Exception as error:  # noqa: BLE001 - whatever a matcher raises ends its own request and no other
        return _told(error)
    return None


def follow_all(row: Row, sampled: list[int]) -> tuple[Outcome | None, int]:
    """Appends what was sampled, as far as the drafts before it stand; returns the request's end and how many stood."""
    request, drafts, cursor = row.request, row.drafts, row.request.cursor
    places = [] if cursor is None or not drafts else cursor.ahead(drafts)
    for n_stood, token in enumerate(sampled):
        if token == BAD:
            if cursor is not None and not _allowed(request, cursor).any():  # no fault of what was computed
                return (FinishReason.ERROR, DEAD_END, False), n_stood
            return (FinishReason.ERROR, "The model's logits are not finite, so no id could be chosen.", True), n_stood
        n_before = len(request.tokens)
        reason, error = _follow(request, token)
        if reason is not None:
            return (reason, error, False), n_stood
        if n_stood == len(drafts) or token != drafts[n_stood] or len(request.tokens) > n_before + 1:
            break
        if cursor is not None and cursor.place != places[n_stood]:
            break
    return None, n_stood


def _follow(request: Request, token: int) -> tuple[FinishReason | None, Failure]:
    """Appends a sampled id and what is forced after it; returns why the request ends, if it does, and what failed."""
    tokens, cursor, n_before = request.tokens, request.cursor, len(request.tokens)
    following = deque((token,))
    try:
        while following:
            tokens.append(following.popleft())
            if tokens[-1] in request.params.stop_ids:
                return FinishReason.STOP, None
            if len(tokens) >= request.max_length:
                return FinishReason.LENGTH, None
            if cursor is not None:
                cursor.advance(tokens[-1])
                if not following and request.params.logprobs is None:
                    following.extend(cursor.forced())
        if cursor is None:
            return None, None
        request.mask = cursor.mask() if cursor.needs_host else None
    except Exception as error:  # noqa: BLE001 - whatever a matcher raises ends its own request and no other
        return FinishReason.ERROR, _told(error)
    if cursor.is_moved or len(tokens) > n_before + 1:
        request.synced_at = -1  # the device stepped its table over the sampled id only, and sees no watch
        cursor.is_moved = False
    return None, None


def _allowed(request: Request, cursor: Cursor) -> NDArray[np.int32]:
    """The mask that the sampled id was to obey."""
    return cursor.mask() if request.mask is None else request.mask


def _told(error: Exception) -> str | BadRequest:
    """What went wrong, without the step's memory that a traceback would keep."""
    if isinstance(error, BadRequest):
        return error.with_traceback(None)
    return f"The constraint failed: {in_words(error)}"


def in_words(error: BaseException) -> str:
    """An error of anybody's, who may have failed to say how it is told."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 - what it would have said matters less than the request that it ends
        return type(error).__name__
