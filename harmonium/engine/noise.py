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

GOLDEN = 0x9E3779B97F4A7C15
MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def seed_key(seed: int) -> int:
    """A request's key, 64 bits well mixed, from any integer."""
    z = (seed + GOLDEN) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def position_keys(keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """keys (n,) of requests and the positions (n,) of the tokens to draw, to (n, 2) numbers of 32 bits."""
    z = keys + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.stack((z & np.uint64(MASK32), z >> np.uint64(32)), axis=1).astype(np.int64)


def token_hashes(vocab_size: int, device: torch.device) -> Tensor:
    """(1, vocab_size) int64: each id, mixed to 32 bits."""
    ids = torch.arange(vocab_size, device=device).unsqueeze(0)
    return _mix(ids, torch.zeros((1, 1), dtype=torch.int64, device=device))


def gumbel(hashes: Tensor, keys: Tensor) -> Tensor:
    """Noise (n, vocabulary) float32 for hashes (1, vocabulary) of `token_hashes` and keys (n, 2) of `position_keys`.

    A hash h of 32 bits stands for the uniform number v = (h + 1/2) / 2 ** 32; small v, which win, keep all their bits.
    """
    uniform = _mix(hashes ^ keys[:, :1], keys[:, 1:]).float()
    uniform.mul_(-(1 - 2**-24) * 2.0**-32).sub_(2.0**-33)  # -v, above -1 after rounding
    return uniform.log1p_().neg_().log_().neg_()


def _mix(x: Tensor, key: Tensor) -> Tensor:
    """lowbias32 of x, overwritten, with key added half-way; int64 tensors of values below 2 ** 32."""
    shifted = x >> 16
    x ^= shifted
    x *= 0x7FEB352D
    x += key
    x &= MASK32
    torch.bitwise_right_shift(x, 15, out=shifted)
    x ^= shifted
    x *= 0x846CA68B
    x &= MASK32
    torch.bitwise_right_shift(x, 16, out=shifted)
    x ^= shifted
    return x
