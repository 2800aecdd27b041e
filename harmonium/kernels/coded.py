"""bfloat16 matrices in 12 bits a weight, to the bit the same: the weights of a row differ little in their exponents.

A weight's sign and the upper seven bits of its exponent become a code of four bits, the sign and three bits above the
row's base; the lower byte, exponent's last bit and mantissa, stays as it is. So a row has room for sixteen exponents
below its largest. Weights that are smaller yet, one in ten thousand of normally distributed ones, are exceptions: in
their place stands the row's smallest value, and a list has their columns and bits.

Compressing exponents without loss: Zhang et al. 2025, arXiv:2504.11651, with codes of varying length, 11 bits in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LINE = 64
"""Bytes of a cache's line, and weights of a row that are coded together."""
ROOM = 8
"""Values of three bits."""
MOST_EXCEPTIONS = 1 / 64
"""Of a matrix's weights; with more of them it stays as it is."""
ORDER = torch.tensor([16 * (p % 2 + p // 8 % 2 * 2) + p // 16 * 4 + p % 8 // 2 for p in range(LINE)])
"""Which of 64 weights each place of a line holds: in the lanes of wide registers, where bytes are joined to bfloat16
and these made floats, they come out in order."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class CodedMatrix:
    """Stands for (out, in) bfloat16, out even and in a multiple of 64.

    lines (out / 2, in / 64, 3, 64) uint8: of two rows, and 64 weights of each in `ORDER`, the codes, the first row's in
    the lower bits, then the first row's lower bytes, then the second's. bases (out,) uint8. Row i's exceptions are
    columns and bits, int16 that count as unsigned, from starts[i] to starts[i + 1]; starts (out + 1,) int64.
    """

    lines: Tensor
    bases: Tensor
    starts: Tensor
    columns: Tensor
    bits: Tensor

    @classmethod
    def code(cls, weight: Tensor) -> CodedMatrix | None:
        """None where there are too many exceptions. weight is bfloat16, and `can_be_coded`."""
        bits = weight.view(torch.int16).int() & 0xFFFF
        upper = bits >> 8 & 0x7F
        bases = (upper.amax(1) - (ROOM - 1)).clamp(min=0)
        codes = upper - bases[:, None]
        is_exception = codes < 0
        counts = is_exception.sum(1)
        if counts.sum() > MOST_EXCEPTIONS * weight.numel():
            return None
        codes = (codes | bits >> 15 << 3).masked_fill(is_exception, 0)
        lower = (bits & 0xFF).masked_fill(is_exception, 0)
        codes, lower = (part.unflatten(1, (-1, LINE))[..., ORDER].unflatten(0, (-1, 2)) for part in (codes, lower))
        lines = torch.stack((codes[:, 0] | codes[:, 1] << 4, lower[:, 0], lower[:, 1]), 2)
        starts = torch.cat((torch.zeros(1, dtype=torch.int64), counts.cumsum(0)))
        columns = is_exception.nonzero()[:, 1].short()
        exact = weight.view(torch.int16)[is_exception]
        return cls(lines.to(torch.uint8), bases.to(torch.uint8), starts, columns, exact)

    def to(self, dtype: torch.dtype) -> Tensor:
        """The values that it stands for."""
        values = torch.empty(self.shape, dtype=torch.bfloat16)
        for start, part in self._parts():
            values[start : start + len(part)] = part
        return values.to(dtype)

    def _parts(self) -> Iterator[tuple[int, Tensor]]:
        """Some rows at a time, and the number of their first."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(self))
            lines = self.lines[start // 2 : stop // 2]
            codes = torch.stack((lines[:, :, 0] & 15, lines[:, :, 0] >> 4), 1).flatten(0, 1).short()
            upper = (codes & 7) + self.bases[start:stop, None, None].short() | codes >> 3 << 7
            joined = upper << 8 | lines[:, :, 1:].transpose(1, 2).flatten(0, 1)
            part = torch.empty_like(joined)
            part[..., ORDER] = joined
            bits = part.flatten(1)
            first, last = int(self.starts[start]), int(self.starts[stop])
            rows = torch.repeat_interleave(torch.arange(stop - start), self.starts[start : stop + 1].diff())
            bits[rows, self.columns[first:last].int() & 0xFFFF] = self.bits[first:last]
            yield start, bits.view(torch.bfloat16)

    def __len__(self) -> int:
        return len(self.bases)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.bases), self.lines.shape[1] * LINE))

    @property
    def device(self) -> torch.device:
        return self.lines.device

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.lines, self.bases, self.starts, self.columns, self.bits))


def can_be_coded(weight: Tensor) -> bool:
    n_rows, width = weight.shape
    return weight.dtype == torch.bfloat16 and not n_rows % 2 and not width % LINE and width < 2**16
