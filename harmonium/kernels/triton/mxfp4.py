"""Packed MXFP4 on its way to the tensor cores: an order of bits and words from which decoding takes few instructions.

A bfloat16 whose sign is a code's sign and whose bits 8 to 6 are its other three is the code's value times 2 ** -126,
exactly, subnormals included; one multiplication by a power of two makes it right. A 32-bit word holds eight codes in
four patterns of bits such that a rotation and a mask give a pair: nine integer instructions and four multiplications.

Words lie in the order in which the tensor cores' instructions want their left operand in registers: a lane reads 16
bytes and has its part of a tile of 64 rows and 64 columns, with nothing to exchange. Sources: OCP Microscaling Formats
(MX) v1.0; PTX ISA, "Matrix Fragments for mma.m16n8k16".
"""

from __future__ import annotations

import triton
import triton.language as tl

PATTERNS = (((0, 0x81C0),), ((4, 0x81C0),), ((10, 0x81C0),), ((6, 0x80C0), (30, 0x0100)))
"""For each pair of a word: rotations to the left, and what they bring to its place, the same in both halves."""
LIMIT = tl.constexpr(7.0)
ALPHA = tl.constexpr(1.702)


def _instructions() -> str:
    """PTX that decodes a lane's four words: operands 0 to 15 are pairs of bfloat16, then the words, then the scales."""
    lines = [".reg .b32 scale, bits, more, zero;", "mov.b32 zero, 0x80008000;"]
    for word in range(4):
        block, half = divmod(word, 2)
        lines += [f"prmt.b32 scale, $20, 0, 0x4{word}4{word};", "shl.b32 scale, scale, 7;"]
        for i, pattern in enumerate(PATTERNS):
            for part, (turn, mask) in enumerate(pattern):
                target, pair_mask = "more" if part else "bits", mask << 16 | mask
                lines.append(_rotation(target, f"${16 + word}", turn, pair_mask))
                lines.append(f"and.b32 {target}, {target}, 0x{pair_mask:08x};")
                if part:
                    lines.append("or.b32 bits, bits, more;")
            lines.append(f"fma.rn.bf16x2 ${2 * (4 * block + i) + half}, bits, scale, zero;")
    return "{" + " ".join(lines) + "}"


def _rotation(target: str, word: str, turn: int, mask: int) -> str:
    """PTX for a rotation to the left, or for a shift where the mask takes nothing that came around."""
    if mask >> turn << turn == mask:
        return f"shl.b32 {target}, {word}, {turn};"
    if mask << (32 - turn) < 1 << 32:
        return f"shr.u32 {target}, {word}, {32 - turn};"
    return f"shf.l.wrap.b32 {target}, {word}, {word}, {turn};"


DECODE = tl.constexpr(_instructions())
CONSTRAINTS = tl.constexpr(",".join(["=r"] * 16 + ["r"] * 8))
BFLOATS = tl.constexpr((tl.bfloat16,) * 8)


@triton.jit
def turned(words, n: tl.constexpr):
    return (words << n) | (words >> (32 - n))


@triton.jit
def four_pairs(words):
    """The pairs of codes in each of words uint32: a code's sign and other bits as a bfloat16 has its own."""
    p0, p1, p2 = words & 0x81C081C0, turned(words, 4) & 0x81C081C0, turned(words, 10) & 0x81C081C0
    return p0, p1, p2, (turned(words, 6) & 0x80C080C0) | (turned(words, 30) & 0x01000100)


@triton.jit
def sides(bits, factor):
    """The two values of each of bits (lanes, 2) uint32 as float32, side by side: (lanes, 2, 2)."""
    low, high = (bits << 16).to(tl.float32, bitcast=True), (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    return tl.join(low * factor, high * factor)


@triton.jit
def block_values(words, exponents, DTYPE: tl.constexpr):
    """One block's words (lanes, 2 halves) uint32 and exponents, decoded without PTX: four of (lanes, 2, 2 sides)."""
    factor = (exponents << 23).to(tl.float32, bitcast=True)
    p0, p1, p2, p3 = four_pairs(words)
    return (
        sides(p0, factor).to(DTYPE),
        sides(p1, factor).to(DTYPE),
        sides(p2, factor).to(DTYPE),
        sides(p3, factor).to(DTYPE),
    )


@triton.jit
def decoded(words, scales, TILES: tl.constexpr, DTYPE: tl.constexpr, PTX: tl.constexpr):
    """words (TILES * 512,) int32 and scales (TILES * 128,) int32, one a lane: (TILES * 64, 64) in DTYPE."""
    lanes: tl.constexpr = TILES * 128
    if PTX:
        words = tl.reshape(words, [lanes, 4])
        scales = tl.broadcast_to(scales[:, None], [lanes, 4])
        v = tl.inline_asm_elementwise(DECODE, CONSTRAINTS, [words, scales], BFLOATS, is_pure=True, pack=4)
        v0, v1, v2, v3, v4, v5, v6, v7 = v  # each (lanes, 4): half, side
    else:
        words = tl.reshape(words.to(tl.uint32, bitcast=True), [lanes, 2, 2])
        first, second = tl.split(tl.permute(words, (0, 2, 1)))  # the blocks
        scales = tl.broadcast_to(scales.to(tl.uint32, bitcast=True)[:, None], [lanes, 2])
        half = tl.arange(0, 2)[None, :] * 8
        v0, v1, v2, v3 = block_values(first, (scales >> half) & 255, DTYPE)
        v4, v5, v6, v7 = block_values(second, (scales >> (half + 16)) & 255, DTYPE)
    even = tl.join(tl.join(v0, v4), tl.join(v2, v6))  # (.., block, pair's high bit)
    odd = tl.join(tl.join(v1, v5), tl.join(v3, v7))
    both = tl.reshape(tl.join(even, odd), [TILES, 4, 8, 4, 2, 2, 2, 2, 2])
    # From (tile, warp, group, member, half, side, block, high, low) to rows and columns.
    both = tl.permute(both, (0, 1, 4, 2, 6, 7, 8, 3, 5))
    return tl.reshape(both, [TILES * 64, 64])


@triton.jit
def swiglu(gate, up):
    gate = tl.minimum(gate, LIMIT)
    up = tl.minimum(tl.maximum(up, -LIMIT), LIMIT)
    return (up + 1) * gate / (1 + tl.exp(gate * -ALPHA))
