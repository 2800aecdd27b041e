"""Rows of weights in blocks of 32, made floats in registers: of float32, bfloat16, int8 and packed MXFP4.

`dots_n` multiplies two rows at once with the vectors of n tokens; `unpack` writes rows out for products of many tokens.
Which weights they are is known by their type (`Matrix`). The activations of MXFP4 lie in block order: of every 32 the
sixteen of even positions, then the odd, because byte j of a block holds value 2j in its low and 2j + 1 in its high four
bits. All others lie as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from harmonium.hardware import has_vnni, instruction_set
from harmonium.kernels.cpu import coded, limbs
from harmonium.kernels.cpu.simd import (
    DECODERS,
    F32,
    F32S,
    I8S,
    I32,
    I32S,
    I64,
    LANES,
    add_lanes,
    fetch_ahead,
    float_constants,
    load_vector,
    multiply_add,
    splat,
    splat_float,
)

BLOCK = 2 * LANES
Matrix = NDArray[Any] | tuple[NDArray[Any], ...]
"""Flat weights: float32; the uint16 bits of bfloat16; int8 and the uint16 bits of their scales; MXFP4, two of uint8.

A pair is elements, or bytes of two codes, and the scales of blocks. Five are a `CodedMatrix`, whose rows are read from
an even one on, two at a time.
"""

Block = tuple[ir.Value, ir.Value, ir.Value | None]
"""Two vectors of values, and their scale in all lanes, if they have one."""
Decode = Callable[[ir.IRBuilder, list[ir.Value], ir.Value], Block]
"""Of the weights' arrays and a block's number."""


def _float32(builder: ir.IRBuilder, arrays: list[ir.Value], block: ir.Value) -> Block:
    return *(load_vector(builder, arrays[0], place, F32S, 4) for place in _halves(builder, block)), None


def _bfloat16(builder: ir.IRBuilder, arrays: list[ir.Value], block: ir.Value) -> Block:
    return *(builder.bitcast(half, F32S) for half in _upper(builder, arrays[0], block, 16)), None


def _int8(form: str) -> Decode:
    def decode(builder: ir.IRBuilder, arrays: list[ir.Value], block: ir.Value) -> Block:
        if form == "avx512" and has_vnni():
            halves = [builder.ashr(half, splat(24)) for half in _upper(builder, arrays[0], block, 8)]
        else:
            places = _halves(builder, block)
            halves = [builder.sext(load_vector(builder, arrays[0], place, I8S, 1), I32S) for place in places]
        first, second = (builder.sitofp(half, F32S) for half in halves)
        bits = builder.load(builder.gep(arrays[1], [block]))
        lanes = ir.VectorType(ir.IntType(16), 2 * LANES)  # a word is spread at once, then shifted in its lanes
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), bits, ir.Constant(I32, 0))
        words = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, 2 * LANES), [0] * 2 * LANES))
        return first, second, builder.bitcast(builder.shl(builder.bitcast(words, I32S), splat(16)), F32S)

    return decode


def _upper(builder: ir.IRBuilder, array: ir.Value, block: ir.Value, bits: int) -> list[ir.Value]:
    """A block's elements of so many bits as the upper ones of 32, over zeros.

    It is loaded at once and spread in registers: the more loads there are of a line, the longer memory waits.
    """
    kind, size = ir.VectorType(ir.IntType(bits), BLOCK), 32 // bits
    elements = load_vector(builder, array, _halves(builder, block)[0], kind, bits // 8)
    zeros, halves = ir.Constant(kind, [0] * BLOCK), []
    for start in (0, LANES):
        places = [place for lane in range(LANES) for place in (*[BLOCK] * (size - 1), start + lane)]
        spread = builder.shuffle_vector(elements, zeros, ir.Constant(ir.VectorType(I32, size * LANES), places))
        halves.append(builder.bitcast(spread, I32S))
    return halves


def _mxfp4(form: str) -> Decode:
    def decode(builder: ir.IRBuilder, arrays: list[ir.Value], block: ir.Value) -> Block:
        start = builder.mul(block, ir.Constant(I64, LANES))
        codes = builder.zext(load_vector(builder, arrays[0], start, I8S, 1), I32S)
        halves = (DECODERS[form](builder, part) for part in (codes, builder.lshr(codes, splat(4))))
        return *halves, _power(builder, arrays[1], block)

    return decode


def _halves(builder: ir.IRBuilder, block: ir.Value) -> list[ir.Value]:
    """Where a block's two vectors begin, counted in elements."""
    start = builder.mul(block, ir.Constant(I64, BLOCK))
    return [start, builder.add(start, ir.Constant(I64, LANES))]


