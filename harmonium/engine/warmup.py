"""Steps of every size on an idle engine, so that no request waits until a kernel is compiled or a graph captured.

Kernels are compiled for classes of sizes, whose bounds are powers of two and what lies right below them. Machine code
that an earlier process has left is loaded, which makes this a matter of a second or two; else it takes a minute.
"""

from __future__ import annotations

from random import Random

from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams

N_ANSWER = 3
"""Ids of each answer: with graphs, a size's first step is computed, its second replayed."""


def warm_up(engine: Engine) -> None:
    """Prompts of powers of two up to a step's budget, one by one, then short ones at once, by powers of two.

    The engine has nothing to do, and has nothing of it in its cache afterwards.
    """
    assert not engine.has_work, "requests would be mixed with those of others"
    longest, n_rows = min(engine.scheduler.token_budget, engine.context - N_ANSWER), len(engine.cache.full_table)
    draw = Random(0).choices
    for lengths in [*([n] for n in _sizes(longest)), *([1] * n for n in _sizes(n_rows))]:
        prompts = [draw(range(engine.arena.vocab_size), k=length) for length in lengths]  # distinct: none is cached
        engine.generate(prompts, SamplingParams(max_tokens=N_ANSWER, seed=0))
    engine.cache.forget_idle()


def _sizes(most: int) -> list[int]:
    """Powers of two below the most, and the most."""
    return [*(2**i for i in range((most - 1).bit_length())), most]
