"""What numba cannot say in Python: the packed MXFP4 dot product, bit casts, and an exponential that vectorizes.

A row of packed weights meets activations that are split into even and odd positions: byte j of a block holds value 2j
in its low and 2j + 1 in its high four bits, so the sixteen low codes of a block face sixteen even activations, and the
high ones the odd. Three forms differ in how codes become floats, chosen by what the processor has: AVX-512 looks all
sixteen up in one register (vpermps), AVX2 looks the eight magnitudes up and sets the sign, and the portable one, for
Arm and others, shifts integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.hardware import instruction_set
from harmonium.kernels.cpu.compile import inlined
from harmonium.kernels.reference import E2M1

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
LANES = 16
I8S, I32S, F32S = ir.VectorType(I8, LANES), ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)


def _splat(value: int) -> ir.Constant:
    return ir.Constant(I32S, [value] * LANES)


def _float_constants(values: tuple[float, ...]) -> ir.Constant:
    return ir.Constant(ir.VectorType(F32, len(values)), [ir.Constant(F32, value) for value in values])


def _decode_avx512(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    kind = ir.FunctionType(F32S, [F32S, I32S])
    permute = _declare(builder.module, kind, "llvm.x86.avx512.permvar.sf.512")
    return builder.call(permute, [_float_constants(E2M1), codes])


def _decode_avx2(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    eight, eight_floats = ir.VectorType(I32, 8), ir.VectorType(F32, 8)
    kind = ir.FunctionType(eight_floats, [eight_floats, eight])
    permute = _declare(builder.module, kind, "llvm.x86.avx2.permps")
    halves = []
    for start in (0, 8):
        part = builder.shuffle_vector(
            codes, ir.Constant(I32S, ir.Undefined), ir.Constant(eight, [*range(start, start + 8)])
        )
        halves.append(builder.call(permute, [_float_constants(E2M1[:8]), part]))  # looks at the lowest three bits
    magnitudes = builder.shuffle_vector(*halves, ir.Constant(I32S, [*range(LANES)]))
    signs = builder.shl(builder.and_(codes, _splat(8)), _splat(28))
    return builder.bitcast(builder.or_(builder.bitcast(magnitudes, I32S), signs), F32S)


def _decode_portable(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    """Twice the value is the integer (2 + mantissa) << (exponent - 1), or the mantissa where the exponent is 0."""
    exponent = builder.and_(builder.lshr(codes, _splat(1)), _splat(3))
    is_normal = builder.icmp_unsigned("!=", exponent, _splat(0))
    mantissa = builder.or_(builder.and_(codes, _splat(1)), builder.select(is_normal, _splat(2), _splat(0)))
    shift = builder.select(is_normal, builder.sub(exponent, _splat(1)), _splat(0))
    magnitude = builder.shl(mantissa, shift)
    is_negative = builder.icmp_unsigned("!=", builder.and_(codes, _splat(8)), _splat(0))
    signed = builder.select(is_negative, builder.sub(_splat(0), magnitude), magnitude)
    floats = builder.sitofp(signed, F32S)
    return builder.fmul(floats, _float_constants((0.5,) * LANES))


_DECODERS = {"avx512": _decode_avx512, "avx2": _decode_avx2, "portable": _decode_portable}


def _declare(module: ir.Module, kind: ir.FunctionType, name: str) -> Any:
    """LLVM's function of that name, in this module."""
    return cgutils.get_or_insert_function(module, kind, name)  # type: ignore[no-untyped-call]


