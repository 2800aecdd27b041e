"""Packed MXFP4 experts: matrix-vector products for few tokens, decoding and the activation for many.

Packed weights are flat here: row r of an expert's matrix is its n_blocks blocks of 16 bytes, and as many scales, after
those of the rows and experts before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.dense import Floats, Integers
from harmonium.kernels.cpu.simd import dot, exp, power_of_two
from harmonium.kernels.reference import E2M1, SWIGLU_ALPHA, SWIGLU_LIMIT

Bytes = NDArray[np.uint8]

_ALPHA, _LIMIT = np.float32(SWIGLU_ALPHA), np.float32(SWIGLU_LIMIT)
_BYTE_VALUES = np.array([(E2M1[byte & 15], E2M1[byte >> 4]) for byte in range(256)], np.float32)


@inlined
def activate(gate: np.float32, up: np.float32) -> np.float32:
    """Clamped SwiGLU of one pair."""
    gate, up = min(gate, _LIMIT), min(max(up, -_LIMIT), _LIMIT)
    return (up + np.float32(1.0)) * gate / (np.float32(1.0) + exp(-_ALPHA * gate))


@compiled
def experts_add(
    x: Floats,
    normed: Floats,
    indices: Integers,
    shares: Floats,
    gate_up: tuple[Bytes, Bytes, Floats],
    down: tuple[Bytes, Bytes, Floats],
) -> None:
    """x (tokens, hidden) += each token's experts. gate_up and down are blocks, scales and bias (experts, out)."""
    hidden, inner = x.shape[1], gate_up[2].shape[1] // 2
    even, odd = np.empty(hidden // 2, np.float32), np.empty(hidden // 2, np.float32)
    inner_even, inner_odd = np.empty(inner // 2, np.float32), np.empty(inner // 2, np.float32)
    for t in range(len(x)):
        for i in range(hidden // 2):
            even[i], odd[i] = normed[t, 2 * i], normed[t, 2 * i + 1]
        for choice in range(indices.shape[1]):
            expert, share = indices[t, choice], shares[t, choice]
            n_blocks = hidden // 32
            for i in range(inner):
                row = (expert * inner + i) * 2
                gate = dot(gate_up[0], gate_up[1], row * n_blocks, n_blocks, even, odd)
                up = dot(gate_up[0], gate_up[1], (row + 1) * n_blocks, n_blocks, even, odd)
                value = activate(gate + gate_up[2][expert, 2 * i], up + gate_up[2][expert, 2 * i + 1])
                half = inner_odd if i & 1 else inner_even
                half[i >> 1] = value
            n_blocks = inner // 32
            for i in range(hidden):
                row = expert * hidden + i
                value = dot(down[0], down[1], row * n_blocks, n_blocks, inner_even, inner_odd)
                x[t, i] += share * (value + down[2][expert, i])


@compiled
def decode(blocks: Bytes, scales: Bytes, out: Floats) -> None:
    """Fills out (32 * len(scales),) with the values of flat packed weights."""
    for block in range(len(scales)):
        exponent = np.int32(scales[block]) - np.int32(127)
        scale = power_of_two(max(exponent, np.int32(-126)))
        for j in range(16):
            pair = _BYTE_VALUES[blocks[16 * block + j]]
            out[32 * block + 2 * j] = pair[0] * scale
            out[32 * block + 2 * j + 1] = pair[1] * scale


@compiled
def swiglu(gate_up: Floats, bias: Floats, out: Floats) -> None:
    """out (tokens, d) from gate_up (tokens, 2 * d), interleaved pairs, plus bias (2 * d,)."""
    for t in range(len(gate_up)):
        for i in range(out.shape[1]):
            out[t, i] = activate(gate_up[t, 2 * i] + bias[2 * i], gate_up[t, 2 * i + 1] + bias[2 * i + 1])
