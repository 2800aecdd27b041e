"""Memory for weights that kernels make, from the beginning of a large page on.

numpy asks for pages of 2 MB where the system has them: a lookup of an address then serves so much instead of 4 kB. And
64 bytes that a register takes are one line of the cache, not parts of two.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE = 2**21


def large_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array that is not filled yet."""
    kind = np.dtype(dtype)
    n_bytes = prod(shape) * kind.itemsize
    whole = np.empty(n_bytes + PAGE, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + n_bytes].view(kind).reshape(shape)
