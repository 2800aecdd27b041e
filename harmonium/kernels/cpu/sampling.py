"""A row's draw as one operation: mask, temperature, noise and the maximum.

Few ids need their noise's logarithms. The bits of a float are nearly its logarithm, never more than it, and so bound
what an id can score by its hash; where that is behind the best so far for all of a block, the block is passed over.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harmonium.kernels.cpu.compile import compiled, inlined
from harmonium.kernels.cpu.products import Floats

Settings = tuple[np.float32, np.float32, int, int]
"""Inverse temperature, scale of the noise, and the two words of its key."""

BLOCK = 64
NOTHING, TOO_MUCH = np.float32(-np.inf), np.float32(np.inf)
PER_BIT = np.float32(math.log(2) / 2**23)
MOST = np.float32((31 + 127) * math.log(2) + 1e-4)
"""Noise is at most this, less PER_BIT times the bits of the hash as a float: it is below -log(v) for a hash of v."""


@inlined
def _allowed(logit: np.float32, is_forbidden: bool) -> np.float32:
    """The logit for comparisons, where what is no number has to win, so that it is found."""
    number = logit if logit == logit else TOO_MUCH
    return NOTHING if is_forbidden else number


@inlined
def _largest(logits: Floats, forbidden: NDArray[np.bool_], tops: Floats) -> int:
    """The first id of the largest allowed logit; tops (BLOCK,) is scratch."""
    n_even = len(logits) // BLOCK * BLOCK
    tops[:] = NOTHING
    for start in range(0, n_even, BLOCK):
        for i in range(BLOCK):
            logit = _allowed(logits[start + i], forbidden[start + i])
            tops[i] = logit if logit > tops[i] else tops[i]
    top = NOTHING
    for i in range(BLOCK):
        top = tops[i] if tops[i] > top else top
    for id_ in range(n_even, len(logits)):
        logit = _allowed(logits[id_], forbidden[id_])
        top = logit if logit > top else top
    for id_ in range(len(logits)):
        if _allowed(logits[id_], forbidden[id_]) == top:
            return id_
    return 0


@inlined
def _hash(id_hash: np.uint32, first: int, second: int) -> np.uint32:
    """31 bits of an id's hash under a key of two words: `noise._mix`."""
    x = np.uint32(id_hash ^ np.uint32(first))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D) + np.uint32(second))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32((x ^ (x >> np.uint32(16))) & np.uint32(0x7FFFFFFF))


@inlined
def _noise(hash_: np.uint32) -> np.float32:
    """`noise.gumbel` of a hash."""
    v = np.float32(hash_) * np.float32((1 - 2**-24) * 2.0**-31) + np.float32(2.0**-32)
    return np.float32(-math.log(-math.log1p(-v)))


@compiled
def draw_row(
    logits: Floats,
    id_hashes: NDArray[np.uint32],
    forbidden: NDArray[np.bool_],
    edges: NDArray[np.int32],
    inverse: float,
    scale: float,
    first: int,
    second: int,
) -> int:
    """The id drawn from logits (vocabulary,), -1 where the best is not finite.

    id_hashes (vocabulary,): `noise.token_hashes`. forbidden (vocabulary,), but for those in edges (n,). inverse
    temperature and scale of the noise, 1 and 0 where greedy; first and second: `noise.position_key`.
    """
    sharpness, loudness = np.float32(inverse), np.float32(scale)
    scratch = np.empty((2, BLOCK), np.float32)
    chosen = _largest(logits, forbidden, scratch[0])
    best = _allowed(logits[chosen], forbidden[chosen]) * sharpness
    if best == TOO_MUCH:
        return -1
    if scale > 0:
        best += _noise(_hash(id_hashes[chosen], first, second)) * loudness
        settings = sharpness, loudness, first, second
        best, chosen = _noisiest(logits, id_hashes, forbidden, settings, scratch, best, chosen)
    for id_ in edges:
        score = _allowed(logits[id_], False) * sharpness
        if scale > 0:
            score += _noise(_hash(id_hashes[id_], first, second)) * loudness
        if score > best or (score == best and id_ < chosen):
            best, chosen = score, id_
    return chosen if abs(best) < TOO_MUCH else -1


@inlined
def _noisiest(
    logits: Floats,
    id_hashes: NDArray[np.uint32],
    forbidden: NDArray[np.bool_],
    settings: Settings,
    scratch: Floats,
    best: np.float32,
    chosen: int,
) -> tuple[np.float32, int]:
    """The best score and its id, of those allowed and the one so far."""
    inverse, scale, first, second = settings
    hashes, bits = scratch[1], scratch[1].view(np.int32)
    for start in range(0, len(logits), BLOCK):
        n = min(BLOCK, len(logits) - start)
        most = scratch[0]
        for i in range(n):
            hashes[i] = np.float32(_hash(id_hashes[start + i], first, second))
        for i in range(n):
            logit = _allowed(logits[start + i], forbidden[start + i])
            most[i] = logit * inverse + (MOST - np.float32(bits[i]) * PER_BIT) * scale
        for i in range(n):
            if most[i] >= best:
                id_ = start + i
                score = (
                    _allowed(logits[id_], forbidden[id_]) * inverse
                    + _noise(_hash(id_hashes[id_], first, second)) * scale
                )
                if score > best:
                    best, chosen = score, id_
    return best, chosen
