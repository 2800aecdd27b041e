"""Packed MXFP4 experts: what a step's tokens chose is grouped by expert, so that each expert is read once.

An expert with few tokens multiplies them row by row of its packed weights (`products.pair`), and all such experts share
one round of work; one with many has its rows made floats and multiplied with panels of its tokens. Both write what is
between the two matrices in the form in which the second one wants it: as faces, or in panels in block order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.dense import Integers
from harmonium.kernels.cpu.dots import BLOCK, Matrix
from harmonium.kernels.cpu.faces import new_faces, put_block
from harmonium.kernels.cpu.pool import State, shared
from harmonium.kernels.cpu.products import (
    FEW,
    PANEL,
    ROWS_PER_ITEM,
    Floats,
    multiply_panel,
    n_of,
    pair,
    rows_per_item,
    unpack_rows,
)
from harmonium.kernels.cpu.simd import exp
from harmonium.kernels.reference import SWIGLU_ALPHA, SWIGLU_LIMIT

Faces = NDArray[Any]
"""Flat, of float32 or of int8: see `faces`."""

_ALPHA, _LIMIT = np.float32(SWIGLU_ALPHA), np.float32(SWIGLU_LIMIT)


@inlined
def activate(gate: np.float32, up: np.float32) -> np.float32:
    """Clamped SwiGLU of one pair."""
    gate, up = min(gate, _LIMIT), min(max(up, -_LIMIT), _LIMIT)
    return (up + np.float32(1.0)) * gate / (np.float32(1.0) + exp(-_ALPHA * gate))


@inlined
def place_of(i: int) -> int:
    """Where position i of a vector is in block order."""
    return i // BLOCK * BLOCK + (i & 1) * (BLOCK // 2) + i % BLOCK // 2


@inlined
def group(indices: Integers, n_experts: int, starts: Integers, order: Integers) -> None:
    """Fills order (tokens * k,) with the flat places of indices (tokens, k) by expert, starts (n_experts + 1,)."""
    flat = indices.reshape(-1)
    starts[:] = 0
    for place in range(len(flat)):
        starts[flat[place] + 1] += 1
    for expert in range(n_experts):
        starts[expert + 1] += starts[expert]
    following = starts.copy()
    for place in range(len(flat)):
        expert = flat[place]
        order[following[expert]] = place
        following[expert] += 1


@inlined
def _between(
    sums: Floats, n: int, t: int, bias: Floats, values: Floats, inner: Faces, face: int, n_blocks: int, block: int
) -> None:
    """Blocks of a face of inner, from `block` on: token t's activations, of sums (len(bias) / 2, 2, n), flat."""
    count = len(bias) // 2
    for i in range(count):
        values[i] = activate(sums[2 * n * i + t] + bias[2 * i], sums[2 * n * i + n + t] + bias[2 * i + 1])
    for i in range(count // BLOCK):
        put_block(inner, face, n_blocks, block + i, values, i * BLOCK)


@shared
def _few_gate_up(
    item: int,
    per_item: int,
    few: Integers,
    starts: Integers,
    faces: Faces,
    n_blocks: int,
    is_one: bool,
    matrix: Matrix,
    bias: Floats,
    inner: Faces,
) -> None:
    """Item: of the experts in `few` one, and some of its inner numbers.

    faces of pairs, n_blocks each, or one that all rows meet; inner are faces of pairs.
    """
    n_inner = bias.shape[1] // 2
    n_items = n_of(n_inner, per_item)
    expert, part = few[item // n_items], item % n_items
    first, n = starts[expert], starts[expert + 1] - starts[expert]
    start, stop = part * per_item, min((part + 1) * per_item, n_inner)
    sums, values = np.empty(2 * per_item * n, np.float32), np.empty(per_item, np.float32)
    face = 0 if is_one else first
    for i in range(start, stop):
        pair(matrix, (expert * n_inner + i) * 2, n_blocks, faces, face, n, sums, 2 * n * (i - start))
    of_rows = bias[expert, 2 * start : 2 * stop]
    if n == 1:
        _between(sums, 1, 0, of_rows, values, inner, first, n_inner // BLOCK, start // BLOCK)
    else:
        for t in range(n):
            _between(sums, n, t, of_rows, values, inner, first + t, n_inner // BLOCK, start // BLOCK)


@shared
def _few_down(
    item: int,
    per_item: int,
    few: Integers,
    starts: Integers,
    inner: Faces,
    n_blocks: int,
    matrix: Matrix,
    bias: Floats,
    outer: Floats,
) -> None:
    """Item: of the experts in `few` one, and some of its rows. inner are faces of pairs; outer (pairs, hidden)."""
    hidden = outer.shape[1]
    n_items = n_of(hidden, per_item)
    expert, part = few[item // n_items], item % n_items
    first, n = starts[expert], starts[expert + 1] - starts[expert]
    start, stop = part * per_item, min((part + 1) * per_item, hidden)
    sums = np.empty(per_item * n, np.float32)
    for row in range(start, stop, 2):
        pair(matrix, expert * hidden + row, n_blocks, inner, first, n, sums, n * (row - start))
    for t in range(n):
        for row in range(start, stop):
            outer[first + t, row] = sums[n * (row - start) + t] + bias[expert, row]


@shared
def _pack_pairs(item: int, normed: Floats, order: Integers, k: int, first: int, n: int, panels: Floats) -> None:
    """The tokens of n pairs from `first` on as panels in block order, a block of places at a time."""
    width = normed.shape[1]
    for panel in range(n_of(n, PANEL)):
        n_lanes = min(PANEL, n - panel * PANEL)
        for i in range(item * BLOCK, (item + 1) * BLOCK):
            start = (panel * width + place_of(i)) * PANEL
            for lane in range(n_lanes):
                panels[start + lane] = normed[order[first + panel * PANEL + lane] // k, i]
            for lane in range(n_lanes, PANEL):
                panels[start + lane] = 0


@shared
def _many_gate_up(
    item: int, expert: int, n: int, panels: Floats, width: int, matrix: Matrix, bias: Floats, inner: Floats
) -> None:
    """Item: some of an expert's rows, for all n tokens. panels and inner are flat, in block order."""
    n_outs, first = bias.shape[1], item * ROWS_PER_ITEM
    n_rows = min(ROWS_PER_ITEM, n_outs - first)
    rows, sums = np.empty(ROWS_PER_ITEM * width, np.float32), np.empty(ROWS_PER_ITEM * PANEL, np.float32)
    unpack_rows(matrix, expert * n_outs + first, n_rows, width // BLOCK, rows)
    for panel in range(n_of(n, PANEL)):
        multiply_panel(rows, n_rows, width, panels, panel, n - panel * PANEL, sums)
        for row in range(0, n_rows, 2):
            start = (panel * (n_outs // 2) + place_of((first + row) // 2)) * PANEL
            gate_bias, up_bias = bias[expert, first + row], bias[expert, first + row + 1]
            for lane in range(PANEL):
                gate, up = sums[row * PANEL + lane] + gate_bias, sums[(row + 1) * PANEL + lane] + up_bias
                inner[start + lane] = activate(gate, up)


@shared
def _many_down(
    item: int, expert: int, first: int, n: int, inner: Floats, width: int, matrix: Matrix, bias: Floats, outer: Floats
) -> None:
    """Item: some of an expert's rows, for all n tokens, which are outer's from `first` on."""
    hidden, start = outer.shape[1], item * ROWS_PER_ITEM
    n_rows = min(ROWS_PER_ITEM, hidden - start)
    rows, sums = np.empty(ROWS_PER_ITEM * width, np.float32), np.empty(ROWS_PER_ITEM * PANEL, np.float32)
    unpack_rows(matrix, expert * hidden + start, n_rows, width // BLOCK, rows)
    for panel in range(n_of(n, PANEL)):
        n_lanes = min(PANEL, n - panel * PANEL)
        multiply_panel(rows, n_rows, width, inner, panel, n_lanes, sums)
        for lane in range(n_lanes):
            for i in range(n_rows):
                value = sums[i * PANEL + lane] + bias[expert, start + i]
                outer[first + panel * PANEL + lane, start + i] = value


@shared
def _gather(item: int, normed: Floats, order: Integers, k: int, faces: Faces) -> None:
    """A pair's token as a face."""
    width, flat = normed.shape[1], normed.reshape(-1)
    for block in range(width // BLOCK):
        put_block(faces, item, width // BLOCK, block, flat, order[item] // k * width + block * BLOCK)


@shared
def _combine(item: int, x: Floats, shares: Floats, places: Integers, outer: Floats) -> None:
    """x of a token += what its choices gave, by share; places (tokens * k,) says where in outer that is."""
    k = shares.shape[1]
    for choice in range(k):
        place, share = places[item * k + choice], shares[item, choice]
        for i in range(x.shape[1]):
            x[item, i] += share * outer[place, i]


@compiled
def experts_add(
    state: State,
    x: Floats,
    normed: Floats,
    indices: Integers,
    shares: Floats,
    gate_up: tuple[Matrix, Floats],
    down: tuple[Matrix, Floats],
) -> None:
    """x (tokens, hidden) += each token's experts. gate_up and down are packed weights and bias (experts, out)."""
    n_experts, n_inner, hidden = len(down[1]), gate_up[1].shape[1] // 2, x.shape[1]
    n_pairs, k = indices.size, indices.shape[1]
    starts, order, places = np.empty(n_experts + 1, np.int64), np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64)
    group(indices, n_experts, starts, order)
    for i in range(n_pairs):
        places[order[i]] = i
    outer = np.empty((n_pairs, hidden), np.float32)
    few, n_few, most = np.empty(n_experts, np.int64), 0, 0
    for expert in range(n_experts):
        n = starts[expert + 1] - starts[expert]
        if 0 < n <= FEW:
            few[n_few] = expert
            n_few += 1
        most = max(most, n)
    if n_few:
        is_one, n_outs = len(x) == most == 1, hidden // BLOCK
        faces, inner = new_faces(1 if is_one else n_pairs, n_outs), new_faces(n_pairs, n_inner // BLOCK)
        _gather(state, 1 if is_one else n_pairs, (normed, order, k, faces))
        per_item = rows_per_item(state, n_few * n_inner, hidden)  # two rows of half bytes
        arguments = (per_item, few, starts, faces, n_outs, is_one, gate_up[0], gate_up[1], inner)
        _few_gate_up(state, n_few * n_of(n_inner, per_item), arguments)
        per_item = rows_per_item(state, n_few * hidden, n_inner // 2)
        arguments_down = (per_item, few, starts, inner, n_inner // BLOCK, down[0], down[1], outer)
        _few_down(state, n_few * n_of(hidden, per_item), arguments_down)
    if most > FEW:
        n_lanes = n_of(most, PANEL) * PANEL
        panels, between = np.empty(n_lanes * hidden, np.float32), np.empty(n_lanes * n_inner, np.float32)
        for expert in range(n_experts):
            first, n = starts[expert], starts[expert + 1] - starts[expert]
            if n <= FEW:
                continue
            _pack_pairs(state, hidden // BLOCK, (normed, order, k, first, n, panels))
            n_items = n_of(2 * n_inner, ROWS_PER_ITEM)
            _many_gate_up(state, n_items, (expert, n, panels, hidden, gate_up[0], gate_up[1], between))
            n_items = n_of(hidden, ROWS_PER_ITEM)
            _many_down(state, n_items, (expert, first, n, between, n_inner, down[0], down[1], outer))
    _combine(state, len(x), (x, shares, places, outer))
