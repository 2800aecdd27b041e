"""What numba cannot say in Python: sixteen MXFP4 codes to floats, bit casts, and an exponential that vectorizes.

Three forms differ in how codes become floats, chosen by what the processor has: AVX-512 looks all sixteen up in one
register (vpermps), AVX2 looks the eight magnitudes up and sets the sign, and the portable one, for Arm and others,
computes them in bytes. Each looks at the lowest four bits of a lane only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.kernels.cpu.compile import inlined
from harmonium.kernels.reference import E2M1

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
LANES = 16
I8S, I32S, F32S = (ir.VectorType(kind, LANES) for kind in (I8, I32, F32))


BYTES = I8.as_pointer()
LINE = 64
"""Bytes of a cache's line."""
AHEAD = 3 * 2**12
"""Bytes ahead of which memory is asked for what comes next: some microseconds, and a part of the first cache."""


def splat(value: int) -> ir.Constant:
    return ir.Constant(I32S, [value] * LANES)


def float_constants(values: tuple[float, ...]) -> ir.Constant:
    return ir.Constant(ir.VectorType(F32, len(values)), [ir.Constant(F32, value) for value in values])


def _decode_avx512(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    kind = ir.FunctionType(F32S, [F32S, I32S])
    permute = declare(builder.module, kind, "llvm.x86.avx512.permvar.sf.512")
    return builder.call(permute, [float_constants(E2M1), codes])


def _decode_avx2(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    eight, eight_floats = ir.VectorType(I32, 8), ir.VectorType(F32, 8)
    kind = ir.FunctionType(eight_floats, [eight_floats, eight])
    permute = declare(builder.module, kind, "llvm.x86.avx2.permps")
    halves = []
    for start in (0, 8):
        part = builder.shuffle_vector(
            codes, ir.Constant(I32S, ir.Undefined), ir.Constant(eight, [*range(start, start + 8)])
        )
        halves.append(builder.call(permute, [float_constants(E2M1[:8]), part]))  # looks at the lowest three bits
    magnitudes = builder.shuffle_vector(*halves, ir.Constant(I32S, [*range(LANES)]))
    signs = builder.shl(builder.and_(codes, splat(8)), splat(28))
    return builder.bitcast(builder.or_(builder.bitcast(magnitudes, I32S), signs), F32S)


def _decode_portable(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    """In bytes, of which every processor has vectors: twice the value is the most of code, 2 code - 4 and 4 code - 16.

    Shifting each lane by its own exponent is one instruction with AVX2, and without it a hundred.
    """
    kind = ir.FunctionType(I8S, [I8S, I8S])
    subtract = declare(builder.module, kind, "llvm.usub.sat.v16i8")  # nothing below 0
    codes = builder.trunc(codes, I8S)
    code = twice = builder.and_(codes, _bytes(7))
    for shift, less in ((1, 4), (2, 16)):
        other = builder.call(subtract, [builder.shl(code, _bytes(shift)), _bytes(less)])
        twice = builder.select(builder.icmp_unsigned(">", other, twice), other, twice)
    is_negative = builder.icmp_unsigned("!=", builder.and_(codes, _bytes(8)), _bytes(0))
    twice = builder.select(is_negative, builder.neg(twice), twice)
    return builder.fmul(builder.sitofp(builder.sext(twice, I32S), F32S), float_constants((0.5,) * LANES))


def _bytes(value: int) -> ir.Constant:
    return ir.Constant(I8S, [value] * LANES)


DECODERS = {"avx512": _decode_avx512, "avx2": _decode_avx2, "portable": _decode_portable}


def declare(module: ir.Module, kind: ir.FunctionType, name: str) -> Any:
    """LLVM's function of that name, in this module."""
    return cgutils.get_or_insert_function(module, kind, name)  # type: ignore[no-untyped-call]


def load_vector(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, kind: ir.Type, alignment: int) -> ir.Value:
    """The vector of `kind` at pointer[index], unaligned."""
    place = builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())
    return builder.load(place, align=alignment)


def fetch_ahead(builder: ir.IRBuilder, array: ir.Value, n_bytes: int, index: ir.Value) -> None:
    """Asks memory for a part of what lies AHEAD bytes behind two rows: n_bytes of it at each index.

    The processor follows a stream by itself, but not far enough ahead of products that take a while for each line, and
    asking for whole rows at once makes it wait. Rows lie one behind the other; what is asked for may be past the end.
    """
    prefetch = declare(builder.module, ir.FunctionType(ir.VoidType(), [BYTES, I32, I32, I32]), "llvm.prefetch.p0")
    start = builder.add(builder.mul(index, ir.Constant(I64, n_bytes)), ir.Constant(I64, AHEAD))
    for line in range(0, n_bytes, LINE):
        place = builder.gep(builder.bitcast(array, BYTES), [builder.add(start, ir.Constant(I64, line))])
        builder.call(prefetch, [place, *(ir.Constant(I32, n) for n in (0, 3, 1))])


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, in one instruction where there is one."""
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


def add_lanes(builder: ir.IRBuilder, values: ir.Value) -> ir.Value:
    kind = ir.FunctionType(F32, [F32, F32S])
    reduce = declare(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
    return builder.call(reduce, [ir.Constant(F32, 0.0), values], fastmath=("reassoc",))


def splat_float(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A float in every lane."""
    lane = builder.insert_element(ir.Constant(F32S, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(lane, ir.Constant(F32S, ir.Undefined), splat(0))


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


def _bits_of(typing: Any, number: Any) -> Any:
    """The bits of a float32, as uint32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], I32)

    return types.uint32(types.float32), codegen


bits_of: Any = intrinsic(_bits_of)


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