def _power(builder: ir.IRBuilder, scales: ir.Value, block: ir.Value) -> ir.Value:
    """A block's scale of eight bits, the exponent of a float; 2 ** -127, which is no float32 but nearly, is 0."""
    bits = builder.zext(builder.load(builder.gep(scales, [block])), I32)
    return splat_float(builder, builder.bitcast(builder.shl(bits, ir.Constant(I32, 23)), F32))


def _decode_of(matrix: Any, form: str) -> tuple[Decode, tuple[int, ...]]:
    """How weights of a type are decoded, and how many elements of each of their arrays make a block."""
    arrays = matrix.types if isinstance(matrix, types.Tuple | types.UniTuple) else (matrix,)
    return {
        (types.float32,): (_float32, (BLOCK,)),
        (types.uint16,): (_bfloat16, (BLOCK,)),
        (types.int8, types.uint16): (_int8(form), (BLOCK, 1)),
        (types.uint8, types.uint8): (_mxfp4(form), (LANES, 1)),
    }[tuple(array.dtype for array in arrays)]


def _is_coded(matrix: Any) -> bool:
    return isinstance(matrix, types.Tuple) and len(matrix.types) > 2


def _data(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Pointers to the first elements of an array, or of a tuple's arrays."""
    if not isinstance(kind, types.Tuple | types.UniTuple):
        return [context.make_array(kind)(context, builder, value).data]
    parts = [builder.extract_value(value, i) for i in range(len(kind.types))]
    return [context.make_array(one)(context, builder, part).data for one, part in zip(kind.types, parts, strict=True)]


def _from(builder: ir.IRBuilder, arrays: list[ir.Value], sizes: tuple[int, ...], block: ir.Value) -> list[ir.Value]:
    """The same arrays from a block on."""
    pairs = zip(arrays, sizes, strict=True)
    return [builder.gep(array, [builder.mul(block, ir.Constant(I64, size))]) for array, size in pairs]


def _element_bytes(array: ir.Value) -> int:
    kind: Any = array.type.pointee
    return kind.width // 8 if isinstance(kind, ir.IntType) else 4


def _emit_dots(
    builder: ir.IRBuilder,
    decode: Decode,
    sizes: tuple[int, ...],
    n_tokens: int,
    rows: list[list[ir.Value]],
    x: ir.Value,
    n_blocks: ir.Value,
) -> list[ir.Value]:
    """A float for each token of the first row, then of the second; two rows, because each sum waits for itself."""
    zeros = float_constants((0.0,) * LANES)
    sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(2 * n_tokens)]  # type: ignore[no-untyped-call]
    with cgutils.for_range(builder, n_blocks, intp=I64) as loop:
        blocks = [builder.add(loop.index, builder.mul(n_blocks, ir.Constant(I64, token))) for token in range(n_tokens)]
        faced = [[load_vector(builder, x, place, F32S, 4) for place in _halves(builder, block)] for block in blocks]
        fetch_ahead(builder, rows[0][0], 2 * sizes[0] * _element_bytes(rows[0][0]), loop.index)
        for row, arrays in enumerate(rows):
            first, second, scale = decode(builder, arrays, loop.index)
            if scale is not None and n_tokens > 1:
                first, second = (builder.fmul(half, scale, flags=("contract",)) for half in (first, second))
            for (x_first, x_second), total in zip(faced, sums[row * n_tokens :], strict=False):
                if scale is not None and n_tokens == 1:
                    products = builder.fmul(second, x_second, flags=("contract",))
                    products = multiply_add(builder, first, x_first, products)
                    value = multiply_add(builder, products, scale, builder.load(total))
                else:
                    value = multiply_add(builder, first, x_first, builder.load(total))
                    value = multiply_add(builder, second, x_second, value)
                builder.store(value, total)
    return [add_lanes(builder, builder.load(total)) for total in sums]


