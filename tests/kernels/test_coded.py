"""bfloat16 in 12 bits: the same bits back, by the kernels as by the specification, and the same products."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium import kernels
from harmonium.hardware import has_vnni
from harmonium.kernels import reference
from harmonium.kernels.coded import CodedMatrix, can_be_coded
from harmonium.model import checkpoint
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

SHAPES = st.sampled_from([(2, 64), (6, 128), (66, 320), (130, 192)])
BITS = st.integers(-(2**15), 2**15 - 1)
needs_vnni = pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI or VBMI; run it on one with both")


def spread_out(shape: tuple[int, int], seed: int, odd_bits: int) -> torch.Tensor:
    """Normally distributed, rows of very different sizes, a number of any bits, a row of zeros."""
    torch.manual_seed(seed)
    weight = (torch.randn(shape) * torch.logspace(-38, 38, shape[0])[torch.randperm(shape[0]), None]).bfloat16()
    weight[seed % shape[0]] = 0
    weight.view(torch.int16)[torch.randint(shape[0], ()), torch.randint(shape[1], ())] = odd_bits
    return weight


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.equal(found.view(torch.int16), expected.view(torch.int16))


@given(SHAPES, st.integers(0, 10**6), BITS)
@settings(max_examples=40, deadline=None)
def test_bits_stay_the_same(shape: tuple[int, int], seed: int, odd_bits: int):
    weight = spread_out(shape, seed, odd_bits)
    coded = CodedMatrix.code(weight)
    if coded is None:  # one of few rows may be all exceptions
        assert shape[0] < 64
        return
    assert coded.shape == weight.shape and same(coded.to(torch.bfloat16), weight)


@needs_vnni
@given(SHAPES, st.integers(0, 10**6), BITS)
@settings(max_examples=40, deadline=None)
def test_kernels_code_alike(shape: tuple[int, int], seed: int, odd_bits: int):
    from harmonium.kernels.cpu.coding import code

    weight = spread_out(shape, seed, odd_bits)
    expected, found = CodedMatrix.code(weight), code(weight)
    if expected is None or found is None:
        assert expected is found
        return
    assert all(torch.equal(part, vars(found)[name]) for name, part in vars(expected).items())


def test_exceptions_are_few_or_it_stays_as_it_is():
    normal = torch.randn(512, 2880).bfloat16()
    coded = CodedMatrix.code(normal)
    assert coded is not None and 8 * coded.nbytes / normal.numel() < 12.05
    normal[:, ::2] *= 1e-9
    assert CodedMatrix.code(normal) is None
    assert not can_be_coded(torch.ones(3, 64).bfloat16())
    assert not can_be_coded(torch.ones(4, 96).bfloat16())
    assert not can_be_coded(torch.ones(4, 64))
    small = torch.randn(64, 64).bfloat16()
    assert kernels.compact(small) is small


@needs_vnni
@given(st.sampled_from([1, 2, 5, 7, 8, 9, 40]), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_products_are_those_of_the_bits(tokens: int, seed: int):
    """Few tokens and many, with exceptions; by the operations, which share their work, as by the specification."""
    torch.manual_seed(seed)
    weight, bias = torch.randn(100, 192).bfloat16(), torch.randn(100)
    weight[torch.rand(weight.shape) < 1e-2] *= 1e-12
    coded = CodedMatrix.code(weight)
    assert coded is not None and len(coded.bits) > 100
    x, attended = torch.randn(tokens, 100), torch.randn(tokens, 2, 96)
    expected = reference.ProjectAdd(weight, bias)(x, attended)
    found = kernels.project_add(coded, bias)(x.clone(), attended)
    assert float((found - expected).abs().max()) <= 2e-6 * float(expected.abs().max())


@needs_vnni
def test_rows_are_written_out_exactly():
    import numba

    from harmonium.kernels.cpu import _matrix
    from harmonium.kernels.cpu.dots import unpack

    weight = spread_out((66, 320), 3, 0x7F80)
    coded, out = CodedMatrix.code(weight), torch.empty(60, 320)
    assert coded is not None
    numba.njit(lambda matrix, out: unpack(matrix, 4, 60, 10, out))(_matrix(coded), out.view(-1).numpy())
    assert np.array_equal(out.numpy(), weight[4:64].float().numpy(), equal_nan=True)


@needs_vnni
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/smaps; run it on Linux")
def test_a_large_head_is_coded_and_its_files_pages_are_given_back(tmp_path: Path):
    config = replace(TINY.with_layers(1), vocab_size=2**15)
    checkpoint.save(tmp_path, config, Dummy(config).tensors())
    model = Transformer.load(checkpoint.open(tmp_path))
    assert isinstance(model.weights.head, CodedMatrix) and isinstance(model.weights.layers[0].q, torch.Tensor)
    assert resident_bytes(tmp_path / "model.safetensors") < model.weights.head.nbytes / 4
    held = dict(model.tensors())
    assert all(torch.equal(stored, held[name]) for name, stored in Dummy(config).tensors())


def resident_bytes(path: Path) -> int:
    """Of a file, in this process's memory."""
    total, is_inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_inside = words[-1] == str(path.resolve())
        elif is_inside and words[0] == "Rss:":
            total += int(words[1]) * 1024
    return total
