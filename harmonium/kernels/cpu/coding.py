"""bfloat16 matrices to 12 bits a weight, as `CodedMatrix` defines them, in two readings and on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harmonium.kernels.coded import LINE, MOST_EXCEPTIONS, ROOM, CodedMatrix
from harmonium.kernels.cpu.coded import PIECES, code_line
from harmonium.kernels.cpu.compile import compiled
from harmonium.kernels.cpu.memory import large_array
from harmonium.kernels.cpu.pool import POOL, State, shared
from harmonium.kernels.cpu.products import n_of

ROWS_PER_ITEM = 64

Bits = NDArray[np.uint16]
Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


@shared
def _count_rows(item: int, weights: Bits, bases: Bytes, counts: Integers) -> None:
    width = len(weights) // len(bases)
    for row in range(item * ROWS_PER_ITEM, min((item + 1) * ROWS_PER_ITEM, len(bases))):
        bits = weights[row * width : (row + 1) * width]
        largest = np.uint16(0)
        for i in range(width):
            largest = max(largest, bits[i] & np.uint16(0x7FFF))
        base = np.uint16(max(int(largest) >> 8, ROOM - 1) - (ROOM - 1))
        least, n = np.uint16(base << np.uint16(8)), np.int32(0)
        for i in range(width):
            n += np.int32((bits[i] & np.uint16(0x7FFF)) < least)
        bases[row], counts[row] = np.uint8(base), n


@shared
def _code_rows(
    item: int, weights: Bits, bases: Bytes, starts: Integers, lines: Bytes, columns: Bits, exact: Bits
) -> None:
    width = len(weights) // len(bases)
    for row in range(item * ROWS_PER_ITEM, min((item + 1) * ROWS_PER_ITEM, len(bases)), 2):
        for i in range(0, width, LINE):
            code_line(weights, row * width + i, width, bases, row, lines, (row // 2 * width + i) * PIECES)
        for one in (row, row + 1):
            place, least = starts[one], np.uint16(bases[one]) << np.uint16(8)
            if place == starts[one + 1]:
                continue
            for i in range(width):
                bits = weights[one * width + i]
                if (bits & np.uint16(0x7FFF)) < least:
                    columns[place], exact[place] = np.uint16(i), bits
                    place += 1


@compiled
def _count(state: State, weights: Bits, bases: Bytes, counts: Integers) -> None:
    _count_rows(state, n_of(len(bases), ROWS_PER_ITEM), (weights, bases, counts))


@compiled
def _code(
    state: State, weights: Bits, bases: Bytes, starts: Integers, lines: Bytes, columns: Bits, exact: Bits
) -> None:
    arguments = (weights, bases, starts, lines, columns, exact)
    _code_rows(state, n_of(len(bases), ROWS_PER_ITEM), arguments)


def code(weight: torch.Tensor) -> CodedMatrix | None:
    """What `CodedMatrix.code` makes of weight (out, in)."""
    n_rows, width = weight.shape
    flat = weight.contiguous().view(-1).view(torch.uint16).numpy()
    bases, starts = np.empty(n_rows, np.uint8), np.zeros(n_rows + 1, np.int64)
    with POOL.working():
        _count(POOL.state, flat, bases, starts[1:])
        np.cumsum(starts, out=starts)
        n = int(starts[-1])
        if n > MOST_EXCEPTIONS * weight.numel():
            return None
        lines = large_array((n_rows // 2, width // LINE, PIECES, LINE), np.uint8)
        columns, exact = np.empty(n, np.uint16), np.empty(n, np.uint16)
        _code(POOL.state, flat, bases, starts, lines.reshape(-1), columns, exact)
    arrays: Any = (lines, bases, starts, columns.view(np.int16), exact.view(np.int16))
    return CodedMatrix(*(torch.from_numpy(array) for array in arrays))
