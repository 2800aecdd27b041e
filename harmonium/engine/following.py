"""What a chosen id means for its request: more tokens, a step of its constraint, an end. No torch."""

from __future__ import annotations

from harmonium.engine.constraint import Cursor, TableConstraint
from harmonium.engine.request import FinishReason, Request
from harmonium.engine.scheduler import Row

BAD = -1
"""Sampled where logits are not finite or a constraint allows nothing."""

Outcome = tuple[FinishReason, str | None, bool]
"""Why a request ends, what failed, and whether what it computed may be wrong."""


def constrain(request: Request, constraint: TableConstraint) -> str | None:
    """Begins the request's constraint; returns what went wrong."""
    try:
        request.cursor = Cursor(constraint)
        request.mask = request.cursor.mask() if request.cursor.needs_host else None
    except Exception as error:  # noqa: BLE001 - whatever a matcher raises ends its own request and no other
        return f"The constraint failed: {error!r}"
    return None


def follow_all(row: Row, sampled: list[int]) -> tuple[Outcome | None, int]:
    """Appends what was sampled, as far as the drafts before it stand; returns the request's end and how many stood."""
    request, drafts, cursor = row.request, row.drafts, row.request.cursor
    places = [] if cursor is None else cursor.ahead(drafts)
    for n_stood, token in enumerate(sampled):
        if token == BAD:
            message = "No id could be chosen: the constraint allows none here, or the model's logits are not finite."
            return (FinishReason.ERROR, message, True), n_stood
        n_before = len(request.tokens)
        reason, error = _follow(request, token)
        if reason is not None:
            return (reason, error, False), n_stood
        if n_stood == len(drafts) or token != drafts[n_stood] or len(request.tokens) > n_before + 1:
            break
        if cursor is not None and cursor.place != places[n_stood]:
            break
    return None, n_stood


def _follow(request: Request, token: int) -> tuple[FinishReason | None, str | None]:
    """Appends a sampled id and what is forced after it; returns why the request ends, if it does, and what failed."""
    cursor, following, n_before = request.cursor, [token], len(request.tokens)
    try:
        while following:
            request.tokens.append(following.pop(0))
            if request.tokens[-1] in request.params.stop_ids:
                return FinishReason.STOP, None
            if len(request.tokens) >= request.max_length:
                return FinishReason.LENGTH, None
            if cursor is not None:
                cursor.advance(request.tokens[-1])
                following = following or list(() if request.params.logprobs is not None else cursor.forced())
        if cursor is not None:
            request.mask = cursor.mask() if cursor.needs_host else None
    except Exception as error:  # noqa: BLE001 - whatever a matcher raises ends its own request and no other
        return FinishReason.ERROR, f"The constraint failed: {error!r}"
    if len(request.tokens) > n_before + 1 or (cursor is not None and cursor.is_moved):
        request.synced_at = -1  # the device stepped its table over the sampled id only, and sees no watch
        if cursor is not None:
            cursor.is_moved = False
    return None, None
