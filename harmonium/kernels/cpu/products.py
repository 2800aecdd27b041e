"""Matrices times the vectors of a step's tokens: rows of weights are read once, whatever the number of tokens.

Few tokens meet each row while it is in registers. For many, rows are made floats and multiplied with panels of 32
tokens (`tile`). Weights are those of `dots.Matrix`; for MXFP4 the activations are in block order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu import tile
from harmonium.kernels.cpu.compile import inlined
from harmonium.kernels.cpu.dots import BLOCK, Matrix, dots_1, dots_2, dots_4, unpack
from harmonium.kernels.cpu.pool import N_THREADS, State, shared

Floats = NDArray[np.float32]
Part = tuple[Matrix, Floats, Floats]
"""A matrix, its bias, and what is to be filled."""
Parts = tuple[Part, Part, Part]

FEW = 8
"""Tokens up to which rows meet them one by one."""
ROWS_PER_ITEM = 32
"""Of a matrix, in an item of work: as floats they fit a core's second cache beside a panel's part."""
BYTES_PER_ITEM = 2**19
ITEMS_PER_THREAD = 8
STEP = 256
"""Of a panel's width at a time, which fits the first cache and meets all rows of an item there."""
PANEL = tile.WIDTH


@inlined
def n_of(n: int, size: int) -> int:
    """How many parts of a size make n, the last one cut short."""
    return (n + size - 1) // size


