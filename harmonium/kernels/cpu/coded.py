"""Rows of coded bfloat16 (`kernels.coded`), two at a time: made floats in registers, and made of bfloat16.

One instruction looks 64 codes up and an addition makes them the upper bytes of 64 weights; joined with the lower bytes
they are bfloat16, of which two in a lane become two floats. For processors with 64 bytes in a register that can look
bytes up (VBMI).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.kernels.coded import LINE, ORDER, ROOM
from harmonium.kernels.cpu.simd import (
    BYTES,
    F32,
    F32S,
    I8,
    I32,
    I32S,
    I64,
    LANES,
    add_lanes,
    declare,
    fetch_ahead,
    float_constants,
    load_vector,
    multiply_add,
    splat,
)

I16 = ir.IntType(16)
I8X64, I16X32, I16X64 = ir.VectorType(I8, LINE), ir.VectorType(I16, LINE // 2), ir.VectorType(I16, LINE)
UPPER = ir.Constant(I8X64, [code % ROOM + (code // ROOM << 7) for code in range(2 * ROOM)] * 4)
"""What a byte's lowest six bits are looked up in, without the base: the upper two of them are another code's."""
PIECES = 3
"""Lines of 64 bytes that code 64 weights of two rows."""
PARTS = LINE // LANES


class Rows:
    """Two rows, the first of them even, at pointers to their first line, to both bases, and to the exceptions."""

    def __init__(self, builder: ir.IRBuilder, arrays: list[ir.Value], row: ir.Value, n_blocks: ir.Value) -> None:
        lines, bases, starts, self.columns, self.bits = arrays
        per_row = builder.mul(n_blocks, ir.Constant(I64, PIECES * LINE // 4))  # blocks are of 32 weights
        self.builder, self.lines = builder, builder.gep(lines, [builder.mul(row, per_row)])
        self.n_lines = builder.lshr(n_blocks, ir.Constant(I64, 1))
        self.bases = [builder.load(builder.gep(bases, [self._plus(row, i)])) for i in range(2)]
        self.starts = [builder.load(builder.gep(starts, [self._plus(row, i)])) for i in range(3)]

    def _plus(self, value: ir.Value, n: int) -> ir.Value:
        return self.builder.add(value, ir.Constant(I64, n))

    def floats(self, line: ir.Value) -> list[list[ir.Value]]:
        """The 64 weights of each row in a line, four vectors of sixteen. Where there is an exception, its stand-in."""
        builder = self.builder
        place = builder.mul(line, ir.Constant(I64, PIECES * LINE))
        codes, *lower = (load_vector(builder, self.lines, self._plus(place, i * LINE), I8X64, 1) for i in range(PIECES))
        look_up = declare(builder.module, ir.FunctionType(I8X64, [I8X64, I8X64]), "llvm.x86.avx512.permvar.qi.512")
        words = builder.bitcast(codes, I16X32)  # there is no shift of bytes
        high = builder.bitcast(builder.lshr(words, ir.Constant(I16X32, [4] * I16X32.count)), I8X64)
        found = []
        for one, bytes_, base in zip((codes, high), lower, self.bases, strict=True):
            upper = builder.add(builder.call(look_up, [UPPER, one]), _spread(builder, base, I8X64))
            found.append(_joined(builder, bytes_, upper))
        return found

    def exceptions(self, row: int) -> Any:
        """Loops over those of the first or the second row; `exception` gives them."""
        return cgutils.for_range(self.builder, self.builder.sub(self.starts[row + 1], self.starts[row]), intp=I64)

    def exception(self, row: int, number: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Its column, its value, and the value of its stand-in."""
        builder, place = self.builder, self.builder.add(self.starts[row], number)
        column, bits = (builder.load(builder.gep(array, [place])) for array in (self.columns, self.bits))
        stand_in = builder.shl(builder.zext(self.bases[row], I16), ir.Constant(I16, 8))
        return builder.zext(column, I64), *(_widened(builder, value) for value in (bits, stand_in))


