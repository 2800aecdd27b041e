"""The inner loop of matrix products of many tokens: eight rows of weights times a panel of 32 tokens, in registers.

A panel holds tokens side by side, (width, 32) float32, so that a token is a lane: one number of the weights is spread
over the lanes and multiplied into as many sums. Nothing is added up across lanes, weights need no order of their own,
and what comes out, (rows, 32), is a panel again. Processors with sixteen or fewer wide registers get it in parts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.hardware import instruction_set
from harmonium.kernels.cpu.simd import F32S, I64, LANES, multiply_add, splat_float

ROWS, WIDTH = 8, 32
"""Of a tile: rows of weights, and tokens of a panel."""

PARTS = {"avx512": (8, 2), "avx2": (4, 1), "portable": (4, 1)}
"""Rows, and vectors of sixteen lanes, whose sums fit the registers beside what they are made of."""


def _emit(builder: ir.IRBuilder, form: str, n_vectors: int, arguments: list[ir.Value]) -> None:
    n_rows, most = PARTS[form]
    for row in range(0, ROWS, n_rows):
        for vector in range(0, n_vectors, min(most, n_vectors)):
            _emit_part(builder, range(row, row + n_rows), range(vector, vector + min(most, n_vectors)), arguments)


def _emit_part(builder: ir.IRBuilder, rows: range, vectors: range, arguments: list[ir.Value]) -> None:
    weights, row_stride, stride, panel, n, out = arguments
    places = [(row, vector) for row in rows for vector in vectors]
    outs = {
        (row, vector): builder.bitcast(
            builder.gep(out, [ir.Constant(I64, row * WIDTH + vector * LANES)]), F32S.as_pointer()
        )
        for row, vector in places
    }
    sums = {
        place: cgutils.alloca_once_value(builder, builder.load(outs[place], align=4))  # type: ignore[no-untyped-call]
        for place in places
    }
    starts = {row: builder.mul(row_stride, ir.Constant(I64, row)) for row in rows}
    with cgutils.for_range(builder, n, intp=I64) as loop:
        tokens = {}
        for vector in vectors:
            place = builder.add(builder.mul(loop.index, ir.Constant(I64, WIDTH)), ir.Constant(I64, vector * LANES))
            pointer = builder.bitcast(builder.gep(panel, [place]), F32S.as_pointer())
            tokens[vector] = builder.load(pointer, align=4)
        along = builder.mul(loop.index, stride)
        for row in rows:
            weight = splat_float(builder, builder.load(builder.gep(weights, [builder.add(starts[row], along)])))
            for vector in vectors:
                total = sums[row, vector]
                builder.store(multiply_add(builder, weight, tokens[vector], builder.load(total)), total)
    for place in places:
        builder.store(builder.load(sums[place]), outs[place], align=4)


def _tile(form: str, n_vectors: int) -> Any:
    def tile(
        typing: Any,
        weights: Any,
        first: Any,
        row_stride: Any,
        stride: Any,
        panel: Any,
        panel_first: Any,
        n: Any,
        out: Any,
        out_first: Any,
    ) -> Any:
        """out (8, 32) += the sum over n of weights[first + row * row_stride + i * stride] * panel (n, 32)[i].

        weights, panel and out are flat arrays, the latter two beginning at panel_first and out_first.
        """

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def at(array: int, first: int) -> Any:
                kind = signature.args[array]
                data = context.make_array(kind)(context, builder, arguments[array]).data
                return builder.gep(data, [arguments[first]])

            _emit(builder, form, n_vectors, [at(0, 1), arguments[2], arguments[3], at(4, 5), arguments[6], at(7, 8)])
            return context.get_dummy_value()

        integer = types.int64
        return types.void(weights, integer, integer, integer, panel, integer, integer, out, integer), codegen

    return intrinsic(tile)


TILES = {form: (_tile(form, 1), _tile(form, 2)) for form in PARTS}
"""For the first sixteen tokens of a panel, and for all 32, in each form."""

half_tile, whole_tile = TILES[instruction_set()]
