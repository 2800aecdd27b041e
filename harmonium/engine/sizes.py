"""How many bytes a model and its engine take: weights, keys and values, what a step needs besides. No torch.

The engine allocates by these numbers, and `plan` adds them up before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from numbers import Integral

from harmonium.engine.kv_cache import pages_for
from harmonium.errors import BadRequest, NotEnoughMemory
from harmonium.model import layout
from harmonium.model.config import PAGE_SIZE, ModelConfig

BYTES = {"float32": 4, "bfloat16": 2}
INT8_BYTES = 1 + 2 / 32
"""Of a weight in int8, and its part of a scale."""
LOGIT_BYTES = {"cpu": 36, "cuda": 48}
"""What sampling takes for a logit at its worst, with noise and top-p: logits, masked and sorted, and their places."""
PROGRAM_BYTES = {"cpu": 500 * 10**6, "cuda": 10**9}
"""Python and its libraries; on a GPU the driver's context, loaded kernels, and what the allocator leaves over."""
LEFT_OVER_BYTES = {"cpu": 0, "cuda": 5 * 10**8}
"""Of those, what the allocator holds in pieces too small for anything: seen beside 20b on an H200 held to 16 GB."""
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
LEAST_ROWS = 8
"""Requests at once that an engine takes on a small GPU, too, unless a context is asked for that leaves no room."""
LEAST_BUDGET = 256
"""Tokens of a step, below which prompts would be read in crumbs; an engine takes fewer where it is told to."""
MOST_ROWS = 256
WINDOWS_SHARE = 1 / 16
"""Of a CPU's cache: what the windows of a small model's requests may take, so that it serves more of them at once."""


@dataclass(frozen=True)
class Defaults:
    """What an engine takes on a kind of device unless it is told otherwise."""

    n_rows: int
    token_budget: int
    cache_bytes: int
    kept_tokens: int | None


CPU = Defaults(n_rows=32, token_budget=512, cache_bytes=2**31, kept_tokens=2**15)
ACCELERATOR = Defaults(n_rows=MOST_ROWS, token_budget=8192, cache_bytes=2**33, kept_tokens=None)


def defaults_for(device: str) -> Defaults:
    return CPU if device == "cpu" else ACCELERATOR


def most_rows(config: ModelConfig, device: str) -> int:
    """Requests at once that an engine takes unless it is told otherwise, where there is memory for them.

    A small model on a CPU takes as many as a GPU does: in a batch, nobody waits for somebody else's whole answer.
    """
    found = defaults_for(device)
    n_rows, cached = found.n_rows, cache_dtype(device, "float32")
    while n_rows < MOST_ROWS:
        windows = PageCounts(0, PageCounts.needed(config, PAGE_SIZE, 2 * n_rows, found.token_budget).sliding)
        if windows.bytes(config, cached) > found.cache_bytes * WINDOWS_SHARE:
            break
        n_rows *= 2
    return n_rows


