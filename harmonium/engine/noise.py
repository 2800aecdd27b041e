"""The noise that makes sampling reproducible: a function of seed, position and token, and of nothing else.

Drawing the argmax of logits plus independent Gumbel noise is drawing from their softmax. The noise comes from integer
hashing, the same on every device, so a request's ids do not depend on the batch around it, on preemption, or on whether
a token was guessed ahead.

Sources: splitmix64, Steele et al. 2014, doi:10.1145/2660193.2660195; lowbias32, Chris Wellons, "Prospecting for Hash
Functions", nullprogram.com, 2018 (public domain).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MASK64 = 0xFFFFFFFFFFFFFFFF
STEP = np.uint64(0x9E3779B97F4A7C15)
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def seed_key(seed: int) -> int:
    """A request's key, 64 bits well mixed, from any integer."""
    z = (seed + int(STEP)) & MASK64
    z = ((z ^ (z >> 30)) * int(FACTORS[0])) & MASK64
    z = ((z ^ (z >> 27)) * int(FACTORS[1])) & MASK64
    return z ^ (z >> 31)


def position_keys(keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.int32]:
    """keys (n,) of requests and the positions (n,) of the tokens to draw, to (n, 2) words."""
    z = keys + positions.astype(np.uint64) * STEP + STEP
    z = (z ^ (z >> SHIFTS[0])) * FACTORS[0]
    z = (z ^ (z >> SHIFTS[1])) * FACTORS[1]
    return (z ^ (z >> SHIFTS[2])).astype("<u8").view("<i4").reshape(-1, 2)


def position_key(key: int, position: int) -> tuple[int, int]:
    """`position_keys` of one request, as unsigned words."""
    z = (key + (position + 1) * int(STEP)) & MASK64
    z = ((z ^ (z >> 30)) * int(FACTORS[0])) & MASK64
    z = ((z ^ (z >> 27)) * int(FACTORS[1])) & MASK64
    z ^= z >> 31
    return z & 0xFFFFFFFF, z >> 32


def token_hashes(vocab_size: int, device: torch.device) -> Tensor:
    """(1, vocab_size) int32: each id, well mixed."""
    ids = torch.arange(vocab_size, dtype=torch.int32, device=device).unsqueeze(0)
    return _mix(ids, torch.zeros((1, 1), dtype=torch.int32, device=device))


def gumbel(hashes: Tensor, keys: Tensor) -> Tensor:
    """Noise (n, vocabulary) float32 for hashes (1, vocabulary) of `token_hashes` and keys (n, 2) of `position_keys`.

    The low 31 bits h of a hash stand for the uniform number v = (h + 1/2) / 2 ** 31; small v, which win, keep all bits.
    """
    uniform = _mix(hashes ^ keys[:, :1], keys[:, 1:]).bitwise_and_(0x7FFFFFFF).float()
    uniform.mul_(-(1 - 2**-24) * 2.0**-31).sub_(2.0**-32)  # -v, above -1 after rounding
    return uniform.log1p_().neg_().log_().neg_()


def _mix(x: Tensor, key: Tensor) -> Tensor:
    """lowbias32 of x, overwritten, with key added half-way; int32 tensors whose products wrap."""
    shifted = x >> 16
    shifted &= 0xFFFF  # what an unsigned shift leaves
    x ^= shifted
    x *= 0x7FEB352D
    x += key
    torch.bitwise_right_shift(x, 15, out=shifted)
    shifted &= 0x1FFFF
    x ^= shifted
    x *= 0x846CA68B - 2**32
    torch.bitwise_right_shift(x, 16, out=shifted)
    shifted &= 0xFFFF
    x ^= shifted
    return x
