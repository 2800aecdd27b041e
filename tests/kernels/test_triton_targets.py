"""All kernels, compiled for every kind of GPU in the presets, without having one: do they fit its processors?

Shared memory of a block: NVIDIA, CUDA C++ Programming Guide, technical specifications per compute capability.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harmonium.hardware import PRESETS
from tests.kernels.sass import hazards

pytestmark = pytest.mark.deep
pytest.importorskip("triton", reason="needs triton: pip install triton", exc_type=ImportError)

SHARED_KB = {(8, 0): 163, (8, 9): 99, (9, 0): 227, (10, 0): 227, (12, 0): 99}
COMPILE = """
import json, sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from harmonium.kernels.triton import attention, experts, linear, packed, rows, sampling, skinny
from harmonium.kernels.triton.tiles import Tiles

target, found, codes = GPUTarget("cuda", int(sys.argv[1]), 32), {}, []
NAMES = {
    "*i32": "order_ptr tiles_ptr words_ptr scales_ptr arrived_ptr projected_ptr table_ptr starts_ptr "
            "lengths_ptr keys_ptr",
    "*i64": "indices_ptr slots_ptr lanes_ptr places_ptr budgets_ptr states_ptr edges_ptr lane_places_ptr last_ids_ptr "
            "best_ids_ptr rows_ptr",
    "*u8": "blocks_ptr",
    "*fp32": "shares_ptr parts_ptr tops_ptr cos_ptr sin_ptr logits_ptr inverse_ptr best_ptr",
    "*i1": "masks_ptr",
    "fp32": "unit scale eps",
}
KINDS = {name: kind for kind, names in NAMES.items() for name in names.split()}


def shared(name, kernel, constants, out=None, floats="*bf16", places="*i64", **options):
    out = out or floats
    constants = {a: constants.get(a, 0) for a in kernel.arg_names if a.isupper()}
    kinds = {a: KINDS.get(a) or (floats if a.endswith("_ptr") else "i32") for a in kernel.arg_names}
    kinds |= {a: out for a in kinds if a == "out_ptr"} | {a: places for a in kinds if a == "places_ptr"}
    signature = kinds | dict.fromkeys(constants, "constexpr")
    found[name] = compile(ASTSource(kernel, signature, constants), target=target, options=options).metadata.shared


overlapped = dict(PDL=target.arch >= 90)
for kernel, tiles in ((experts.gate_up, Tiles.gate_up), (experts.down, Tiles.down)):
    for pairs, tile in tiles.items():
        width = dict(K=4, WIDTH=2880, OUT=2880, N=pairs or Tiles.one_columns, TILES=tile.rows, STEPS=tile.steps,
                     SPLITS=tile.splits, DIRECT=not pairs, PTX=True, **overlapped)
        shared(f"{kernel.fn.__name__} {pairs}", kernel, width, num_warps=tile.warps, num_stages=tile.stages)
shared("group", experts.group, dict(N=128, BLOCK=4096, **overlapped), places="*i32", num_warps=8)
shared("sum_add", experts.sum_add, dict(K=4, WIDTH=2880, BLOCK=Tiles.sum_columns, **overlapped), places="*i32")
for back in (False, True):
    for paired in (False, True):
        shared(f"reorder {paired} {back}", packed.reorder, dict(PAIRED=paired, BACK=back))
wide = dict(HIDDEN=2880, BLOCK=4096)
heads = dict(HEADS=64, KV_HEADS=8, HEAD_DIM=64, PAGE_SIZE=16)
routing = dict(EXPERTS=128, K=4, EXPERTS_BLOCK=128)
shared("norm_qkv", linear.norm_qkv, wide | heads | dict(PAIRS=Tiles.qkv_pairs), num_warps=Tiles.qkv_warps)
for n in (Tiles.route_rows, Tiles.many_route_rows):
    shared(f"norm_route {n}", linear.norm_route, wide | routing | dict(ROWS=n), num_warps=Tiles.route_warps)
