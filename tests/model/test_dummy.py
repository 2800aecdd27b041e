"""Dummies: the published shapes, the same from the same seed, and alive: spread routing and bounded activations."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harmonium.errors import BadRequest
from harmonium.kernels import reference
from harmonium.model import dummy, layout, mxfp4
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, NANO, TINY, ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer


@pytest.mark.parametrize(
    ("config", "n_bytes", "parameters"),
    [(GPT_OSS_20B, 13_761_264_768, 20.91e9), (GPT_OSS_120B, 65_248_815_744, 116.83e9)],
)
def test_shapes_add_up_to_the_published_sizes(config: ModelConfig, n_bytes: int, parameters: float) -> None:
    sizes = {name: math.prod(shape) for name, shape in layout.shapes(config).items()}
    packed = {name: size for name, size in sizes.items() if name.endswith(("_blocks", "_scales"))}
    blocks = sum(size for name, size in packed.items() if name.endswith("_blocks"))
    others = sum(sizes.values()) - sum(packed.values())
    assert sum(packed.values()) + 2 * others == n_bytes
    assert 2 * blocks + others == pytest.approx(parameters, rel=1e-3)


def test_names() -> None:
    assert dummy.parse("20b") == GPT_OSS_20B and dummy.parse("120b") == GPT_OSS_120B and dummy.parse("nano") == NANO
    assert dummy.parse("20b", 2) == replace(GPT_OSS_20B, n_layers=2)
    with pytest.raises(BadRequest, match=r"'20B'; did you mean 20b\? Choose from 20b, 120b, nano, tiny"):
        dummy.parse("20B")
    with pytest.raises(BadRequest, match="give 1 or more"):
        dummy.parse("20b", 0)


def test_the_same_seed_gives_the_same_tensors() -> None:
    first, second, other = (list(Dummy(TINY, seed).tensors()) for seed in (5, 5, 6))
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in zip(first, second, strict=True))
    drawn = [name for (name, x), (_, y) in zip(first, other, strict=True) if not torch.equal(x, y)]
    assert len(drawn) == len([name for name, _ in first if "norm.weight" not in name])


def test_packed_tensors_are_uniform_over_codes_and_three_scales() -> None:
    tensors = dict(Dummy(TINY.with_layers(1)).tensors())
    blocks, scales = (tensors[f"model.layers.0.mlp.experts.gate_up_proj_{part}"] for part in ("blocks", "scales"))
    for codes in (blocks & 15, blocks >> 4):
        assert (
            torch.bincount(codes.flatten().int(), minlength=16).float().div(codes.numel() / 16).sub(1).abs().max() < 0.1
        )
    assert scales.unique().numel() == 3
    size = mxfp4.decode(blocks, scales).square().mean().sqrt() * math.sqrt(TINY.hidden_size)
    assert 0.7 < size < 1.5  # a power of two nearest to 1


def test_routing_spreads_over_all_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    route, shares = reference.route, []

    def counted(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        indices, weights = route(logits, k)
        counts = torch.bincount(indices.flatten(), minlength=TINY.n_experts)
        shares.append(counts / indices.numel() * TINY.n_experts)  # 1 is an equal share
        return indices, weights

    monkeypatch.setattr(reference, "route", counted)
    model = Transformer.load(Dummy(TINY.with_layers(24)))
    ids = torch.randint(0, TINY.vocab_size, (4, 64), generator=torch.Generator().manual_seed(0))
    model.forward(ids)
    assert len(shares) == 24
    assert torch.stack(shares).min() > 0.4 and torch.stack(shares).max() < 1.6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_stay_bounded_and_logits_vary(dtype: torch.dtype) -> None:
    model = Transformer.load(Dummy(TINY.with_layers(36)), dtype=dtype)
    model.dtype = dtype
    ids = torch.randint(0, TINY.vocab_size, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.forward(ids).float()
    assert logits.isfinite().all() and 2 < logits.std() < 4
    likeliest = logits.softmax(dim=-1).amax(dim=-1).mean()
    assert 0.02 < likeliest < 0.6  # some tokens are likely, none is certain
    assert logits.argmax(dim=-1).unique().numel() > 64
