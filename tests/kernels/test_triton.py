"""Triton's operations against the reference's, under Triton's interpreter: float32, since its bfloat16 dot is wrong."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.kernels import reference
from harmonium.kernels.reference import ExpertWeights
from harmonium.model.config import PAGE_SIZE
from tests.kernels.paging import GrowingRows, poison

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "runs Triton's interpreter: unset CUDA devices, or see benchmarks/gpu_decode.py", allow_module_level=True
    )
pytest.importorskip("triton", reason="needs triton: pip install --no-deps triton==3.9.0", exc_type=ImportError)

import triton
import triton.language as tl

from harmonium.kernels import triton as backend
from harmonium.kernels.triton import mxfp4 as registers
from harmonium.kernels.triton.tiles import ExpertTile, Tiles
from harmonium.model import mxfp4

EPS = 1e-5
TOKENS = st.sampled_from([1, 2, 5])
HEADS = st.sampled_from([(8, 1, 64), (4, 2, 32)])


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 2e-6) -> bool:
    return float((found - expected).abs().max()) <= bound * float(expected.abs().max())


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * shape[-1] ** -0.5


@given(TOKENS, HEADS, st.sampled_from([96, 160]))
@settings(max_examples=6, deadline=None)
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


@pytest.mark.parametrize("window", [None, 16, 33])
@given(HEADS, st.integers(0, 9))
@settings(max_examples=2, deadline=None)
def test_attend(window: int | None, heads: tuple[int, int, int], seed: int):
    n_heads, kv_heads, head_dim = heads
    rows = GrowingRows(3, 280, window or 1, seed)
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


@given(TOKENS, st.sampled_from([(96, 128), (160, 96)]))
@settings(max_examples=4, deadline=None)
def test_project_add(tokens: int, sizes: tuple[int, int]):
    hidden, width = sizes
    plain = reference.ProjectAdd(random(hidden, width), random(hidden))
    x, attended = torch.randn(tokens, hidden), torch.randn(tokens, 2, width // 2)
    assert close(backend.ProjectAdd(plain)(x.clone(), attended), plain(x, attended))


@given(TOKENS, st.sampled_from([(4, 4), (16, 4), (48, 1)]))
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


def packed_experts(n_experts: int, hidden: int, inner: int) -> ExpertWeights:
    gate_up, down = random(n_experts, 2 * inner, hidden) * 4, random(n_experts, hidden, inner)
    (gate_up_blocks, gate_up_scales), (down_blocks, down_scales) = mxfp4.quantize(gate_up), mxfp4.quantize(down)
    biases = random(n_experts, 2 * inner), random(n_experts, hidden)
    return ExpertWeights(gate_up_blocks, biases[0], down_blocks, biases[1], gate_up_scales, down_scales)


@pytest.mark.parametrize(
    ("tokens", "bound", "sizes"),
    [(1, 1e-3, (96, 160)), (2, 1e-3, (160, 96)), (6, 2e-6, (96, 160)), (70, 2e-6, (160, 96))],
)
def test_experts_add(tokens: int, bound: float, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    for name, tile in (("gate_up", ExpertTile(64, 2, 2, 4)), ("down", ExpertTile(32, 4, 1, 4))):
        monkeypatch.setattr(Tiles, name, tile)  # the interpreter's time is one of programs, not of their sizes
    plain = reference.ExpertsAdd(packed_experts(6, *sizes))
    x, normed = torch.randn(2, tokens, sizes[0])
    indices = torch.rand(tokens, 6).topk(3).indices.clamp(max=4)  # the last expert is idle, some are chosen twice
    shares = torch.rand(tokens, 3)
    found = backend.ExpertsAdd(plain)(x.clone(), normed, indices, shares)
    assert close(found - x, plain(x, normed, indices, shares) - x, bound)


@pytest.mark.parametrize("tokens", [1, 2, 5])
@pytest.mark.parametrize("is_everywhere", [True, False])
def test_norm_head(tokens: int, is_everywhere: bool):
    plain = reference.NormHead(random(96), random(100, 96), EPS)
    x, rows = torch.randn(tokens, 96), None if is_everywhere else torch.tensor([tokens - 1, 0])
    found = backend.NormHead(plain)(x.clone(), rows)
    assert found.dtype == torch.float32
    assert close(found, plain(x, rows))


@triton.jit
def decode_words(words_ptr, scales_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    words = tl.load(words_ptr + at).to(tl.uint32, bitcast=True)
    scale = registers.power(tl.load(scales_ptr + at // 4))
    for j in tl.static_range(4):
        low, high = registers.pair(words, j)
        tl.store(out_ptr + at * 8 + j, low.to(tl.float32) * scale)
        tl.store(out_ptr + at * 8 + j + 4, high.to(tl.float32) * scale)


def test_decoding_is_exact():
    blocks = torch.arange(256, dtype=torch.uint8).repeat(16).view(256, 16)[torch.randperm(256)]
    scales, out = torch.arange(256, dtype=torch.uint8).clamp(1, 240), torch.empty(256 * 32)
    decode_words[(1,)](blocks.view(torch.int32), scales, out, 1024)
    assert torch.equal(out, mxfp4.decode(blocks, scales))