constants = dict(WIDTH=4096, WIDTH_BLOCK=4096, ROWS=Tiles.project_rows, ROUTED=Tiles.route_rows)
shared("project_route", linear.project_route, wide | routing | constants, num_warps=Tiles.project_warps)
constants = dict(ROWS=Tiles.head_rows, TILES=Tiles.head_tiles)
shared("norm_head", linear.norm_head, wide | constants, num_warps=Tiles.head_warps)
shared("rotate_store", rows.rotate_store, heads | dict(HEADS_BLOCK=64, KV_BLOCK=8))
shared("choose_rows", rows.choose_rows, dict(EXPERTS=128, BLOCK=128, K=4), num_warps=1)
for picked in (False, True):
    shared(f"norm_rows {picked}", rows.norm_rows, dict(WIDTH=2880, BLOCK=4096, PICK=picked))
for name, kernel in (("gate_up", experts.gate_up), ("down", experts.down)):
    for pairs in (0, Tiles.exact_columns):
        width = dict(K=4, WIDTH=2880, OUT=2880, N=pairs or Tiles.one_columns, TILES=Tiles.exact.rows,
                     STEPS=Tiles.exact.steps, SPLITS=1, DIRECT=not pairs, PTX=False, PDL=target.arch >= 90)
        options = dict(num_warps=Tiles.exact.warps, num_stages=Tiles.exact.stages)
        shared(f"{name} {pairs} in float32", kernel, width, floats="*fp32", **options)
for floats, columns in (("*bf16", Tiles.skinny_columns), ("*fp32", Tiles.skinny_columns // 2)):
    constants = dict(M=Tiles.many_queries, N=Tiles.many_keys, KV_HEADS=8, PAGE_SIZE=16, HEAD_DIM=64, HEADS=64, WINDOW=0)
    options = dict(num_warps=Tiles.many_warps, num_stages=Tiles.many_stages)
    shared(f"attend_many {floats}", attention.attend_many, constants, floats=floats, **options)
    constants = dict(M=16, GROUP=8, N=Tiles.one_keys, SPLITS=4, KV_HEADS=8, PAGE_SIZE=16, HEAD_DIM=64, WINDOW=0)
    shared(f"attend_one {floats}", attention.attend_one, constants, floats=floats, num_warps=4)
    options = dict(num_warps=Tiles.skinny_warps, num_stages=Tiles.skinny_stages)
    constants = dict(HIDDEN=2880, HEADS=64, KV_HEADS=8, HEAD_DIM=64, PAGE_SIZE=16, PAIRS=Tiles.skinny_rows, TOKENS=16,
                     BLOCK=columns)
    shared(f"qkv {floats}", skinny.qkv, constants, floats=floats, **options)
    constants = dict(HIDDEN=2880, WIDTH=4096, ROWS=Tiles.skinny_rows, TOKENS=16, BLOCK=columns)
    shared(f"project {floats}", skinny.project_add, constants, floats=floats, **options)
constants = dict(BLOCK=Tiles.draw_columns, BLOCKS=256, EDGES=Tiles.draw_edges)
shared("draw", sampling.draw, constants, out="*i64")
if target.arch == 90:
    from triton.experimental.gluon._runtime import GluonASTSource
    from harmonium.kernels.triton import hopper

    names = hopper.product.arg_names
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name.endswith("_ptr")}
    for gated in (False, True):
        constants = dict(K=4, WIDTH=2880, OUT=2880, GATED=gated, N=Tiles.hopper_pairs, GROUP=Tiles.hopper_group,
                         STAGES=Tiles.hopper_stages)
        kinds = {a: KINDS.get(a) or ("*bf16" if a.endswith("_ptr") else "i32") for a in names}
        source = GluonASTSource(hopper.product, kinds | dict.fromkeys(constants, "constexpr"), constants, aligned)
        done = compile(source, target=target, options=dict(num_warps=hopper.WARPS))
        found[f"hopper {gated}"] = done.metadata.shared
        codes.append(done.asm["sass"])
print(json.dumps([found, codes]))
"""


@pytest.mark.parametrize("capability", sorted({p.capability for p in PRESETS.values() if p.maker == "NVIDIA"}))
def test_kernels_fit_the_processors_of(capability: tuple[int, int]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    number = str(10 * capability[0] + capability[1])
    done = subprocess.run([sys.executable, "-c", COMPILE, number], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, codes = json.loads(done.stdout.splitlines()[-1])
    assert found and all(n_bytes <= SHARED_KB[capability] * 1024 for n_bytes in found.values()), found
    for code in codes:
        assert 2 * code.count("WARPGROUP.DEPBAR") < code.count("HGMMA"), "ptxas runs the products one by one"
        assert "STL" not in code, "registers go to memory"
        assert not hazards(code)
