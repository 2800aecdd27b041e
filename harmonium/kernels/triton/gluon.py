"""Whether a prompt's experts run in `hopper`: it is for one kind of GPU, and for the Gluon that Triton has now."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from types import ModuleType

import torch
import triton

from harmonium.kernels.triton.packed import TILE
from harmonium.kernels.triton.tiles import Tiles

LOG = logging.getLogger(__name__)


def hopper_kernels(device: torch.device, widths: list[int]) -> ModuleType | None:
    """Those of prompts' experts, where the device is Hopper and they take the widths, and where Triton has Gluon."""
    is_hopper = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9
    return in_gluon() if is_hopper and not any(width % (TILE * Tiles.hopper_group) for width in widths) else None


@cache
def in_gluon() -> ModuleType | None:
    """`hopper`, or None and one warning: Gluon is experimental, and a later Triton's may be another."""
    try:
        return importlib.import_module("harmonium.kernels.triton.hopper")
    except (ImportError, AttributeError) as error:
        LOG.warning(
            "Triton %s has another Gluon than Hopper's kernels are written in (%s): prompts take longer, on the "
            "kernels of all GPUs. Triton 3.6 to 3.9 have the right one: pip install 'triton>=3.6,<3.10'.",
            *(triton.__version__, error),
        )
        return None
