"""Masks from requests' cursors, where the host and the device are one.

`RowDraw` is a row that wants only a temperature and a table's mask: an operation of the CPU draws it with the mask in
one go. For any other there is `HostMasking`, looked at only when an id is drawn against it: a model under a mask that
it was trained on nearly always draws what is allowed, and then looking the one id up is all that the mask costs. The
result is that of masking first: noise and temperature are of each id alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.engine.constraint import Place
from harmonium.engine.request import Request

RowDraw = tuple[NDArray[np.bool_], NDArray[np.int32], float, float, int, int]
"""What `kernels.draw_row` takes besides logits and the ids' hashes."""

NO_EDGES = np.zeros(0, np.int32)


@dataclass(eq=False, slots=True)
class HostMasking:
    """requests: of each row; places: where its cursor would be there, None where that is its own place."""

    requests: Sequence[Request]
    places: Sequence[Place | None]
    vocab_size: int

    def allows(self, ids: Sequence[int]) -> bool:
        """Each row's id; a negative one is none and not allowed."""
        for request, place, id_ in zip(self.requests, self.places, ids, strict=True):
            if id_ < 0:
                return False
            if request.mask is not None:
                if not request.mask[id_ // 32] >> (id_ % 32) & 1:
                    return False
            elif request.cursor is not None and not request.cursor.allows(id_, None if place is None else place[0]):
                return False
        return True

    def forbidden(self) -> Tensor:
        """(rows, vocabulary) bool."""
        forbidden = np.zeros((len(self.requests), self.vocab_size), np.bool_)
        for request, place, ids in zip(self.requests, self.places, forbidden, strict=True):
            if request.mask is not None:
                bits = np.unpackbits((~request.mask).astype("<i4").view(np.uint8), bitorder="little")
                ids[:] = bits[: self.vocab_size]
            elif request.cursor is not None:
                request.cursor.forbid(ids, None if place is None else place[0])
        return torch.from_numpy(forbidden)