def _dots(form: str, n_tokens: int) -> Any:
    def dots(typing: Any, matrix: Any, row: Any, n_blocks: Any, x: Any, first: Any, out: Any, at: Any, n: Any) -> Any:
        """Rows `row` and row + 1 times tokens of x from `first` on, to out (2, n) from its token `at` on.

        A row is n_blocks blocks, and so is each token of x; all arrays are flat. Where the weights are MXFP4, x may
        be faces (`limbs`).
        """

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = _data(context, builder, signature.args[0], arguments[0])
            (x,), (out,) = (_data(context, builder, signature.args[i], arguments[i]) for i in (3, 5))
            row, n_blocks, first, at, n = (arguments[i] for i in (1, 2, 4, 6, 7))
            outs = [builder.gep(out, [place]) for place in (at, builder.add(at, n))]
            if signature.args[3].dtype == types.int8:
                x = builder.gep(x, [builder.mul(first, limbs.face_bytes(builder, n_blocks))])
            else:
                (x,) = _from(builder, [x], (BLOCK,), builder.mul(first, n_blocks))
            if _is_coded(signature.args[0]):
                totals = coded.emit_dots(builder, n_tokens, coded.Rows(builder, arrays, row, n_blocks), x)
            else:
                decode, sizes = _decode_of(signature.args[0], form)
                starts = [builder.mul(one, n_blocks) for one in (row, builder.add(row, ir.Constant(I64, 1)))]
                rows = [_from(builder, arrays, sizes, start) for start in starts]
                if signature.args[3].dtype == types.int8:
                    totals = limbs.emit_dots(builder, n_tokens, rows, x, n_blocks)
                else:
                    totals = _emit_dots(builder, decode, sizes, n_tokens, rows, x, n_blocks)
            for place, total in enumerate(totals):
                row_out, token = outs[place // n_tokens], ir.Constant(I64, place % n_tokens)
                builder.store(total, builder.gep(row_out, [token]))
            return context.get_dummy_value()

        integer = types.int64
        return types.void(matrix, integer, integer, x, integer, out, integer, integer), codegen

    return intrinsic(dots)


def _unpack(form: str) -> Any:
    def unpack(typing: Any, matrix: Any, row: Any, n_rows: Any, n_blocks: Any, out: Any) -> Any:
        """Fills out, flat, with the values of rows of n_blocks, from `row` on; those of MXFP4 come in block order."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = _data(context, builder, signature.args[0], arguments[0])
            (out,) = _data(context, builder, signature.args[4], arguments[4])
            _, row, n_rows, n_blocks, _ = arguments
            if _is_coded(signature.args[0]):
                with cgutils.for_range(builder, builder.lshr(n_rows, ir.Constant(I64, 1)), intp=I64) as loop:
                    place = builder.shl(loop.index, ir.Constant(I64, 1))
                    rows = coded.Rows(builder, arrays, builder.add(row, place), n_blocks)
                    coded.emit_unpack(builder, rows, *_from(builder, [out], (BLOCK,), builder.mul(place, n_blocks)))
                return context.get_dummy_value()
            decode, sizes = _decode_of(signature.args[0], form)
            arrays = _from(builder, arrays, sizes, builder.mul(row, n_blocks))
            with cgutils.for_range(builder, builder.mul(n_rows, n_blocks), intp=I64) as loop:
                *halves, scale = decode(builder, arrays, loop.index)
                for place, half in zip(_halves(builder, loop.index), halves, strict=True):
                    value = half if scale is None else builder.fmul(half, scale)
                    builder.store(value, builder.bitcast(builder.gep(out, [place]), F32S.as_pointer()), align=4)
            return context.get_dummy_value()

        integer = types.int64
        return types.void(matrix, integer, integer, integer, out), codegen

    return intrinsic(unpack)


DOTS = {form: {n_tokens: _dots(form, n_tokens) for n_tokens in (1, 2, 4)} for form in DECODERS}
UNPACKS = {form: _unpack(form) for form in DECODERS}
"""In each form, which differ where weights are MXFP4 or int8."""

dots_1, dots_2, dots_4 = DOTS[instruction_set()].values()
unpack = UNPACKS[instruction_set()]
