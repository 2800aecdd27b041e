"""What goes into the engine and what comes out: token ids, sampling parameters, finish reasons. No torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence, Sized
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral, Real
from operator import index

import numpy as np
from numpy.typing import NDArray

from harmonium.engine.constraint import Cursor
from harmonium.errors import BadRequest, PromptTooLong

MOST_LOGPROBS = 1000
REALS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
WHOLES = (("top_k", False), ("seed", True), ("max_tokens", True), ("logprobs", True))
"""Of SamplingParams; and whether it may be None."""


class FinishReason(StrEnum):
    STOP = "stop"
    """A stop id was produced; it is the last id of the output."""
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. temperature 0 is greedy; top_k 0, top_p 1 and min_p 0 switch the filters off.

    A temperature below 1e-5 counts as 0. Filters apply in this order, after the temperature: top_k, then top_p
    of what is left; min_p, relative to the likeliest token, on its own. Ids tied with the last one kept are kept too.
    Penalties and logit_bias, pairs of an id and what is added to its logit, come before all that: see adjust.py.
    seed None draws a fresh one; any integer is taken modulo 2 ** 64. max_tokens None means up to the context's end.
    stop_ids end the request and are part of its output; the engine itself knows no format. logprobs: how many of the
    likeliest ids to report beside each chosen one with its own chance, None for no report.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    max_tokens: int | None = None
    stop_ids: tuple[int, ...] = ()
    logprobs: int | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        bounds = (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
            ("presence_penalty", self.presence_penalty, -100.0, 100.0),
            ("frequency_penalty", self.frequency_penalty, -100.0, 100.0),
            ("logprobs", self.logprobs or 0, 0, MOST_LOGPROBS),
            *((f"logit_bias of {id_}", value, -1e4, 1e4) for id_, value in self.logit_bias),
        )
        for name, value, low, high in bounds:
            if not low <= value <= high:
                field = name.partition(" ")[0]
                raise BadRequest(f"{name} is {value}; give a number from {low:g} to {high:g}.", param=field)
        if self.top_p == 0.0:
            raise BadRequest(
                "top_p is 0, which leaves no token; give a number above 0, or temperature=0 for greedy.", param="top_p"
            )
        if self.top_k < 0:
            raise BadRequest(f"top_k is {self.top_k}; give 0 (off) or a positive number.", param="top_k")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadRequest(f"max_tokens is {self.max_tokens}; give a positive number.", param="max_tokens")
        self._normalize()

    def _normalize(self) -> None:
        """Python's own numbers in place of numpy's, of fractions and the like, which overflow or fail in a step."""
        for name in REALS:
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, is_optional in WHOLES:
            value = getattr(self, name)
            object.__setattr__(self, name, None if is_optional and value is None else int(value))
        object.__setattr__(self, "stop_ids", tuple(map(int, self.stop_ids)))
        object.__setattr__(self, "logit_bias", tuple((int(id_), float(value)) for id_, value in self.logit_bias))

    def _check_kinds(self) -> None:
        """Raises BadRequest for words and the like where numbers belong; numpy's are numbers, too."""
        for name in REALS:
            if not isinstance(getattr(self, name), Real):
                raise BadRequest(f"{name} is {getattr(self, name)!r}; give a number.", param=name)
        for name, is_optional in WHOLES:
            value = getattr(self, name)
            if isinstance(value, bool) or not (isinstance(value, Integral) or (is_optional and value is None)):
                raise BadRequest(f"{name} is {value!r}; give a whole number.", param=name)
        ids = self.stop_ids
        if not isinstance(ids, Collection) or not all(isinstance(id_, Integral) for id_ in ids):
            raise BadRequest(f"stop_ids is {ids!r}; give a list of token ids.", param="stop_ids")
        pairs = self.logit_bias if isinstance(self.logit_bias, Collection) else (None,)
        for pair in pairs:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Integral)) or not (
                isinstance(pair[1], Real)
            ):
                raise BadRequest(
                    f"logit_bias is {self.logit_bias!r}; give pairs of a token id and a number.", param="logit_bias"
                )

    @property
    def is_penalized(self) -> bool:
        """What has been said changes what is likely."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)


def checked(prompt_ids: Sequence[int], params: SamplingParams, context: int, vocab_size: int) -> list[int]:
    """The prompt as a list of its own.

    Raises BadRequest for an empty one or ids that the model lacks, PromptTooLong where the answer too has no room.
    """
    if not isinstance(prompt_ids, Sized):
        raise BadRequest(f"The prompt is {prompt_ids!r}; give a list of token ids.")
    n_prompt, n_wanted = len(prompt_ids), params.max_tokens or 0
    if not n_prompt:
        raise BadRequest("The prompt is empty; give at least one token.", param="prompt")
    if not n_wanted and n_prompt >= context:
        raise PromptTooLong(
            f"The prompt has {n_prompt} tokens, which leaves no room for an answer, for this model's maximum context "
            f"length is {context} tokens; shorten the prompt.",
            param="prompt",
        )
    if n_prompt + n_wanted > context:
        raise PromptTooLong(
            f"The prompt has {n_prompt} tokens and the answer may take {n_wanted}, but this model's "
            f"maximum context length is {context} tokens; shorten the prompt, or lower max_tokens.",
            param="prompt",
        )
    try:
        tokens = [index(id_) for id_ in prompt_ids]
    except TypeError:
        raise BadRequest("The prompt has something that is no token id; give whole numbers.", param="prompt") from None
    if min(tokens) < 0 or max(tokens) >= vocab_size:
        raise BadRequest(
            f"The prompt has ids outside of this model's vocabulary, 0 to {vocab_size - 1}.", param="prompt"
        )
    if any(not 0 <= id_ < vocab_size for id_, _ in params.logit_bias):
        raise BadRequest(
            f"logit_bias has ids outside of this model's vocabulary, 0 to {vocab_size - 1}.", param="logit_bias"
        )
    return tokens


def checked_wishes(n: int, priority: int, timeout_s: float | None) -> tuple[int, int, float | None]:
    """The three as Python's own numbers.

    Raises BadRequest for a number of answers or a priority that is no whole number, and for a time that is none.
    """
    if not isinstance(n, Integral) or n < 1:
        raise BadRequest(f"n is {n!r}; ask for at least one answer, by a whole number.", param="n")
    if not isinstance(priority, Integral):
        raise BadRequest(f"priority is {priority!r}; give a whole number.", param="priority")
    if timeout_s is None:
        return int(n), int(priority), None
    if not isinstance(timeout_s, Real) or timeout_s != timeout_s:
        raise BadRequest(f"timeout_s is {timeout_s!r}; give seconds, or None for no limit.")
    try:
        return int(n), int(priority), float(timeout_s)
    except OverflowError:  # a whole number beyond all floats
        return int(n), int(priority), math.inf if timeout_s > 0 else -math.inf


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """An id and the natural logarithm of the chance that the model gave it; top: the likeliest ids with theirs."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class StepOutput:
    """New ids of one request after a step; finish_reason is set on its last output, error where that is ERROR: in
    words, or as a BadRequest where it is the fault of what was asked for.

    n_cached: tokens of its prompt that were in the cache when it began, and were not computed anew. logprobs: one for
    each of ids, where the request asked for them.
    """

    request_id: int
    ids: tuple[int, ...]
    finish_reason: FinishReason | None = None
    error: str | BadRequest | None = None
    n_cached: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Generation:
    """A whole answer: every id produced, the stop id included, and why it ended; error as in `StepOutput`.

    n_cached: tokens of its prompt that were in the cache. logprobs: one for each of ids, if asked for.
    """

    ids: tuple[int, ...]
    finish_reason: FinishReason
    error: str | BadRequest | None = None
    n_cached: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()

    @classmethod
    def of(cls, outputs: Sequence[StepOutput]) -> Generation:
        """All outputs of a request that has ended, in one."""
        last = outputs[-1]
        assert last.finish_reason is not None, "the last one tells why"
        ids = tuple(id_ for output in outputs for id_ in output.ids)
        logprobs = tuple(one for output in outputs for one in output.logprobs)
        return cls(ids, last.finish_reason, last.error, last.n_cached, logprobs)


