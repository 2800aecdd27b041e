"""Products with packed MXFP4 in integers: activations as three limbs of 8 bits, for processors that have VNNI.

Twice a code's value is an integer, and 32 activations become integers of 24 bits by a scale of their own, as exact as
floats are of the largest of them. One instruction (vpdpbusd) multiplies 64 pairs of bytes and adds them up in fours, so
a line of 128 weights takes six of them, two for each limb; their sums are exact, and meet the scales as floats. Made
floats first (`dots`), the same weights take twice as many instructions, and memory waits for them.

The left operand of vpdpbusd has no sign, so a table makes codes into 2 * value + 12, and what that adds comes with the
activations, negative, as the number that the sums begin with. A face, one token's activations, is a row of bytes: for
each line (the last one filled up with zeros) the upper limbs of even positions, of odd ones, the next limbs of both,
the lowest, then, in lanes of 32 bits, what to begin with, and half the scale. Of a line's 16 lanes each block has four.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.kernels.cpu.simd import (
    BYTES,
    F32,
    F32S,
    I8,
    I8S,
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
    splat_float,
)
from harmonium.kernels.reference import E2M1

LINE_BLOCKS = 4
"""Blocks of 32 weights in the 64 bytes that a register holds."""
LINE_BYTES = 64
N_LIMBS, LIMB_BITS = 3, 8
BEGIN, SCALES = 2 * N_LIMBS, 2 * N_LIMBS + 1
"""Places in a line of a face, behind those of the limbs."""
FACE_BYTES = (SCALES + 1) * LINE_BYTES
"""Of a line in a face."""
MOST = 127 << LIMB_BITS * (N_LIMBS - 1)
"""The integer of a block's largest activation."""
OFFSET = 12

I8X64 = ir.VectorType(I8, LINE_BYTES)
I16X32 = ir.VectorType(ir.IntType(16), LINE_BYTES // 2)
CODES = ir.Constant(I8X64, [*(int(2 * value) + OFFSET for value in E2M1)] * 4)
"""What a byte's lowest six bits are looked up in: the upper two of them are another code's."""

Line = tuple[ir.Value, ir.Value, ir.Value]
"""Weights of even and of odd positions, bytes in 16 lanes of 32 bits, and the scales of their blocks in all lanes."""


def _at(builder: ir.IRBuilder, pointer: ir.Value, n_bytes: ir.Value | int) -> ir.Value:
    place = ir.Constant(I64, n_bytes) if isinstance(n_bytes, int) else n_bytes
    return builder.gep(builder.bitcast(pointer, BYTES), [place])


def emit_dots(
    builder: ir.IRBuilder, n_tokens: int, rows: list[list[ir.Value]], faces: ir.Value, n_blocks: ir.Value
) -> list[ir.Value]:
    """A float for each token of the first row, then of the second; rows are pointers to codes and scales."""
    size = ir.Constant(I64, LINE_BLOCKS)
    n_whole, rest = builder.udiv(n_blocks, size), builder.urem(n_blocks, size)
    n_lines = _lines(builder, n_blocks)
    zeros = float_constants((0.0,) * LANES)
    sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(2 * n_tokens)]  # type: ignore[no-untyped-call]

    def add_line(number: ir.Value, n: ir.Value | None) -> None:
        weights = [_line(builder, arrays, number, n) for arrays in rows]
        for token in range(n_tokens):
            line = builder.add(number, builder.mul(n_lines, ir.Constant(I64, token)))
            face = _at(builder, faces, builder.mul(line, ir.Constant(I64, FACE_BYTES)))
            for row, one in enumerate(weights):
                total = sums[row * n_tokens + token]
                builder.store(_product(builder, one, face, builder.load(total)), total)

    with cgutils.for_range(builder, n_whole, intp=I64) as loop:
        fetch_ahead(builder, rows[0][0], 2 * LINE_BYTES, loop.index)
        add_line(loop.index, None)
    with builder.if_then(builder.icmp_unsigned("!=", rest, ir.Constant(I64, 0))):
        add_line(n_whole, rest)
    return [add_lanes(builder, builder.load(total)) for total in sums]


def _lines(builder: ir.IRBuilder, n_blocks: ir.Value) -> ir.Value:
    return builder.udiv(builder.add(n_blocks, ir.Constant(I64, LINE_BLOCKS - 1)), ir.Constant(I64, LINE_BLOCKS))


