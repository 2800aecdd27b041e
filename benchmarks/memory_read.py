"""How fast this CPU reads memory when nothing is computed: the kernels' threads, and their way of asking ahead."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled
from harmonium.kernels.cpu.pool import POOL, State, shared
from harmonium.kernels.cpu.simd import I64, LINE, fetch_ahead

Words = NDArray[np.int64]

LINES = 4
"""Added up in a turn of the loop, each into a sum of its own."""
WORDS_PER_TURN = LINES * LINE // 8
TURNS_PER_ITEM = 2**12


def _total(typing: Any, words: Any, first: Any, n_turns: Any) -> Any:
    """The sum of words from a turn on, modulo 2**64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(I64, LINE // 8)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        start = builder.gep(data, [builder.mul(arguments[1], ir.Constant(I64, WORDS_PER_TURN))])
        zeros = ir.Constant(kind, [0] * kind.count)
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(LINES)]  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, arguments[2], intp=I64) as loop:
            fetch_ahead(builder, start, LINES * LINE, loop.index)
            lines = builder.bitcast(start, kind.as_pointer())
            for line, total in enumerate(sums):
                number = builder.add(builder.mul(loop.index, ir.Constant(I64, LINES)), ir.Constant(I64, line))
                value = builder.load(builder.gep(lines, [number]), align=8)
                builder.store(builder.add(value, builder.load(total)), total)
        vector = builder.load(sums[0])
        for total in sums[1:]:
            vector = builder.add(vector, builder.load(total))
        words = [builder.extract_element(vector, ir.Constant(ir.IntType(32), i)) for i in range(kind.count)]
        result = words[0]
        for word in words[1:]:
            result = builder.add(result, word)
        return result

    return types.int64(words, types.int64, types.int64), codegen


total: Any = intrinsic(_total)


@shared
def _read(item: int, words: Words, n_turns: int, totals: Words) -> None:
    first = item * TURNS_PER_ITEM
    totals[item] = total(words, first, min(TURNS_PER_ITEM, n_turns - first))


@compiled
def _read_all(state: State, words: Words, totals: Words) -> int:
    _read(state, len(totals), (words, len(words) // WORDS_PER_TURN, totals))
    return int(totals.sum())


def read_rate(array: NDArray[np.uint8]) -> float:
    """GB/s of reading a flat array, which should be many times the processor's caches."""
    words = array[: len(array) // (8 * WORDS_PER_TURN) * 8 * WORDS_PER_TURN].view(np.int64)
    totals = np.empty(-(-len(words) // (WORDS_PER_TURN * TURNS_PER_ITEM)), np.int64)
    with POOL.working():
        started = time.perf_counter()
        _read_all(POOL.state, words, totals)
        return float(words.nbytes / (time.perf_counter() - started) / 1e9)
