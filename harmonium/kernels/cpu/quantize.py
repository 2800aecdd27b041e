"""bfloat16 matrices to int8 in blocks of 32, as `Int8Matrix` defines them, in one reading and on all threads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled
from harmonium.kernels.cpu.dots import BLOCK
from harmonium.kernels.cpu.memory import large_array
from harmonium.kernels.cpu.pool import POOL, State, shared
from harmonium.kernels.cpu.products import n_of
from harmonium.kernels.cpu.simd import bits_of, widen
from harmonium.kernels.int8 import Int8Matrix

BLOCKS_PER_ITEM = 2**14
LEAST = np.finfo(np.float32).tiny

Bits = NDArray[np.uint16]


@shared
def _quantize_blocks(item: int, weights: Bits, codes: NDArray[np.int8], scales: Bits) -> None:
    for block in range(item * BLOCKS_PER_ITEM, min((item + 1) * BLOCKS_PER_ITEM, len(scales))):
        largest = np.uint16(0)
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            largest = max(
                largest, weights[i] & np.uint16(0x7FFF)
            )  # without signs, floats are in the order of their bits
        bits = bits_of(widen(np.uint16(largest)) * np.float32(1 / 127))
        bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)  # ties to even
        scales[block] = np.uint16(bits)
        inverse = np.float32(1) / max(widen(np.uint16(bits)), LEAST)
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            code = np.floor(widen(weights[i]) * inverse + np.float32(0.5))
            codes[i] = np.int8(np.int32(min(max(code, np.float32(-127)), np.float32(127))))


@compiled
def _quantize(state: State, weights: Bits, codes: NDArray[np.int8], scales: Bits) -> None:
    _quantize_blocks(state, n_of(len(scales), BLOCKS_PER_ITEM), (weights, codes, scales))


def quantize(weight: torch.Tensor) -> Int8Matrix:
    """weight (out, in) bfloat16, in blocks, to what `Int8Matrix.quantize` makes of it."""
    codes = torch.from_numpy(large_array(tuple(weight.shape), np.int8))
    scales = torch.from_numpy(large_array((len(weight), weight.shape[1] // BLOCK), np.int16)).view(torch.bfloat16)
    flat = weight.contiguous().view(-1).view(torch.uint16).numpy()
    with POOL.working():
        _quantize(POOL.state, flat, codes.view(-1).numpy(), scales.view(-1).view(torch.uint16).numpy())
    return Int8Matrix(codes, scales)