def face_bytes(builder: ir.IRBuilder, n_blocks: ir.Value) -> ir.Value:
    """Of one token."""
    return builder.mul(_lines(builder, n_blocks), ir.Constant(I64, FACE_BYTES))


def _line(builder: ir.IRBuilder, arrays: list[ir.Value], number: ir.Value, n: ir.Value | None) -> Line:
    """A row's line; where n is given, it is its last, of n blocks."""
    codes, scales = (
        _load(builder, _at(builder, array, builder.mul(number, ir.Constant(I64, LINE_BLOCKS * size))), n, size)
        for array, size in zip(arrays, (LANES, 1), strict=True)
    )
    look_up = declare(builder.module, ir.FunctionType(I8X64, [I8X64, I8X64]), "llvm.x86.avx512.permvar.qi.512")
    words = builder.bitcast(codes, I16X32)  # there is no shift of bytes
    high = builder.bitcast(builder.lshr(words, ir.Constant(I16X32, [4] * I16X32.count)), I8X64)
    even, odd = (builder.bitcast(builder.call(look_up, [CODES, part]), I32S) for part in (codes, high))
    spread = builder.shuffle_vector(scales, scales, ir.Constant(I32S, [lane // LINE_BLOCKS for lane in range(LANES)]))
    return even, odd, builder.bitcast(builder.shl(builder.zext(spread, I32S), splat(23)), F32S)


def _load(builder: ir.IRBuilder, pointer: ir.Value, n_blocks: ir.Value | None, size: int) -> ir.Value:
    """A line's bytes, `size` of each block; zeros in place of what is behind n_blocks, and may not be read."""
    kind = ir.VectorType(I8, LINE_BLOCKS * size)
    place = builder.bitcast(pointer, kind.as_pointer())
    if n_blocks is None:
        return builder.load(place, align=1)
    counts = ir.VectorType(I32, LINE_BLOCKS * size)
    blocks = ir.Constant(counts, [i // size for i in range(LINE_BLOCKS * size)])
    there = builder.insert_element(ir.Constant(counts, ir.Undefined), builder.trunc(n_blocks, I32), ir.Constant(I32, 0))
    there = builder.shuffle_vector(there, there, ir.Constant(counts, [0] * LINE_BLOCKS * size))
    mask = builder.icmp_unsigned("<", blocks, there)
    function = ir.FunctionType(kind, [kind.as_pointer(), I32, mask.type, kind])
    masked = declare(builder.module, function, f"llvm.masked.load.v{LINE_BLOCKS * size}i8.p0")
    return builder.call(masked, [place, ir.Constant(I32, 1), mask, ir.Constant(kind, [0] * LINE_BLOCKS * size)])


def _product(builder: ir.IRBuilder, weights: Line, face: ir.Value, total: ir.Value) -> ir.Value:
    """total + a line of weights times the line of a face at a pointer, in 16 lanes of floats."""
    kind = ir.FunctionType(I32S, [I32S, I32S, I32S])
    add_products = declare(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")

    def part(number: int, vector: ir.Type = I32S) -> ir.Value:
        place = builder.bitcast(_at(builder, face, number * LINE_BYTES), vector.as_pointer())
        return builder.load(place, align=4)

    even, odd, scales = weights
    total_of_limbs = splat(0)
    for limb in range(N_LIMBS):
        begin = part(BEGIN) if limb == N_LIMBS - 1 else splat(0)
        sums = builder.call(
            add_products, [builder.call(add_products, [begin, even, part(2 * limb)]), odd, part(2 * limb + 1)]
        )
        total_of_limbs = builder.add(builder.shl(total_of_limbs, splat(LIMB_BITS)), sums) if limb else sums
    scale = builder.fmul(scales, part(SCALES, F32S))  # beside the sums, which it would have to wait for behind them
    return multiply_add(builder, builder.sitofp(total_of_limbs, F32S), scale, total)


def _put_limbs(typing: Any, faces: Any, face: Any, n_blocks: Any, block: Any, values: Any, first: Any) -> Any:
    """Makes 32 values, from `first` on, a block of a face; faces are int8 and flat, as values are.

    Where the largest is infinite or no number, so is what is multiplied with them.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        faces, values = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 4))
        _, face, n_blocks, block, _, first = arguments
        size = ir.Constant(I64, LINE_BLOCKS)
        line = builder.mul(builder.udiv(block, size), ir.Constant(I64, FACE_BYTES))
        inside = builder.mul(builder.urem(block, size), ir.Constant(I64, LANES))
        start = builder.mul(face, face_bytes(builder, n_blocks))
        _emit_block(builder, _at(builder, faces, builder.add(start, builder.add(line, inside))), values, first)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(faces, integer, integer, integer, values, integer), codegen


def _emit_block(builder: ir.IRBuilder, place: ir.Value, values: ir.Value, first: ir.Value) -> None:
    """Even and odd positions of 32 values as limbs, what their sums begin with, and half their scale."""
    halves = [
        load_vector(builder, values, builder.add(first, ir.Constant(I64, start)), F32S, 4) for start in (0, LANES)
    ]
    parts = [
        builder.shuffle_vector(*halves, ir.Constant(I32S, [2 * lane + odd for lane in range(LANES)])) for odd in (0, 1)
    ]
    scale, inverse = _scales(builder, parts)
    numbers = [_rounded(builder, builder.fmul(part, splat_float(builder, inverse))) for part in parts]
    for odd, number in enumerate(numbers):
        rest = number
        for limb in reversed(range(N_LIMBS)):
            _store(builder, _at(builder, place, (2 * limb + odd) * LINE_BYTES), builder.trunc(rest, I8S))
            rest = builder.ashr(builder.add(rest, splat(1 << LIMB_BITS - 1)), splat(LIMB_BITS))  # the limb has a sign
    sums = builder.add(*numbers)
    for n in (LANES // 2, LANES // 4):  # neighbours, twice: a lane of products is of four bytes
        kind = ir.VectorType(I32, n)
        pairs = [
            builder.shuffle_vector(sums, sums, ir.Constant(kind, [2 * i + odd for i in range(n)])) for odd in (0, 1)
        ]
        sums = builder.add(*pairs)
    begin = builder.mul(sums, ir.Constant(sums.type, [-OFFSET] * LINE_BLOCKS))
    _store(builder, _at(builder, place, BEGIN * LINE_BYTES), begin)
    half = builder.fmul(scale, ir.Constant(F32, 0.5))
    spread = builder.shuffle_vector(
        splat_float(builder, half), ir.Constant(F32S, ir.Undefined), ir.Constant(ir.VectorType(I32, 4), [0] * 4)
    )
    _store(builder, _at(builder, place, SCALES * LINE_BYTES), spread)


def _scales(builder: ir.IRBuilder, parts: list[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """The scale of a block, and its inverse. Without signs, floats are in the order of their bits, NaN the largest."""
    magnitudes = [builder.and_(builder.bitcast(part, I32S), splat(0x7FFFFFFF)) for part in parts]
    larger = builder.select(builder.icmp_unsigned(">", *magnitudes), *magnitudes)
    reduce = declare(builder.module, ir.FunctionType(I32, [I32S]), "llvm.vector.reduce.umax.v16i32")
    largest = builder.bitcast(builder.call(reduce, [larger]), F32)
    is_tiny = builder.fcmp_ordered("<", largest, ir.Constant(F32, 2.0**-100))
    divisor = builder.select(is_tiny, ir.Constant(F32, 2.0**-100), largest)
    scale = builder.fmul(divisor, ir.Constant(F32, 1 / MOST))
    return scale, builder.fdiv(ir.Constant(F32, float(MOST)), divisor)


def _rounded(builder: ir.IRBuilder, values: ir.Value) -> ir.Value:
    round_ = declare(builder.module, ir.FunctionType(F32S, [F32S]), "llvm.rint.v16f32")
    kind = ir.FunctionType(I32S, [F32S])
    convert = declare(builder.module, kind, "llvm.fptosi.sat.v16i32.v16f32")
    return builder.call(convert, [builder.call(round_, [values])])


def _store(builder: ir.IRBuilder, place: ir.Value, vector: ir.Value) -> None:
    builder.store(vector, builder.bitcast(place, vector.type.as_pointer()), align=4)


put_limbs: Any = intrinsic(_put_limbs)
