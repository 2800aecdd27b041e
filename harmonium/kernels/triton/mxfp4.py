"""Packed MXFP4 on its way to the tensor cores: an order of bits and words from which decoding takes few instructions.

A bfloat16 whose sign is a code's sign and whose bits 8 to 6 are its other three is the code's value times 2 ** -126,
exactly, subnormals included; one multiplication by a power of two makes it right. A 32-bit word holds eight codes in
four patterns of bits such that a rotation and a mask give a pair: nine integer instructions and four multiplications.

Words lie in the order in which the tensor cores' instructions want their left operand in registers: a lane reads 16
bytes and has its part of a tile of 64 rows and 64 columns, with nothing to exchange. Sources: OCP Microscaling Formats
(MX) v1.0; PTX ISA, "Matrix Fragments for mma.m16n8k16".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

TILE = 64
"""Rows and columns of a tile: 512 words, and 128 bytes of scales."""
PATTERNS = (((0, 0x81C0),), ((4, 0x81C0),), ((10, 0x81C0),), ((6, 0x80C0), (30, 0x0100)))
"""For each pair of a word: rotations to the left, and what they bring to its place, the same in both halves."""
LIMIT = tl.constexpr(7.0)
ALPHA = tl.constexpr(1.702)


@dataclass(frozen=True)
class Packed:
    """One projection of all experts. words (experts, row tiles, column tiles, 512) and scales (.., 32), both int32.

    A product of these words times unit, a power of two, is what it stands for. bias is (experts, out).
    """

    words: Tensor
    scales: Tensor
    bias: Tensor
    width: int
    unit: float

    @classmethod
    def of(cls, blocks: Tensor, scales: Tensor, bias: Tensor, *, is_paired: bool) -> Packed:
        """From a checkpoint's blocks (experts, out, in / 32, 16) and scales (experts, out, in / 32), both uint8.

        is_paired: rows 2i and 2i + 1 of a tile come to lie eight apart, where one lane has both.
        """
        width, shift = scales.shape[2] * 32, max(0, int(scales.max()) - 128)
        exponents = (scales.int() + (126 - shift)).clamp(1, 254).to(torch.uint8)
        words = torch.stack([tiled_codes(its, is_paired=is_paired) for its in blocks])
        tiled = torch.stack([tiled_scales(its, is_paired=is_paired) for its in exponents])
        return cls(words, tiled.view(torch.int32), bias, width, 2.0**shift)


def tiled_codes(blocks: Tensor, *, is_paired: bool) -> Tensor:
    """blocks (out, in / 32, 16) uint8 to words (row tiles, column tiles, 512) int32, filled up with zeros."""
    codes = torch.stack((blocks & 15, blocks >> 4), -1).flatten(1).int()  # (out, in)
    codes = F.pad(codes, (0, -codes.shape[1] % TILE, 0, -codes.shape[0] % TILE))
    rows, columns = codes.shape[0] // TILE, codes.shape[1] // TILE
    # A row is 16 warp + 8 half + group, a column 32 block + 8 pair + 2 member + side.
    parts = _halved(codes.view(rows, 64, -1), is_paired).view(rows, 4, 2, 8, columns, 2, 4, 4, 2)
    parts = parts.permute(0, 4, 1, 3, 7, 5, 2, 6, 8)  # (.., warp, group, member, block, half, pair, side)
    places = ((parts & 8) << 12) | ((parts & 7) << 6)
    both = places[..., 0] | (places[..., 1] << 16)
    words = torch.zeros_like(both[..., 0])
    for i, pattern in enumerate(PATTERNS):
        for turn, mask in pattern:
            bits = both[..., i] & _signed(mask << 16 | mask)
            words |= (bits << (32 - turn) % 32) | ((bits >> turn) & ((1 << (32 - turn)) - 1) if turn else bits)
    return words.reshape(rows, columns, 512)


def tiled_scales(scales: Tensor, *, is_paired: bool) -> Tensor:
    """scales (out, in / 32) uint8 to (row tiles, column tiles, 128): warp, group, block, half."""
    scales = F.pad(scales, (0, scales.shape[1] % 2, 0, -scales.shape[0] % TILE), value=1)
    rows, columns = scales.shape[0] // TILE, scales.shape[1] // 2
    parts = _halved(scales.view(rows, 64, -1), is_paired).view(rows, 4, 2, 8, columns, 2)
    return parts.permute(0, 4, 1, 3, 5, 2).reshape(rows, columns, 128).contiguous()


def _halved(tiles: Tensor, is_paired: bool) -> Tensor:
    """tiles (n, 64, width), where is_paired with the even of each 16 rows before the odd."""
    return tiles.view(-1, 4, 8, 2, tiles.shape[2]).transpose(2, 3).reshape(tiles.shape) if is_paired else tiles


def _signed(bits: int) -> int:
    return bits - (bits >> 31 << 32)


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
def sides(bits, factor):
    """The two values of each of bits (lanes, 2) uint32 as float32, side by side: (lanes, 2, 2)."""
    low, high = (bits << 16).to(tl.float32, bitcast=True), (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    return tl.join(low * factor, high * factor)


@triton.jit
def block_values(words, exponents, DTYPE: tl.constexpr):
    """One block's words (lanes, 2 halves) uint32 and exponents, decoded without PTX: four of (lanes, 2, 2 sides)."""
    factor = (exponents << 23).to(tl.float32, bitcast=True)
    v0 = sides(words & 0x81C081C0, factor).to(DTYPE)
    v1 = sides(turned(words, 4) & 0x81C081C0, factor).to(DTYPE)
    v2 = sides(turned(words, 10) & 0x81C081C0, factor).to(DTYPE)
    v3 = sides((turned(words, 6) & 0x80C080C0) | (turned(words, 30) & 0x01000100), factor).to(DTYPE)
    return v0, v1, v2, v3


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