def _load(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, kind: ir.Type, alignment: int) -> ir.Value:
    """The vector of `kind` at pointer[index], unaligned."""
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    return builder.load(place, align=alignment)


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, in one instruction where there is one."""
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


def _emit_dot(builder: ir.IRBuilder, form: str, pointers: list[ir.Value], n_blocks: ir.Value) -> ir.Value:
    """The sum over n_blocks of scale * (low codes . even + high codes . odd), as one float."""
    blocks, scales, even, odd = pointers
    decode = _DECODERS[form]
    total = cgutils.alloca_once_value(builder, _float_constants((0.0,) * LANES))  # type: ignore[no-untyped-call]
    with cgutils.for_range(builder, n_blocks, intp=I64) as loop:
        start = builder.mul(loop.index, ir.Constant(I64, LANES))
        codes = builder.zext(_load(builder, blocks, start, I8S, 1), I32S)
        low, high = (
            decode(builder, part) for part in (builder.and_(codes, _splat(15)), builder.lshr(codes, _splat(4)))
        )
        products = builder.fmul(high, _load(builder, odd, start, F32S, 4), flags=("contract",))
        products = _multiply_add(builder, low, _load(builder, even, start, F32S, 4), products)
        exponent = builder.zext(builder.load(builder.gep(scales, [loop.index])), I32)
        scale = builder.bitcast(builder.shl(exponent, ir.Constant(I32, 23)), F32)
        lane = builder.insert_element(ir.Constant(F32S, ir.Undefined), scale, ir.Constant(I32, 0))
        scales_16 = builder.shuffle_vector(lane, ir.Constant(F32S, ir.Undefined), _splat(0))
        builder.store(_multiply_add(builder, products, scales_16, builder.load(total)), total)
    kind = ir.FunctionType(F32, [F32, F32S])
    reduce = _declare(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
    return builder.call(reduce, [ir.Constant(F32, 0.0), builder.load(total)], fastmath=("reassoc",))


def _dot(form: str) -> Any:
    def dot(typing: Any, blocks: Any, scales: Any, first: Any, n_blocks: Any, even: Any, odd: Any) -> Any:
        """Blocks first to first + n_blocks of flat packed weights (bytes, scales), times even and odd activations."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            blocks, scales, even, odd = (
                context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 1, 4, 5)
            )
            first, n_blocks = arguments[2:4]
            blocks = builder.gep(blocks, [builder.mul(first, ir.Constant(I64, LANES))])
            return _emit_dot(builder, form, [blocks, builder.gep(scales, [first]), even, odd], n_blocks)

        return types.float32(blocks, scales, types.int64, types.int64, even, odd), codegen

    return intrinsic(dot)


DOTS = {form: _dot(form) for form in _DECODERS}
"""dot(blocks, scales, first, n_blocks, even, odd) -> float32 in each form."""

dot = DOTS[instruction_set()]


def _power_of_two(typing: Any, exponent: Any) -> Any:
    """2.0 ** exponent as float32, for an int32 exponent from -126 to 127."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.add(arguments[0], ir.Constant(I32, 127)), ir.Constant(I32, 23))
        return builder.bitcast(bits, F32)

    return types.float32(types.int32), codegen


power_of_two: Any = intrinsic(_power_of_two)


def _widen(typing: Any, number: Any) -> Any:
    """A float32 as it is, or the uint16 bits of a bfloat16 as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0] == types.float32:
            return arguments[0]
        return builder.bitcast(builder.shl(builder.zext(arguments[0], I32), ir.Constant(I32, 16)), F32)

    return types.float32(number), codegen


widen: Any = intrinsic(_widen)


@inlined
def exp(x: np.float32) -> np.float32:
    """e ** x within 1e-6 relative for |x| < 10, 1e-5 up to 87; below that 1.2e-38. Loops over it vectorize."""
    turns = min(max(x * np.float32(1.4426950408889634), np.float32(-126)), np.float32(127))
    whole = np.floor(turns + np.float32(0.5))
    rest = (turns - whole) * np.float32(0.6931471805599453)  # in [-0.35, 0.35]
    series = np.float32(1 / 720)
    for divisor in (120, 24, 6, 2, 1, 1):
        series = series * rest + np.float32(1 / divisor)
    result: np.float32 = series * power_of_two(np.int32(whole))
    return result
