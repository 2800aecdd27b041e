"""The CPU's operations against the reference's, over shapes; errors are relative to the largest value."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium import kernels
from harmonium.errors import Unsupported
from harmonium.hardware import instruction_set
from harmonium.kernels import reference
from harmonium.kernels.int8 import Int8Matrix
from harmonium.kernels.reference import ExpertWeights
from harmonium.model import mxfp4
from harmonium.model.config import PAGE_SIZE
from tests.kernels.paging import GrowingRows, poison

EPS = 1e-5
TOKENS = st.sampled_from([1, 2, 5, 16, 17, 70])
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])
INT8_TOO = st.sampled_from([torch.float32, torch.bfloat16, torch.int8])


def close(found: torch.Tensor, expected: torch.Tensor, bound: float) -> bool:
    return float((found - expected).abs().max()) <= bound * float(expected.abs().max())


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Any:
    """Of norm 1 along the last axis, on average. int8 is that of matrices in blocks, and bfloat16 of the rest."""
    values = torch.randn(shape) * shape[-1] ** -0.5
    if dtype == torch.int8:
        return Int8Matrix.quantize(values) if len(shape) == 2 and not shape[1] % 32 else values.bfloat16()
    return values.to(dtype)


@given(TOKENS, st.sampled_from([(4, 2, 32), (2, 1, 64), (3, 3, 6), (2, 1, 80)]), st.sampled_from([32, 40]), INT8_TOO)
@settings(max_examples=20, deadline=None)
def test_norm_qkv(tokens: int, heads: tuple[int, int, int], hidden: int, dtype: torch.dtype):
    n_heads, kv_heads, head_dim = heads
    sizes = (n_heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    projections = [part for n in sizes for part in (random(n, hidden, dtype=dtype), random(n, dtype=dtype))]
    tensors = (random(hidden, dtype=dtype), *projections)
    x, angles = torch.randn(tokens, hidden), torch.randn(tokens, head_dim // 2)
    slots = torch.randperm(8 * PAGE_SIZE)[:tokens]
    results = []
    for operation in (
        reference.NormQKV(*tensors, head_dim, EPS),
        kernels.norm_qkv(*tensors, head_dim=head_dim, eps=EPS),
    ):
        caches = torch.zeros(2, 8, kv_heads, PAGE_SIZE, head_dim)
        results.append((operation(x.clone(), angles.cos(), angles.sin(), *caches, slots), caches))
    (expected, expected_caches), (found, found_caches) = results
    assert found.shape == expected.shape
    assert close(found, expected, 2e-6)
    assert close(found_caches, expected_caches, 2e-6)


@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 2, 8, 9, 33, 70]), min_size=3, max_size=3).filter(any), min_size=1, max_size=4
    ),
    st.sampled_from([(4, 2, 32), (2, 1, 64), (3, 3, 6), (2, 1, 80)]),
    st.sampled_from([None, 16, 33]),
    st.integers(0, 9),
)
@settings(max_examples=30, deadline=None)
def test_attend(plan: list[list[int]], heads: tuple[int, int, int], window: int | None, seed: int):
    n_heads, kv_heads, head_dim = heads
    rows = GrowingRows(3, 4 * 70, window or 1, seed)
    caches = torch.randn(2, rows.n_pages, kv_heads, PAGE_SIZE, head_dim)
    poison(list(caches))
    sinks = torch.randn(n_heads) * 2
    operation = kernels.attend(sinks, window=window)
    assert type(operation) is not reference.Attend
    for news in plan:
        batch = rows.grow(news)
        group = batch.full if window is None else batch.sliding
        q = torch.randn(sum(news), n_heads, head_dim) * 3
        expected = reference.Attend(sinks, window)(q, *caches, batch, group)
        assert close(operation(q, *caches, batch, group), expected, 5e-6)


@given(TOKENS, st.sampled_from([(64, 32), (30, 50)]), INT8_TOO)
@settings(max_examples=12, deadline=None)
def test_project_add(tokens: int, sizes: tuple[int, int], dtype: torch.dtype):
    hidden, width = sizes
    weight, bias = random(hidden, width, dtype=dtype), random(hidden, dtype=dtype)
    x, attended = torch.randn(tokens, hidden), torch.randn(tokens, 2, width // 2)
    expected = reference.ProjectAdd(weight, bias)(x, attended)
    assert close(kernels.project_add(weight, bias)(x.clone(), attended), expected, 2e-6)


@given(TOKENS, st.sampled_from([(4, 4), (16, 4), (32, 1)]), DTYPES)
@settings(max_examples=12, deadline=None)
def test_norm_route(tokens: int, sizes: tuple[int, int], dtype: torch.dtype):
    n_experts, k = sizes
    norm, weight, bias = (
        random(48, dtype=dtype),
        random(n_experts, 48, dtype=dtype) * 40,
        random(n_experts, dtype=dtype),
    )
    x = torch.randn(tokens, 48)
    normed, indices, shares = reference.NormRoute(norm, weight, bias, k, EPS)(x)
    found = kernels.norm_route(norm, weight, bias, k=k, eps=EPS)(x.clone())
    assert close(found[0], normed, 1e-6)
    assert torch.equal(found[1], indices)
    assert close(found[2], shares, 1e-5)


def packed_experts(n_experts: int, hidden: int, inner: int, dtype: torch.dtype = torch.float32) -> ExpertWeights:
    gate_up, down = random(n_experts, 2 * inner, hidden) * 4, random(n_experts, hidden, inner)
    (gate_up_blocks, gate_up_scales), (down_blocks, down_scales) = mxfp4.quantize(gate_up), mxfp4.quantize(down)
    biases = random(n_experts, 2 * inner, dtype=dtype), random(n_experts, hidden, dtype=dtype)
    return ExpertWeights(gate_up_blocks, biases[0], down_blocks, biases[1], gate_up_scales, down_scales)


@given(TOKENS, st.sampled_from([(64, 32), (32, 160)]), DTYPES)
@settings(max_examples=15, deadline=None)
def test_packed_experts_add(tokens: int, sizes: tuple[int, int], dtype: torch.dtype):
    weights = packed_experts(6, *sizes, dtype)
    x, normed = torch.randn(2, tokens, sizes[0])
    indices = torch.rand(tokens, 6).topk(3).indices.clamp(max=4)  # the last expert is idle, some are chosen twice
    shares = torch.rand(tokens, 3)
    expected = reference.ExpertsAdd(weights)(x, normed, indices, shares)
    assert close(kernels.experts_add(weights)(x.clone(), normed, indices, shares), expected, 2e-6)


def test_dense_experts_are_left_to_the_reference():
    weights = ExpertWeights(random(4, 24, 20), random(4, 20), random(4, 10, 24), random(4, 24))
    x, normed, indices, shares = torch.randn(5, 24), torch.randn(5, 24), torch.randint(4, (5, 2)), torch.rand(5, 2)
    expected = reference.ExpertsAdd(weights)(x, normed, indices, shares)
    assert torch.equal(kernels.experts_add(weights)(x.clone(), normed, indices, shares), expected)


@given(TOKENS, INT8_TOO, st.booleans())
@settings(max_examples=12, deadline=None)
def test_norm_head(tokens: int, dtype: torch.dtype, is_everywhere: bool):
    norm, weight, x = random(64, dtype=dtype), random(100, 64, dtype=dtype), torch.randn(tokens, 64)
    rows = None if is_everywhere else torch.tensor([tokens - 1, 0])
    expected = reference.NormHead(norm, weight, EPS)(x, rows)
    found = kernels.norm_head(norm, weight, eps=EPS)(x.clone(), rows)
    assert found.dtype == torch.float32
    assert close(found, expected, 2e-6)


def int8(n_rows: int, n_blocks: int) -> tuple[tuple[np.ndarray, ...], torch.Tensor]:
    """Random int8 weights as kernels take them, flat, and their values."""
    codes, scales = torch.randint(-127, 128, (n_rows, n_blocks, 32), dtype=torch.int8), torch.rand(n_rows, n_blocks, 1)
    scales = scales.bfloat16()
    values = (codes * scales.float()).view(n_rows, -1)
    return (codes.flatten().numpy(), scales.flatten().view(torch.uint16).numpy()), values


def mxfp4_bytes(n_rows: int, n_blocks: int) -> tuple[tuple[np.ndarray, ...], torch.Tensor]:
    """MXFP4 of every byte, so that every code is in each half, as kernels take it; and its values."""
    blocks = torch.arange(n_rows * n_blocks * 16).to(torch.uint8).view(n_rows, n_blocks, 16)
    scales = torch.randint(60, 180, (n_rows, n_blocks), dtype=torch.uint8)
    return (blocks.flatten().numpy(), scales.flatten().numpy()), mxfp4.decode(blocks, scales)


def floats(n_rows: int, n_blocks: int, dtype: torch.dtype) -> tuple[np.ndarray, torch.Tensor]:
    values = torch.randn(n_rows, n_blocks * 32).to(dtype)
    flat = values.view(torch.uint16) if dtype == torch.bfloat16 else values
    return flat.flatten().numpy(), values.float()


def in_block_order(x: torch.Tensor) -> torch.Tensor:
    return x.view(*x.shape[:-1], -1, 16, 2).transpose(-1, -2).reshape(x.shape)


MATRICES = {
    "float32": lambda: floats(16, 5, torch.float32),
    "bfloat16": lambda: floats(16, 5, torch.bfloat16),
    "int8": lambda: int8(16, 5),
    "mxfp4": lambda: mxfp4_bytes(16, 5),
}


def skip_unless_able(form: str) -> None:
    able = {"avx512": ["avx512", "avx2", "portable"], "avx2": ["avx2", "portable"], "portable": ["portable"]}
    if form not in able[instruction_set()]:
        pytest.skip(f"this processor has no {form}; run the tests on one that has")


@pytest.mark.parametrize(
    ("kind", "form"),
    [("float32", "portable"), ("bfloat16", "portable"), ("int8", "avx512"), ("int8", "portable")]
    + [("mxfp4", form) for form in ("avx512", "avx2", "portable")],
)
def test_rows_in_every_form(kind: str, form: str):
    import numba

    from harmonium.kernels.cpu.dots import DOTS

    skip_unless_able(form)
    one, two, four = DOTS[form].values()

    @numba.njit
    def multiply(matrix, x, out):
        for row in range(0, out.shape[0], 2):
            one(matrix, row, 5, x, 0, out[row, 0], 0, 1)
            two(matrix, row, 5, x, 1, out[row, 1], 0, 2)
            four(matrix, row, 5, x, 3, out[row, 2], 0, 4)

    matrix, expected = MATRICES[kind]()
    x, out = torch.randn(7, 160), np.zeros((16, 3, 8), np.float32)
    multiply(matrix, (in_block_order(x) if kind == "mxfp4" else x).flatten().numpy(), out)
    found = torch.from_numpy(out)[::2]  # (pairs of rows, kernels, rows of the pair and tokens)
    parts = [found[:, i, : 2 * n].reshape(8, 2, n).reshape(16, n) for i, n in enumerate((1, 2, 4))]
    exact = expected.double() @ x.double().t()
    errors = (torch.cat(parts, 1) - exact).abs() / (expected.abs().double() @ x.abs().double().t())
    assert errors.max() < 5e-7


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("form", ["avx512", "avx2", "portable"])
def test_rows_are_written_out_exactly(kind: str, form: str):
    import numba

    from harmonium.kernels.cpu.dots import UNPACKS

    skip_unless_able(form)
    unpack = UNPACKS[form]
    matrix, expected = MATRICES[kind]()
    if kind == "mxfp4":
        scales = torch.arange(1, 81, dtype=torch.uint8).view(16, 5) * 3  # nearly all that there are
        expected = in_block_order(mxfp4.decode(torch.from_numpy(matrix[0]).view(16, 5, 16), scales))
        matrix = (matrix[0], scales.flatten().numpy())
    out = torch.empty(15, 160)
    numba.njit(lambda matrix, out: unpack(matrix, 1, 15, 5, out))(matrix, out.view(-1).numpy())
    assert torch.equal(out, expected[1:])


@pytest.mark.parametrize("form", ["avx512", "avx2", "portable"])
def test_tiles_in_every_form(form: str):
    import numba

    from harmonium.kernels.cpu.tile import TILES

    skip_unless_able(form)
    half, whole = TILES[form]

    @numba.njit
    def multiply(weights, panel, halves, wholes, turned):
        half(weights, 0, 50, 1, panel, 0, 50, halves, 0)
        whole(weights, 0, 50, 1, panel, 0, 50, wholes, 0)
        whole(weights, 3, 1, 8, panel, 32, 40, turned, 0)

    weights, panel = torch.randn(8, 50), torch.randn(50, 32)
    halves, wholes, turned = torch.ones(3, 8, 32).unbind()
    multiply(*(x.reshape(-1).numpy() for x in (weights, panel, halves, wholes, turned)))
    assert torch.allclose(wholes, weights @ panel + 1, atol=1e-5)
    assert torch.allclose(halves[:, :16], wholes[:, :16], atol=1e-5)
    assert (halves[:, 16:] == 1).all()
    columns = weights.flatten()[3 : 3 + 320].view(40, 8)
    assert torch.allclose(turned, columns.t() @ panel[1:41] + 1, atol=1e-5)


def test_exponential():
    import numba

    from harmonium.kernels.cpu import simd

    @numba.njit(error_model="numpy")
    def fill(x, out):
        for i in range(len(x)):
            out[i] = simd.exp(x[i])

    x = np.linspace(-200, 88, 200_001).astype(np.float32)
    out = np.empty_like(x)
    fill(x, out)
    expected = np.exp(x.astype(np.float64))
    errors = np.abs(out - expected) / np.maximum(expected, 1.2e-38)
    assert errors[np.abs(x) < 10].max() < 1e-6
    assert errors[x > -87].max() < 1e-5
    assert (out[x < -90] < 1.2e-38).all()


def test_int8_is_off_by_half_a_step_and_exact_where_it_can_be():
    weight = torch.randn(50, 96) * torch.logspace(-30, 30, 50)[:, None]
    weight[7] = 0
    found = Int8Matrix.quantize(weight)
    assert found.codes.dtype == torch.int8 and found.scales.shape == (50, 3)
    largest = weight.unflatten(1, (3, 32)).abs().amax(-1, keepdim=True).expand(-1, -1, 32).flatten(1)
    assert ((found.to(torch.float32) - weight).abs() <= largest * (0.5 / 127) * 1.01 + largest * 2**-8).all()
    again = Int8Matrix.quantize(found.to(torch.float32))
    assert torch.equal(again.to(torch.float32), found.to(torch.float32))
    quick, exact = kernels.to_int8(weight.bfloat16()), Int8Matrix.quantize(weight.bfloat16())
    assert torch.equal(quick.scales, exact.scales)
    apart = (quick.codes.int() - exact.codes.int()).abs()  # a half, rounded once by one and twice by the other
    assert apart.max() <= 1 and apart.sum() <= 3
    with pytest.raises(Unsupported, match="--dtype int8"):
        Int8Matrix.quantize(torch.ones(4, 40))


def test_a_shared_step_is_the_same_to_the_bit():
    """Which thread does an item changes nothing, and neither does a step of another thread meanwhile."""
    from harmonium.kernels.cpu.pool import ALONE, Pool

    weights, pool = packed_experts(6, 256, 160, torch.bfloat16), Pool(3)
    operation = kernels.experts_add(weights)
    project = kernels.project_add(random(256, 96), random(256))
    for tokens in (1, 5, 40):
        x, normed = torch.randn(2, tokens, 256)
        attended, indices = torch.randn(tokens, 1, 96), torch.rand(tokens, 6).topk(3).indices
        arguments = (normed, indices, torch.rand(tokens, 3))
        expected = project(operation(x.clone(), *arguments), attended)
        with using(pool), pool.working():
            assert pool.state is not ALONE
            for _ in range(20):
                assert torch.equal(project(operation(x.clone(), *arguments), attended), expected)
            with ThreadPoolExecutor(1) as other:
                assert other.submit(lambda: pool.state).result() is ALONE
    assert pool.state is ALONE


def test_no_item_of_a_job_is_done_twice_or_with_the_next_ones_arguments():
    from harmonium.kernels.cpu.compile import compiled
    from harmonium.kernels.cpu.pool import Pool, shared

    def count(item, counts):
        counts[item] += 1

    counted = shared(count)

    @compiled
    def short_and_long(state, few, many):
        for _ in range(1000):
            counted(state, 2, (few,))
            counted(state, 40, (many,))

    pool = Pool(3)
    with pool.working():
        for _ in range(200):
            few, many = np.zeros(64), np.zeros(64)
            short_and_long(pool.state, few, many)
            assert few.tolist() == [1000] * 2 + [0] * 62 and many.tolist() == [1000] * 40 + [0] * 24


@contextmanager
def using(pool: Any) -> Iterator[None]:
    """The operations' pool, for a while."""
    from harmonium.kernels import cpu

    before, cpu.POOL = cpu.POOL, pool
    try:
        yield
    finally:
        cpu.POOL = before


def python(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_numba_is_not_imported_before_it_is_needed():
    assert python("import sys, harmonium.model.transformer; print('numba' in sys.modules)") == "False"


def test_machine_code_is_kept_for_the_next_process(capsys: pytest.CaptureFixture[str]):
    """compile.py, which keeps it, is part of the key: what was kept by another version of it is not found."""
    code = (
        "import numpy as np; from harmonium.kernels.cpu import dense; from harmonium.kernels.cpu.pool import ALONE;"
        "x, y = np.ones((2, 2, 32), np.float32);"
        "dense.project_add(ALONE, x, y, np.ones(32 * 32, np.float32), y[0]);"
        "print(sum(dense.project_add.stats.cache_hits.values()), x.sum())"
    )
    exec(code, {})
    assert capsys.readouterr().out.split()[1] == "2176.0"
    assert python(code) == "1 2176.0"