@inlined
def rows_per_item(state: State, n_rows: int, row_bytes: int) -> int:
    """Of products with few tokens: each thread gets some items, long enough for memory to be asked ahead in them.

    row_bytes: of a row, or about as many.
    """
    most = BYTES_PER_ITEM // row_bytes
    n_threads = int(state[N_THREADS])
    return max(ROWS_PER_ITEM, min(most, n_rows // (ITEMS_PER_THREAD * n_threads)) // BLOCK * BLOCK)


@inlined
def pair(matrix: Matrix, row: int, n_blocks: int, x: Floats, first: int, n: int, sums: Floats, at: int) -> None:
    """sums (2, n), flat from `at` on = rows `row` and row + 1 times n tokens of flat x from `first` on."""
    if n == 1:  # the common case, in which the loop below would take longer than the products
        dots_1(matrix, row, n_blocks, x, first, sums, at, 1)
        return
    done = 0
    while n - done >= 4:
        dots_4(matrix, row, n_blocks, x, first + done, sums, at + done, n)
        done += 4
    if n - done >= 2:
        dots_2(matrix, row, n_blocks, x, first + done, sums, at + done, n)
        done += 2
    if n > done:
        dots_1(matrix, row, n_blocks, x, first + done, sums, at + done, n)


@inlined
def _put(out: Floats, t: int, row: int, value: np.float32, adds: bool) -> None:
    out[t, row] = out[t, row] + value if adds else value


@inlined
def _few_rows(item: int, per_item: int, x: Floats, matrix: Matrix, bias: Floats, adds: bool, out: Floats) -> None:
    n, n_blocks, n_rows = len(x), x.shape[1] // BLOCK, out.shape[1]
    flat, sums = x.reshape(-1), np.empty(2 * FEW, np.float32)
    for start in range(item * per_item, min((item + 1) * per_item, n_rows), 2):
        row = min(start, n_rows - 2)  # an odd last row comes with the one before it
        pair(matrix, row, n_blocks, flat, 0, n, sums, 0)
        if n == 1:
            if row == start:
                _put(out, 0, row, sums[0] + bias[row], adds)
            _put(out, 0, row + 1, sums[1] + bias[row + 1], adds)
            continue
        for t in range(n):
            if row == start:
                _put(out, t, row, sums[t] + bias[row], adds)
            _put(out, t, row + 1, sums[n + t] + bias[row + 1], adds)


@shared
def _few(item: int, per_item: int, x: Floats, matrix: Matrix, bias: Floats, adds: bool, out: Floats) -> None:
    _few_rows(item, per_item, x, matrix, bias, adds, out)


@shared
def _few_of_three(item: int, per_item: int, x: Floats, parts: Parts) -> None:
    """Item: of one of three matrices, whose items lie one behind the other."""
    (a, a_bias, a_out), (b, b_bias, b_out), (c, c_bias, c_out) = parts
    b_item = item - n_of(a_out.shape[1], per_item)
    c_item = b_item - n_of(b_out.shape[1], per_item)
    if b_item < 0:
        _few_rows(item, per_item, x, a, a_bias, False, a_out)
    elif c_item < 0:
        _few_rows(b_item, per_item, x, b, b_bias, False, b_out)
    else:
        _few_rows(c_item, per_item, x, c, c_bias, False, c_out)


@shared
def _pack(item: int, x: Floats, panels: Floats) -> None:
    """Item: 32 places of the width, in all panels."""
    n, width = x.shape
    for panel in range(n_of(n, PANEL)):
        n_lanes = min(PANEL, n - panel * PANEL)
        for i in range(item * BLOCK, min((item + 1) * BLOCK, width)):
            start = (panel * width + i) * PANEL
            for lane in range(n_lanes):
                panels[start + lane] = x[panel * PANEL + lane, i]
            for lane in range(n_lanes, PANEL):
                panels[start + lane] = 0


@inlined
def pack(state: State, x: Floats) -> Floats:
    """x (tokens, width) as flat panels (tokens / 32, width, 32), filled up with zeros."""
    n, width = x.shape
    panels = np.empty(n_of(n, PANEL) * PANEL * width, np.float32)
    _pack(state, n_of(width, BLOCK), (x, panels))
    return panels


@inlined
def unpack_rows(matrix: Matrix, row: int, n_rows: int, n_blocks: int, rows: Floats) -> None:
    """rows (ROWS_PER_ITEM, width), flat: n_rows of the matrix from `row` on, and zeros up to a whole tile."""
    unpack(matrix, row, n_rows, n_blocks, rows)
    for i in range(n_rows * n_blocks * BLOCK, n_of(n_rows, tile.ROWS) * tile.ROWS * n_blocks * BLOCK):
        rows[i] = 0


@inlined
def multiply_panel(
    rows: Floats, n_rows: int, width: int, panels: Floats, panel: int, n_lanes: int, out: Floats
) -> None:
    """out (ROWS_PER_ITEM, 32), flat: flat rows times a panel, whose tokens are the first n_lanes."""
    for i in range(n_of(n_rows, tile.ROWS) * tile.ROWS * PANEL):
        out[i] = 0
    for start in range(0, width, STEP):
        n, place = min(STEP, width - start), (panel * width + start) * PANEL
        for row in range(0, n_rows, tile.ROWS):
            if n_lanes > PANEL // 2:
                tile.whole_tile(rows, row * width + start, width, 1, panels, place, n, out, row * PANEL)
            else:
                tile.half_tile(rows, row * width + start, width, 1, panels, place, n, out, row * PANEL)


@shared
def _many(item: int, panels: Floats, width: int, matrix: Matrix, bias: Floats, adds: bool, out: Floats) -> None:
    n, first = len(out), item * ROWS_PER_ITEM
    n_rows = min(ROWS_PER_ITEM, out.shape[1] - first)
    rows, sums = np.empty(ROWS_PER_ITEM * width, np.float32), np.empty(ROWS_PER_ITEM * PANEL, np.float32)
    unpack_rows(matrix, first, n_rows, width // BLOCK, rows)
    for panel in range(n_of(n, PANEL)):
        n_lanes = min(PANEL, n - panel * PANEL)
        multiply_panel(rows, n_rows, width, panels, panel, n_lanes, sums)
        for lane in range(n_lanes):
            t = panel * PANEL + lane
            for i in range(n_rows):
                value = sums[i * PANEL + lane] + bias[first + i]
                out[t, first + i] = out[t, first + i] + value if adds else value


@inlined
def multiply(state: State, x: Floats, panels: Floats, matrix: Matrix, bias: Floats, adds: bool, out: Floats) -> None:
    """out (tokens, rows) = x (tokens, width) times matrix (rows, width) + bias, added to out if it adds.

    panels: x packed, where there are more tokens than FEW.
    """
    n_rows, width = out.shape[1], x.shape[1]
    if len(x) <= FEW:
        per_item = rows_per_item(state, n_rows, width)
        _few(state, n_of(n_rows, per_item), (per_item, x, matrix, bias, adds, out))
    else:
        _many(state, n_of(n_rows, ROWS_PER_ITEM), (panels, x.shape[1], matrix, bias, adds, out))


@inlined
def multiply_three(state: State, x: Floats, panels: Floats, parts: Parts) -> None:
    """The same for three matrices with their biases and outs. Few tokens meet all of them in one round of work."""
    (a, a_bias, a_out), (b, b_bias, b_out), (c, c_bias, c_out) = parts
    if len(x) <= FEW:
        per_item = rows_per_item(state, a_out.shape[1] + b_out.shape[1] + c_out.shape[1], x.shape[1])
        n_items = n_of(a_out.shape[1], per_item) + n_of(b_out.shape[1], per_item) + n_of(c_out.shape[1], per_item)
        _few_of_three(state, n_items, (per_item, x, parts))
        return
    multiply(state, x, panels, a, a_bias, False, a_out)
    multiply(state, x, panels, b, b_bias, False, b_out)
    multiply(state, x, panels, c, c_bias, False, c_out)


@inlined
def pack_many(state: State, x: Floats) -> Floats:
    """x packed, where there are more tokens than FEW."""
    return pack(state, x) if len(x) > FEW else np.empty(0, np.float32)