def defaults_within(config: ModelConfig, device: str, dtype: str, free_bytes: int) -> Defaults:
    """The device's defaults, on a GPU with rows and budget halved until a step leaves the cache half of what is free.

    free_bytes: beside the weights. dtype is that of the weights that are not packed.
    """
    found = replace(defaults_for(device), n_rows=most_rows(config, device))
    while device != "cpu" and found.n_rows > LEAST_ROWS:
        n_rows, budget = found.n_rows, found.token_budget
        windows = PageCounts(0, PageCounts.needed(config, PAGE_SIZE, n_rows, budget).sliding)
        needed = workspace_bytes(config, device, dtype, n_rows, budget)
        needed += graphs_bytes(config, device, dtype, n_rows)
        if needed + windows.bytes(config, cache_dtype(device, dtype)) <= free_bytes // 2:
            break
        found = replace(found, n_rows=n_rows // 2, token_budget=budget // 2)
    return found


def weight_bytes(config: ModelConfig, is_packed: bool, dtype: str) -> dict[str, int]:
    """Hugging Face's name of every tensor to its bytes once loaded. is_packed: the experts are MXFP4."""
    shapes = layout.shapes(config, lambda projection: not is_packed)
    return {name: round(prod(shape) * _weight_size(name, dtype)) for name, shape in shapes.items()}


def _weight_size(name: str, dtype: str) -> float:
    """Bytes of one weight of a tensor. int8 is what a CPU has of some matrices, beside bfloat16."""
    if name.endswith(("_blocks", "_scales")):
        return 1
    if dtype != "int8":
        return BYTES[dtype]
    return INT8_BYTES if name.endswith(layout.INT8_NAMES) else BYTES["bfloat16"]


@dataclass(frozen=True)
class PageCounts:
    """Pages of each group."""

    full: int
    sliding: int

    @classmethod
    def needed(cls, config: ModelConfig, context: int, n_rows: int, token_budget: int) -> PageCounts:
        """For n_rows requests of that length at once. Sliding layers hold windows, whatever the length.

        A row holds its window, wherever its pages begin, and the page of its next token; a step's new tokens add
        theirs.
        """
        return cls(n_rows * pages_for(context), n_rows * (pages_for(config.window) + 2) + pages_for(token_budget))

    @classmethod
    def fitting(
        cls,
        config: ModelConfig,
        dtype: str,
        context: int | None,
        n_rows: int,
        token_budget: int,
        cache_bytes: int,
    ) -> PageCounts:
        """Sliding pages for n_rows windows and a step's new tokens, full pages for what cache_bytes leave.

        dtype is that of keys and values. Full pages are no more than n_rows contexts need, and no fewer than one
        context of that length, or of one page where None leaves it open; raises NotEnoughMemory where these do not fit.
        """
        most = cls.needed(config, context or config.context, n_rows, token_budget)
        full_bytes, sliding_bytes = page_bytes(config, dtype)
        least = cls(pages_for(context or PAGE_SIZE), most.sliding)
        room = cache_bytes - most.sliding * sliding_bytes
        full = min(room // full_bytes, most.full) if full_bytes else most.full
        if room < 0 or full < least.full:
            many = f"{n_rows} requests at once, one of them" if n_rows > 1 else "One request"
            raise NotEnoughMemory(
                f"{many} with {context or PAGE_SIZE:,} tokens of context, and steps of {token_budget:,} tokens, need "
                f"{shown(least.bytes(config, dtype))} for keys and values, and {shown(cache_bytes)} are left for them; "
                "lower the context, n_rows or token_budget, or raise cache_bytes where memory allows."
            )
        return cls(full, most.sliding)

    def bytes(self, config: ModelConfig, dtype: str) -> int:
        full_bytes, sliding_bytes = page_bytes(config, dtype)
        return self.full * full_bytes + self.sliding * sliding_bytes


@dataclass(frozen=True)
class Allotment:
    """What an engine has: tokens of one request, requests at once, tokens in a step, pages, and how many stay idle."""

    context: int
    n_rows: int
    token_budget: int
    pages: PageCounts
    n_kept: int | None

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        device: str,
        dtype: str,
        free_bytes: int,
        *,
        context: int | None = None,
        n_rows: int | None = None,
        token_budget: int | None = None,
        cache_bytes: int | None = None,
        kept_tokens: int | None = None,
    ) -> Allotment:
        """What was asked for, and the device's modest defaults for what was not, within free_bytes beside the weights.

        Defaults of n_rows and token_budget are lowered until the context fits that was asked for, and where n_rows of
        them were, so many of it, if that can be had. cache_bytes are then by default what these need, too. dtype is
        that of the weights that are not packed. Raises BadRequest for sizes that mean nothing, NotEnoughMemory where
        the context does not fit.
        """
        for name, size, least in (
            *(("n_rows", n_rows, 1), ("token_budget", token_budget, 1), ("context", context, 2)),
            *(("cache_bytes", cache_bytes, 0), ("kept_tokens", kept_tokens, 0)),
        ):
            if size is not None:
                check_whole(name, size, least)
        if context is not None and not 1 < context <= config.context:
            raise BadRequest(f"context is {context}; this model takes 2 to {config.context} tokens.")
        free_bytes -= LEFT_OVER_BYTES[device]
        defaults = defaults_within(config, device, dtype, free_bytes)
        kept_tokens = defaults.kept_tokens if kept_tokens is None else kept_tokens
        n_kept = None if kept_tokens is None else pages_for(kept_tokens)
        cached, longest = cache_dtype(device, dtype), context or PAGE_SIZE
        n_wanted = 1 if n_rows is None or context is None else n_rows
        steps = list(_steps(defaults, n_rows, token_budget))
        for n_at_once, (rows, budget) in product((n_wanted, 1), steps):  # where none has room, the last is refused
            taken = config, device, dtype, context, rows, budget, free_bytes
            room = default_cache_bytes(*taken, n_at_once=n_wanted) if cache_bytes is None else cache_bytes
            sliding = PageCounts.needed(config, longest, rows, budget).sliding
            if PageCounts(n_at_once * pages_for(longest), sliding).bytes(config, cached) <= room:
                break
        pages = PageCounts.fitting(config, cached, context, rows, budget, room)
        return cls(min(context or config.context, pages.full * PAGE_SIZE), rows, budget, pages, n_kept)

    @classmethod
    def least(cls, config: ModelConfig, context: int, n_rows: int) -> Allotment:
        """The smallest that `of` lowers to for n_rows requests of that length at once."""
        budget = max(LEAST_BUDGET, n_rows)
        return cls(context, n_rows, budget, PageCounts.needed(config, context, n_rows, budget), None)

    def holds(self, context: int) -> int:
        """Requests of that length that have room at once."""
        return min(self.n_rows, self.pages.full // pages_for(context))


def _steps(defaults: Defaults, n_rows: int | None, token_budget: int | None) -> Iterator[tuple[int, int]]:
    """Rows and tokens of a step: the defaults and what they may be lowered to, with what was asked for as it was."""
    rows, budget = n_rows or defaults.n_rows, token_budget or defaults.token_budget
    while True:
        yield rows, max(rows, budget)
        lower = (n_rows or max(1, rows // 2), token_budget or max(min(LEAST_BUDGET, budget), budget // 2))
        if lower == (rows, budget):
            return
        rows, budget = lower


def check_whole(name: str, size: object, least: int = 1) -> None:
    """Raises BadRequest for what is no whole number, or less than least."""
    if not isinstance(size, Integral):
        raise BadRequest(f"{name} is {size!r}; give a whole number.")
    if size < least:
        raise BadRequest(f"{name} is {size}; give {least} or more.")


def page_bytes(config: ModelConfig, dtype: str) -> tuple[int, int]:
    """Keys and values of a full and of a sliding page, in all layers of its group."""
    one = 2 * config.n_kv_heads * PAGE_SIZE * config.head_dim * BYTES[dtype]
    n_sliding = sum(config.is_sliding(layer) for layer in range(config.n_layers))
    return one * (config.n_layers - n_sliding), one * n_sliding


def workspace_bytes(config: ModelConfig, device: str, dtype: str, n_rows: int, token_budget: int) -> int:
    """What a step of token_budget tokens, n_rows of them sampled, takes at most beside weights and cache.

    dtype is that of the weights that are not packed.
    """
    activations = "float32" if device == "cpu" else dtype
    return token_budget * _token_bytes(config, activations) + n_rows * config.vocab_size * LOGIT_BYTES[device]


def _token_bytes(config: ModelConfig, dtype: str) -> int:
    """What a step takes for each of its tokens; dtype is that of activations."""
    hidden, k = config.hidden_size, config.experts_per_token
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    # x and its norms; q, what was attended, and scratch; k and v; of each choice what is between and after the products
    return (4 * hidden + 4 * q + 2 * kv + k * (config.intermediate_size + 3 * hidden)) * BYTES[dtype]


def graphs_bytes(config: ModelConfig, device: str, dtype: str, n_rows: int) -> int:
    """What the graphs of steps that only decode hold, on a GPU: one pool for all, as the largest of them needs."""
    if device == "cpu":
        return 0
    return n_rows * (_token_bytes(config, dtype) + 2 * config.vocab_size * BYTES["float32"])


def default_cache_bytes(
    config: ModelConfig,
    device: str,
    dtype: str,
    context: int | None,
    n_rows: int,
    token_budget: int,
    free_bytes: int,
    *,
    n_at_once: int = 1,
) -> int:
    """What an engine may take for keys and values, of the memory that is free once the weights are there.

    It is the device's default or, where n_at_once requests of the context that was asked for need more, that, as far as
    there is room beside a step's workspace. dtype is that of the weights that are not packed.
    """
    cached = cache_dtype(device, dtype)
    wanted = defaults_for(device).cache_bytes
    if context is not None:
        windows = PageCounts.needed(config, PAGE_SIZE, n_rows, token_budget).sliding
        wanted = max(wanted, PageCounts(n_at_once * pages_for(context), windows).bytes(config, cached))
    room = free_bytes - workspace_bytes(config, device, dtype, n_rows, token_budget)
    return max(0, min(wanted, room - graphs_bytes(config, device, dtype, n_rows)))


def cache_dtype(device: str, dtype: str) -> str:
    """That of keys and values, where dtype is that of the weights that are not packed."""
    return "float32" if device == "cpu" else dtype


def shown(n_bytes: int) -> str:
    """Bytes as people and makers of memory count them: GB of 10**9."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(n_bytes) >= size:
            value = n_bytes / size
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{n_bytes} B"


def parsed(text: str) -> int:
    """Bytes of "16GB", "80 GiB" or a plain number; BadRequest for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)", text.strip().upper())
    number, unit = found.groups() if found else ("0", "")
    n_bytes = int(float(number) * UNITS.get(unit, UNITS.get(f"{unit}B", 0)))
    if not n_bytes:
        raise BadRequest(f"{text} is no size of memory; write it as 16GB or 80GiB.")
    return n_bytes