@dataclass(eq=False, slots=True)
class Request:
    """One request inside the engine; those of higher priority are served first, older ones before younger.

    tokens: the prompt (n_prompt of them), then the output so far. n_computed: how many of them have keys and values in
    the cache. max_length: tokens at which it ends. seed: any integer.
    lane: its place among those that run, -1 while it waits. n_cached: tokens of the prompt that the cache had when it
    first got a lane, -1 before. names: of its tokens' full pages, as far as they were needed. waits_for: the name of
    the page that it waits for, because another request computes it, or none.
    n_flying: ids that steps on the device are choosing for it, which are not among its tokens yet; n_computed counts
    what those steps compute.
    cursor: its place in its constraint, and mask the ids allowed next where a matcher decides. synced_at: the arena's
    generation in which the device last had the cursor's place, and n_counted the tokens that it has counted for
    penalties, -1 where it must be sent all. drafts: ids guessed to follow its tokens, for the next step to try.
    n_taken: tokens in pages of others that it took over when it got its lane; none where it is_alone.
    """

    id: int
    tokens: list[int]
    params: SamplingParams
    seed: int
    max_length: int
    cursor: Cursor | None = None
    priority: int = 0
    n_prompt: int = field(init=False)
    n_computed: int = 0
    n_flying: int = 0
    n_cached: int = -1
    lane: int = -1
    names: list[bytes] = field(default_factory=list)
    waits_for: bytes = b""
    mask: NDArray[np.int32] | None = None
    synced_at: int = -1
    n_counted: int = -1
    drafts: tuple[int, ...] = ()
    n_taken: int = 0
    is_alone: bool = False

    def __post_init__(self) -> None:
        self.n_prompt = len(self.tokens)

    def anew(self) -> Request:
        """The request as far as it has come, with nothing computed, that takes over nobody's pages."""
        fresh = Request(
            *(self.id, self.tokens, self.params, self.seed, self.max_length, self.cursor, self.priority),
            n_cached=0,
            mask=self.mask,
            is_alone=True,
        )
        fresh.n_prompt = self.n_prompt
        return fresh

    @property
    def n_pending(self) -> int:
        """Tokens known and not yet computed: the prompt's rest, or the last id, be it sampled or still flying."""
        return len(self.tokens) + self.n_flying - self.n_computed

    @property
    def awaits_host(self) -> bool:
        """Its flying id has to be known before a step may follow it: that id may end it, or decides what may come next.

        An id that ends it otherwise, which only the host sees, makes the step that follows it one for nothing.
        """
        if not self.n_flying:
            return False
        if len(self.tokens) + self.n_flying >= self.max_length or self.params.is_penalized:
            return True
        return self.cursor is not None and self.cursor.awaits_host

    @property
    def rank(self) -> tuple[int, int]:
        """Requests are served in the order of their ranks."""
        return -self.priority, self.id

    def forget_device(self) -> None:
        """The device's state of this request is lost or wrong, and must be sent with its next step."""
        self.synced_at = self.n_counted = -1
