"""What a dense matrix (out, in) may be: each form has a shape, a device, `nbytes`, and `to(dtype)`, its values."""

from __future__ import annotations

from torch import Tensor

from harmonium.kernels.coded import CodedMatrix
from harmonium.kernels.int8 import Int8Matrix

Matrix = Tensor | Int8Matrix | CodedMatrix
