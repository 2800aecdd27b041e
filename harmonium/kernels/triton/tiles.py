"""Sizes of the kernels' tiles, measured on one H200 by benchmarks/gpu_decode.py, which also tries others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ExpertTile:
    """Tiles of 64 rows in a program, column tiles in a step of its loop, warps, steps in flight, shares of columns."""

    rows: int
    steps: int
    warps: int
    stages: int
    splits: int = 1


class Tiles:
    """Read at each launch. The experts' are by the pairs that a tile holds; 0 stands for one pair, found directly."""

    is_overlapped = True
    """Whether the experts' kernels start while the one ahead of them ends (Hopper and later), which gains 2 % of a step
    at batch 1; it gains nothing at other kernels. Read when operations are made."""
    qkv_pairs, qkv_warps = 2, 4
    project_rows, project_warps = 8, 4
    route_rows, many_route_rows, route_warps = 1, 2, 4
    skinny_tokens, skinny_rows, skinny_columns, skinny_warps, skinny_stages = 16, 16, 256, 4, 4
    head_rows, head_tiles, head_warps = 2, 1, 4
    one_keys, one_programs = 128, 512
    many_queries, many_keys, many_warps, many_stages = 128, 64, 8, 3
    one_columns, exact_columns, sum_columns = 8, 16, 1024
    draw_columns, draw_edges = 1024, 64
    hopper_pairs, hopper_group, hopper_stages = 128, 3, 2
    """Of `hopper`: pairs of a tile from which it is used, column tiles of a group, groups in its ring."""
    gate_up: ClassVar[dict[int, ExpertTile]] = {
        0: ExpertTile(1, 5, 4, 4),
        8: ExpertTile(2, 3, 4, 3),
        16: ExpertTile(2, 3, 4, 3),
        32: ExpertTile(2, 1, 4, 4),
        64: ExpertTile(2, 1, 4, 4),
        128: ExpertTile(2, 1, 8, 4),
    }
    down: ClassVar[dict[int, ExpertTile]] = gate_up | {
        0: ExpertTile(1, 3, 4, 4, 5),
        8: ExpertTile(1, 3, 4, 4),
        64: ExpertTile(1, 1, 4, 4),
        128: ExpertTile(2, 1, 8, 3),
    }
    exact = ExpertTile(1, 1, 4, 3)
    """In float32, which tensor cores do not multiply: small, for it is compiled to many instructions."""

    @staticmethod
    def columns(pairs: float) -> int:
        """How many pairs a tile holds where an expert has so many on average."""
        return next((n for n in (8, 16, 32, 64) if pairs <= n * 0.6), 128)
