"""Moves a step's arrays to the device: a CPU shares them, any other device gets all of them in one copy.

The host runs ahead of the device, so a copy may be read from its pinned memory after the call; pinned memory is used
again only N_STAGED calls later, when the host has seen the results of that copy's step.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import torch
from torch import Tensor

from harmonium.engine.adjust import Arrays

N_STAGED = 4
"""Two copies a step, of the step that runs and the one that is prepared."""

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Arrays' names and shapes, in order."""

TORCH_TYPES = {"bool": torch.bool, "int32": torch.int32, "int64": torch.int64, "float32": torch.float32}


class Transfer:
    """Calling it gives the arrays' tensors by name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._staged = [torch.empty(0, dtype=torch.uint8)] * N_STAGED
        self._n_calls = 0
        self._fixed: dict[Hashable, tuple[Layout, Tensor]] = {}

    def __call__(self, arrays: Arrays, key: Hashable = None) -> dict[str, Tensor]:
        """key: arrays that are given with the same key, and have the same shapes, come to the same addresses."""
        if self.device.type == "cpu":
            return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return self.packed(arrays, key)

    def packed(self, arrays: Arrays, key: Hashable = None) -> dict[str, Tensor]:
        """The arrays by one copy through pinned memory, each at a multiple of 16 bytes."""
        offsets = np.cumsum([0] + [-(-array.nbytes // 16) * 16 for array in arrays.values()]).tolist()
        n_bytes = offsets.pop()
        staged = self._next(n_bytes)
        staging = staged.numpy()
        for offset, array in zip(offsets, arrays.values(), strict=True):
            staging[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        moved = self._place(n_bytes, key, tuple((name, array.shape) for name, array in arrays.items()))
        moved.copy_(staged[:n_bytes], non_blocking=True)
        return {
            name: moved[offset : offset + array.nbytes].view(TORCH_TYPES[array.dtype.name]).view(array.shape)
            for offset, (name, array) in zip(offsets, arrays.items(), strict=True)
        }

    def _place(self, n_bytes: int, key: Hashable, layout: Layout) -> Tensor:
        """Memory of the device, the same for the same key."""
        if key not in self._fixed:
            moved = torch.empty(n_bytes, dtype=torch.uint8, device=self.device)
            if key is None:
                return moved
            self._fixed[key] = layout, moved
        known, moved = self._fixed[key]
        assert known == layout, "a graph reads where its key's arrays were when it was captured"
        return moved

    def _next(self, n_bytes: int) -> Tensor:
        """The pinned memory that was used the longest ago."""
        i = self._n_calls % N_STAGED
        self._n_calls += 1
        if n_bytes > len(self._staged[i]):
            self._staged[i] = torch.empty(2 * n_bytes, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return self._staged[i]