def _widened(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    return builder.bitcast(builder.shl(builder.zext(bits, I32), ir.Constant(I32, 16)), F32)


def _spread(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A value in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def _joined(builder: ir.IRBuilder, lower: ir.Value, upper: ir.Value) -> list[ir.Value]:
    """Bytes in `ORDER` to floats in order. Bytes are joined within each quarter of a register, as instructions do."""
    found = []
    for half in (0, 8):
        places = [16 * quarter + half + i for quarter in range(4) for i in range(8)]
        both = [place for i in places for place in (i, LINE + i)]
        words = builder.shuffle_vector(lower, upper, ir.Constant(ir.VectorType(I32, LINE), both))
        pairs = builder.bitcast(words, I32S)
        found += [builder.shl(pairs, splat(16)), builder.and_(pairs, splat(-(1 << 16)))]
    return [builder.bitcast(part, F32S) for part in found]


def emit_dots(builder: ir.IRBuilder, n_tokens: int, rows: Rows, x: ir.Value) -> list[ir.Value]:
    """A float for each token of the first row, then of the second; x has as many floats a token as a row has weights.

    With few tokens there are more sums of each, since a sum waits for itself.
    """
    n_sums, zeros = PARTS // n_tokens, float_constants((0.0,) * LANES)
    sums = [[cgutils.alloca_once_value(builder, zeros) for _ in range(n_sums)] for _ in range(2 * n_tokens)]  # type: ignore[no-untyped-call]
    width = builder.mul(rows.n_lines, ir.Constant(I64, LINE))
    tokens = [builder.gep(x, [builder.mul(width, ir.Constant(I64, token))]) for token in range(n_tokens)]
    with cgutils.for_range(builder, rows.n_lines, intp=I64) as loop:
        fetch_ahead(builder, rows.lines, PIECES * LINE, loop.index)
        both = rows.floats(loop.index)
        for token, values in enumerate(tokens):
            for part in range(PARTS):
                place = builder.add(builder.mul(loop.index, ir.Constant(I64, LINE)), ir.Constant(I64, part * LANES))
                faced = load_vector(builder, values, place, F32S, 4)
                for row in range(2):
                    total = sums[row * n_tokens + token][part % n_sums]
                    builder.store(multiply_add(builder, both[row][part], faced, builder.load(total)), total)
    found = []
    for parts in sums:
        values = [builder.load(part) for part in parts]
        while len(values) > 1:
            values = [builder.fadd(*values[:2]), *values[2:]]
        found.append(cgutils.alloca_once_value(builder, add_lanes(builder, values[0])))  # type: ignore[no-untyped-call]
    for row in range(2):
        with rows.exceptions(row) as loop:
            column, value, stand_in = rows.exception(row, loop.index)
            more = builder.fsub(value, stand_in)
            for total, token in zip(found[row * n_tokens :], tokens, strict=False):
                faced = builder.load(builder.gep(token, [column]))
                builder.store(multiply_add(builder, more, faced, builder.load(total)), total)
    return [builder.load(total) for total in found]


def emit_unpack(builder: ir.IRBuilder, rows: Rows, out: ir.Value) -> None:
    """Both rows' values, one behind the other."""
    width = builder.mul(rows.n_lines, ir.Constant(I64, LINE))
    outs = [builder.gep(out, [builder.mul(width, ir.Constant(I64, row))]) for row in range(2)]
    with cgutils.for_range(builder, rows.n_lines, intp=I64) as loop:
        for values, into in zip(rows.floats(loop.index), outs, strict=True):
            for part, value in enumerate(values):
                place = builder.add(builder.mul(loop.index, ir.Constant(I64, LINE)), ir.Constant(I64, part * LANES))
                builder.store(value, builder.bitcast(builder.gep(into, [place]), F32S.as_pointer()), align=4)
    for row, into in enumerate(outs):
        with rows.exceptions(row) as loop:
            column, value, _ = rows.exception(row, loop.index)
            builder.store(value, builder.gep(into, [column]))


def _code_line(typing: Any, weights: Any, first: Any, width: Any, bases: Any, row: Any, lines: Any, at: Any) -> Any:
    """Codes 64 weights of two rows, of flat weights, first on and width later, to bytes of lines from `at` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, bases, lines = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3, 5)
        )
        _, first, width, _, row, _, at = arguments
        order = ir.Constant(ir.VectorType(I32, LINE), ORDER.tolist())
        zeros = ir.Constant(I8X64, [0] * LINE)
        codes: list[ir.Value] = []
        lower: list[ir.Value] = []
        for i in range(2):
            place = builder.add(first, width) if i else first
            bits = load_vector(builder, weights, place, I16X64, 2)
            base = builder.load(builder.gep(bases, [builder.add(row, ir.Constant(I64, i))]))
            upper = builder.trunc(builder.lshr(bits, _words(8)), I8X64)
            code = builder.sub(builder.and_(upper, _bytes(0x7F)), _spread(builder, base, I8X64))
            is_exception = builder.icmp_signed("<", code, zeros)
            signed = builder.or_(code, builder.and_(builder.lshr(upper, _bytes(4)), _bytes(ROOM)))
            for parts, part in ((codes, signed), (lower, builder.trunc(bits, I8X64))):
                kept = builder.select(is_exception, zeros, part)
                parts.append(builder.shuffle_vector(kept, kept, order))
        joined = builder.or_(codes[0], builder.shl(codes[1], _bytes(4)))
        for i, line in enumerate((joined, *lower)):
            place = builder.gep(builder.bitcast(lines, BYTES), [builder.add(at, ir.Constant(I64, i * LINE))])
            builder.store(line, builder.bitcast(place, I8X64.as_pointer()), align=1)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(weights, integer, integer, bases, integer, lines, integer), codegen


def _bytes(value: int) -> ir.Constant:
    return ir.Constant(I8X64, [value] * LINE)


def _words(value: int) -> ir.Constant:
    return ir.Constant(I16X64, [value] * LINE)


code_line: Any = intrinsic(_code_line)
