"""Faces: the activations that rows of packed weights meet, one of each token, all of them in a flat array.

A processor with VNNI multiplies integers (`limbs`), any other floats (`dots`), in block order. `new_faces` makes faces
of so many blocks, `put_block` fills a block of one with 32 values: it takes (faces, face, n_blocks, block, values,
first), values being flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harmonium.hardware import has_vnni
from harmonium.kernels.cpu.compile import inlined
from harmonium.kernels.cpu.dots import BLOCK
from harmonium.kernels.cpu.limbs import FACE_BYTES, LINE_BLOCKS, put_limbs
from harmonium.kernels.cpu.products import Floats, n_of
from harmonium.kernels.cpu.simd import LANES


@inlined
def new_floats(n: int, n_blocks: int) -> Any:
    return np.empty(n * n_blocks * BLOCK, np.float32)


@inlined
def put_floats(faces: Floats, face: int, n_blocks: int, block: int, values: Floats, first: int) -> None:
    start = (face * n_blocks + block) * BLOCK
    for i in range(LANES):
        faces[start + i] = values[first + 2 * i]
        faces[start + LANES + i] = values[first + 2 * i + 1]


@inlined
def new_limbs(n: int, n_blocks: int) -> Any:
    """Zeros, which the last line is filled up with."""
    return np.zeros(n * n_of(n_blocks, LINE_BLOCKS) * FACE_BYTES, np.int8)


new_faces: Any = new_limbs if has_vnni() else new_floats
put_block: Any = put_limbs if has_vnni() else put_floats
