"""Steps of every size on an idle engine, so that no request waits until a kernel is compiled or a graph captured.

Kernels are compiled for classes of sizes, whose bounds are powers of two and what lies right below them. Machine code
that an earlier process has left is loaded, which makes this a matter of a second or two; else it takes a minute.
"""

from __future__ import annotations

from random import Random

from harmonium.engine.batch import filled_rows
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams

N_ANSWER = 3
"""Ids of each answer: with graphs, a size's first step is computed, its second replayed."""


def warm_up(engine: Engine) -> None:
    """Prompts of powers of two up to a step's budget, one by one; then as many short ones at once as a graph may have.

    The engine has nothing to do, and has nothing of it in its cache afterwards. Graphs of long contexts are captured
    when they come.
    """
    assert not engine.has_work, "requests would be mixed with those of others"
    longest, n_rows = min(engine.scheduler.token_budget, engine.context - N_ANSWER), len(engine.cache.full_table)
    lengths = [*(2**i for i in range((longest - 1).bit_length())), longest]
    counts = sorted({filled_rows(n, n_rows) for n in range(1, n_rows + 1)})
    draw = Random(0).choices
    for batch in [*([length] for length in lengths), *([1] * n for n in counts)]:
        prompts = [draw(range(engine.arena.vocab_size), k=length) for length in batch]  # distinct: none is cached
        engine.generate(prompts, SamplingParams(max_tokens=N_ANSWER, seed=0))
    engine.cache.forget_idle()
