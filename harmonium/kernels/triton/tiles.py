"""Sizes of the kernels' tiles, measured on one H200 by benchmarks/gpu_decode.py, which also tries others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExpertTile:
    """Rows of a program, blocks of a chunk, chunks asked for at once, warps."""

    rows: int
    blocks: int
    chunks: int
    warps: int


class Tiles:
    """Read at each launch."""

    qkv_pairs, qkv_warps = 2, 4
    project_rows, project_warps = 2, 8
    route_rows, route_warps = 1, 4
    head_rows, head_tiles, head_warps = 4, 1, 8
    gate_up = ExpertTile(8, 32, 3, 4)
    down = ExpertTile(4, 32, 3, 4)
    one_keys, one_programs = 128, 128
    many_queries, many_keys = 64, 64
    many_pairs, many_outs, many_block, many_stages = 64, 128, 64, 3
