"""What the scripts for a GPU ask before anything else."""

from __future__ import annotations

import sys

import torch


def needs_gpu() -> None:
    """Ends the program with exit code 2 where there is no GPU."""
    if not torch.cuda.is_available():
        print(
            "This measures a GPU, and PyTorch sees none here; run it where `harmonium doctor` names one.",
            file=sys.stderr,
        )
        raise SystemExit(2)
