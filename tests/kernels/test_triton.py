"""Triton's operations against the reference's, under Triton's interpreter: float32, since its bfloat16 dot is wrong."""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium import kernels
from harmonium.errors import BadCheckpoint, Unsupported
from harmonium.kernels import reference
from harmonium.kernels.reference import ExpertWeights
from harmonium.model.config import PAGE_SIZE, TINY
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer
from tests.kernels.paging import GrowingRows, poison

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "runs Triton's interpreter: unset CUDA devices, or see benchmarks/gpu_decode.py", allow_module_level=True
    )
pytest.importorskip("triton", reason="needs triton: pip install triton", exc_type=ImportError)

import triton
import triton.language as tl

from harmonium.kernels import triton as backend
from harmonium.kernels.triton import gluon
from harmonium.kernels.triton import mxfp4 as registers
from harmonium.kernels.triton.packed import Packed
from harmonium.kernels.triton.tiles import ExpertTile, Tiles
from harmonium.model import mxfp4

EPS = 1e-5
TOKENS = (1, 2, 5, 40)
HEADS = st.sampled_from([(8, 1, 64), (4, 2, 32)])
SHIPPED = dict(vars(Tiles))
"""What a GPU's launches read."""


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch):
    """The interpreter's time is one of programs, not of their sizes."""
    tile = ExpertTile(4, 1, 4, 1)
    sizes = {"skinny_columns": 64, "qkv_pairs": 32, "project_rows": 32, "route_rows": 16, "many_route_rows": 16,
             "head_rows": 32,
             "gate_up": dict.fromkeys(Tiles.gate_up, tile),
             "down": dict.fromkeys(Tiles.down, tile) | {0: replace(tile, splits=3)}}  # fmt: skip
    for name, size in sizes.items():
        monkeypatch.setattr(Tiles, name, size)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 2e-6) -> bool:
    return float((found - expected).abs().max()) <= bound * float(expected.abs().max())


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * shape[-1] ** -0.5


@pytest.mark.parametrize("tokens", TOKENS)
@given(HEADS, st.sampled_from([96, 160]))
@settings(max_examples=1, deadline=None)
def test_norm_qkv(tokens: int, heads: tuple[int, int, int], hidden: int):
    n_heads, kv_heads, head_dim = heads
    sizes = (n_heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    projections = [part for n in sizes for part in (random(n, hidden), random(n))]
    plain = reference.NormQKV(random(hidden), *projections, head_dim, EPS)
    x, angles, slots = torch.randn(tokens, hidden), torch.randn(tokens, head_dim // 2), torch.randperm(128)[:tokens]
    results = []
    for operation in (plain, backend.NormQKV(plain)):
        caches = torch.zeros(2, 8, kv_heads, PAGE_SIZE, head_dim)
        results.append((operation(x.clone(), angles.cos(), angles.sin(), *caches, slots), caches))
    (expected, expected_caches), (found, found_caches) = results
    assert found.shape == expected.shape
    assert close(found, expected)
    assert close(found_caches, expected_caches)


@pytest.mark.parametrize(
    ("window", "heads"), [(None, (8, 1, 64)), (None, (4, 2, 32)), (16, (4, 2, 32)), (33, (8, 1, 64))]
)
def test_attend(window: int | None, heads: tuple[int, int, int]):
    n_heads, kv_heads, head_dim = heads
    rows = GrowingRows(3, 280, window or 1, seed=7)
    caches = torch.randn(2, rows.n_pages, kv_heads, PAGE_SIZE, head_dim)
    poison(list(caches))
    plain = reference.Attend(torch.randn(n_heads) * 2, window)
    operation = backend.Attend(plain)
    for news in ([130, 9, 0], [0, 1, 70], [1, 1, 1]):
        batch = rows.grow(news)
        group = batch.full if window is None else batch.sliding
        q = torch.randn(sum(news), n_heads, head_dim) * 3
        assert close(operation(q, *caches, batch, group), plain(q, *caches, batch, group), 5e-6)
    assert not operation.arrived.any()


@pytest.mark.parametrize("tokens", TOKENS)
@given(st.sampled_from([(96, 128), (160, 96)]))
@settings(max_examples=1, deadline=None)
def test_project_add(tokens: int, sizes: tuple[int, int]):
    hidden, width = sizes
    plain = reference.ProjectAdd(random(hidden, width), random(hidden))
    x, attended = torch.randn(tokens, hidden), torch.randn(tokens, 2, width // 2)
    assert close(backend.ProjectAdd(plain)(x.clone(), attended), plain(x, attended))


@given(st.sampled_from([1, 5, 70]), st.sampled_from([(4, 4), (16, 4), (48, 1)]))
@settings(max_examples=5, deadline=None)
def test_norm_route(tokens: int, sizes: tuple[int, int]):
    n_experts, k = sizes
    plain = reference.NormRoute(random(96), random(n_experts, 96) * 40, random(n_experts), k, EPS)
    operation, x = backend.NormRoute(plain), torch.randn(tokens, 96)
    for _ in range(2):  # the second finds its counters as the first left them
        (normed, indices, shares), found = plain(x), operation(x.clone())
        assert close(found[0], normed)
        assert torch.equal(found[1], indices)
        assert close(found[2], shares, 1e-5)


@given(st.sampled_from([1, 2, 5, 70]), st.sampled_from([(96, 128, 4, 4), (160, 96, 48, 1)]))
@settings(max_examples=6, deadline=None)
def test_project_route(tokens: int, sizes: tuple[int, int, int, int]):
    hidden, width, n_experts, k = sizes
    project = reference.ProjectAdd(random(hidden, width), random(hidden))
    route = reference.NormRoute(random(hidden), random(n_experts, hidden) * 40, random(n_experts), k, EPS)
    operation = backend.ProjectRoute(backend.ProjectAdd(project), backend.NormRoute(route))
    x, attended = torch.randn(tokens, hidden), torch.randn(tokens, 2, width // 2)
    for _ in range(2):  # the second finds its counters as the first left them
        (total, normed, indices, shares) = operation(x.clone(), attended)
        expected = project(x, attended)
        expected_normed, expected_indices, expected_shares = route(expected)
        assert close(total, expected) and close(normed, expected_normed, 1e-5)
        assert torch.equal(indices, expected_indices)
        assert close(shares, expected_shares, 1e-4)


def packed_experts(n_experts: int, hidden: int, inner: int) -> ExpertWeights:
    gate_up, down = random(n_experts, 2 * inner, hidden) * 4, random(n_experts, hidden, inner)
    (gate_up_blocks, gate_up_scales), (down_blocks, down_scales) = mxfp4.quantize(gate_up), mxfp4.quantize(down)
    biases = random(n_experts, 2 * inner), random(n_experts, hidden)
    return ExpertWeights(gate_up_blocks, biases[0], down_blocks, biases[1], gate_up_scales, down_scales)


@pytest.mark.parametrize(("tokens", "sizes"), [(1, (96, 160)), (2, (160, 96)), (6, (96, 160)), (70, (160, 96))])
def test_experts_add(tokens: int, sizes: tuple[int, int]):
    plain = reference.ExpertsAdd(packed_experts(6, *sizes))
    operation = backend.ExpertsAdd(plain)
    x, normed = torch.randn(2, tokens, sizes[0])
    indices = torch.rand(tokens, 6).topk(3).indices.clamp(max=4)  # the last expert is idle, some are chosen twice
    shares = torch.rand(tokens, 3)
    for _ in range(2):  # the second finds its counters as the first left them
        found = operation(x.clone(), normed, indices, shares)
        assert close(found - x, plain(x, normed, indices, shares) - x)


@pytest.mark.parametrize(
    ("tokens", "sizes"),
    [(1, (320, 32)), (5, (192, 32)), *(pytest.param(n, (192, 960), marks=pytest.mark.deep) for n in (1, 2, 9, 70))],
)
def test_experts_in_the_tiles_as_shipped(tokens: int, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    """Of columns that the tiles' steps divide; in the long run, their shares, too."""
    monkeypatch.setattr(Tiles, "gate_up", SHIPPED["gate_up"])
    monkeypatch.setattr(Tiles, "down", SHIPPED["down"])
    plain = reference.ExpertsAdd(packed_experts(3, *sizes))
    x, normed = torch.randn(2, tokens, sizes[0])
    indices, shares = torch.rand(tokens, 3).topk(2).indices, torch.rand(tokens, 2)
    found = backend.ExpertsAdd(plain)(x.clone(), normed, indices, shares)
    assert close(found - x, plain(x, normed, indices, shares) - x)


def test_experts_that_are_wider_outside_than_inside(monkeypatch: pytest.MonkeyPatch):
    """The programs of the second product that count are more than those of the first."""
    monkeypatch.setattr(Tiles, "down", dict.fromkeys(Tiles.down, ExpertTile(1, 1, 4, 1)))
    plain = reference.ExpertsAdd(packed_experts(2, 96, 32))
    operation, counted = backend.ExpertsAdd(plain), []
    down = backend.experts.down

    class Watched:
        def __getitem__(self, grid: tuple[int, int, int]):
            counted.append(grid[0] * 5)
            return down[grid]

    monkeypatch.setattr(backend.experts, "down", Watched())
    x, normed = torch.randn(2, 5, 96)
    indices, shares = torch.randint(2, (5, 1)), torch.rand(5, 1)
    found = operation(x.clone(), normed, indices, shares)
    assert counted == [10] and len(operation.arrived) >= 10 and not operation.arrived.any()
    assert close(found - x, plain(x, normed, indices, shares) - x)


@pytest.mark.parametrize("head_dim", [2, 8, 48, 80, 256])
def test_heads_that_the_kernels_do_not_take_are_refused(head_dim: int):
    parts = [part for _ in range(3) for part in (random(head_dim, 32), random(head_dim))]
    with pytest.raises(Unsupported, match=f"16, 32, 64, 128, and this model's is {head_dim}; run it on the CPU"):
        backend.NormQKV(reference.NormQKV(random(32), *parts, head_dim, EPS))


@pytest.mark.parametrize("error", [ImportError("no module"), AttributeError("no name")])
def test_another_gluon_is_told_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def failing(name: str) -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    hopper, cuda = importlib.import_module("harmonium.kernels.triton.hopper"), torch.device("cuda")
    gluon.in_gluon.cache_clear()
    assert gluon.hopper_kernels(cuda, [2880, 2880]) is hopper and gluon.hopper_kernels(cuda, [2880, 64]) is None
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        gluon.in_gluon.cache_clear()
        patch.setattr(importlib, "import_module", failing)
        assert gluon.hopper_kernels(cuda, [2880, 2880]) is gluon.hopper_kernels(cuda, [2880, 2880]) is None
    gluon.in_gluon.cache_clear()
    [record] = caplog.records
    assert str(error) in record.message and "pip install 'triton>=3.6,<3.10'" in record.message


@pytest.mark.parametrize("tokens", [1, 20])
def test_experts_in_the_tiles_of_float32(tokens: int, monkeypatch: pytest.MonkeyPatch):
    for projection in ("gate_up", "down"):
        monkeypatch.setattr(Tiles, projection, {0: Tiles.exact, Tiles.exact_columns: Tiles.exact})
    monkeypatch.setattr(Tiles, "columns", staticmethod(lambda pairs: Tiles.exact_columns))
    test_experts_add(tokens, (64, 96))


def poisoned(shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.full(shape, float("nan") if dtype.is_floating_point else 1 << 30, dtype=dtype, device=device)


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128])
def test_experts_tiles(n: int, monkeypatch: pytest.MonkeyPatch):
    """Experts without a pair, half a tile, a full one, one pair more; nothing is read that nothing has written."""
    plain = reference.ExpertsAdd(packed_experts(5, 64, 64))
    monkeypatch.setattr(Tiles, "columns", staticmethod(lambda pairs: n))
    monkeypatch.setattr(torch, "empty", poisoned)
    counts = [n // 2, n, n + 1, n // 2 + 1, 0]
    indices = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))[torch.randperm(sum(counts))].view(-1, 2)
    x, normed = torch.randn(2, len(indices), 64)
    shares = torch.rand(indices.shape)
    found = backend.ExpertsAdd(plain)(x.clone(), normed, indices, shares)
    assert close(found - x, plain(x, normed, indices, shares) - x)


@pytest.mark.parametrize("tokens", [1, 2, 5])
@pytest.mark.parametrize("is_everywhere", [True, False])
def test_norm_head(tokens: int, is_everywhere: bool):
    plain = reference.NormHead(random(96), random(100, 96), EPS)
    x, rows = torch.randn(tokens, 96), None if is_everywhere else torch.tensor([tokens - 1, 0])
    found = backend.NormHead(plain)(x.clone(), rows)
    assert found.dtype == torch.float32
    assert close(found, plain(x, rows))


@triton.jit
def decode_tile(words_ptr, scales_ptr, out_ptr):
    lane = tl.arange(0, 128)
    words, scales = tl.load(words_ptr + tl.arange(0, 512)), tl.load(scales_ptr + lane // 4)
    values = registers.decoded(words, scales, 1, tl.float32, False)
    tl.store(out_ptr + tl.arange(0, 64)[:, None] * 64 + tl.arange(0, 64)[None, :], values)


@pytest.mark.parametrize(("low", "high"), [(2, 128), (130, 254)])
@pytest.mark.parametrize("is_paired", [False, True])
def test_decoding_is_exact(low: int, high: int, is_paired: bool):
    blocks = torch.arange(256, dtype=torch.uint8).repeat(8).view(1, 64, 2, 16)[:, torch.randperm(64)]
    scales = torch.linspace(low, high, 128).round().to(torch.uint8)[torch.randperm(128)].view(1, 64, 2)
    packed, out = Packed.of(blocks, scales, torch.empty(1, 64), is_paired=is_paired), torch.empty(64, 64)
    decode_tile[(1,)](packed.words, packed.scales, out)
    if is_paired:
        out = out.view(4, 2, 8, 64).transpose(1, 2).reshape(64, 64)
    assert torch.equal(out * packed.unit, mxfp4.decode(blocks[0], scales[0]))


@given(st.integers(1, 3), st.integers(1, 150), st.integers(1, 5), st.booleans(), st.integers(0, 2))
@settings(max_examples=8, deadline=None)
def test_what_was_packed_comes_back_bit_for_bit(n_experts: int, rows: int, n_blocks: int, is_paired: bool, low: int):
    blocks = torch.randint(256, (n_experts, rows, n_blocks, 16)).byte()
    scales = torch.randint(low, 253 + low, (n_experts, rows, n_blocks)).byte()
    packed = Packed.of(blocks, scales, torch.empty(n_experts, rows), is_paired=is_paired)
    assert torch.equal(packed.blocks(), blocks) and torch.equal(packed.block_scales(), scales)
    one = packed.one(n_experts - 1)
    assert torch.equal(one.blocks()[0], blocks[-1]) and torch.equal(one.block_scales()[0], scales[-1])


def test_scales_too_far_apart_are_refused():
    scales = torch.tensor([0, 254]).byte().view(1, 1, 2)
    with pytest.raises(BadCheckpoint, match="further apart than a float's exponents"):
        Packed.of(torch.zeros(1, 1, 2, 16).byte(), scales, torch.empty(1, 1), is_paired=False)


def run_ptx(text: str, words: list[int], scales: list[int]) -> list[tuple[int, int]]:
    """What each output operand is a product of: the bits and the scale, both of two bfloat16."""
    values: dict[str, int] = {f"${16 + i}": word for i, word in enumerate(words + scales)}
    products: dict[str, tuple[int, int]] = {}
    for line in text.strip("{}").split(";"):
        name, _, rest = line.strip().partition(" ")
        if not name or name == ".reg":
            continue
        target, *sources = rest.split(", ")
        a, *others = (values[s] if s in values else int(s, 0) for s in sources)
        if name == "fma.rn.bf16x2":
            assert others[1] == 0x80008000  # minus zero, which changes nothing, not even zero's sign
            products[target] = (a, others[0])
            continue
        match name:
            case "mov.b32":
                result = a
            case "and.b32":
                result = a & others[0]
            case "or.b32":
                result = a | others[0]
            case "shl.b32":
                result = a << others[0]
            case "shr.u32":
                result = a >> others[0]
            case "shf.l.wrap.b32":
                assert a == others[0]
                result = a << others[1] | a >> (32 - others[1])
            case "prmt.b32":
                bytes_ = a.to_bytes(4, "little") + others[0].to_bytes(4, "little")
                result = sum(bytes_[others[1] >> 4 * i & 7] << 8 * i for i in range(4))
            case _:
                raise AssertionError(name)
        values[target] = result & 0xFFFFFFFF
    return [products[f"${i}"] for i in range(16)]


def test_ptx_decodes_alike():
    blocks, scales = torch.randint(256, (1, 64, 2, 16)).byte(), torch.randint(2, 129, (1, 64, 2)).byte()
    packed = Packed.of(blocks, scales, torch.empty(1, 64), is_paired=False)
    expected = mxfp4.decode(blocks[0], scales[0]).view(64, 64)
    for lane in range(128):
        words = [word & 0xFFFFFFFF for word in packed.words[0, 0, 0, lane * 4 : lane * 4 + 4].tolist()]
        scale = int(packed.scales[0, 0, 0, lane // 4]) & 0xFFFFFFFF
        products = run_ptx(registers.DECODE.value, words, [scale] * 4)
        both = torch.tensor([[a, b] for a, b in products]).to(torch.uint32).view(torch.bfloat16).view(16, 2, 2)
        row, column = lane // 32 * 16 + lane % 32 // 4, lane % 4 * 2
        rows = expected[[row, row + 8]].view(2, 8, 8)[:, :, column : column + 2].transpose(0, 1)  # (pairs, halves, 2)
        assert torch.equal((both[:, 0] * both[:, 1]).float(), rows.reshape(16, 2))


def test_a_model_holds_its_experts_once_and_gives_them_back(monkeypatch: pytest.MonkeyPatch):
    config = TINY.with_layers(2)
    stored = dict(Dummy(config).tensors())
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    expected = Transformer.load(Dummy(config)).forward(ids)
    monkeypatch.setitem(kernels.BACKENDS, "cpu", kernels.BACKENDS["cuda"])
    model = Transformer.load(Dummy(config))
    for _ in range(2):  # prepared once more, it is the same
        model.prepare()
        assert all(vars(layer.experts).keys() == {"packed"} for layer in model.weights.layers)
        for name, tensor in model.tensors():
            assert torch.equal(tensor.bfloat16() if tensor.is_floating_point() else tensor, stored[name]), name
        assert torch.equal(model.forward(ids), expected)
