"""The plain-torch operations against formulas written out another way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.kernels import reference
from harmonium.kernels.reference import ExpertWeights


def test_every_byte_and_scale_decodes_as_the_format_says():
    values = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for scale in (1, 100, 127, 128, 250):
        blocks = torch.arange(256, dtype=torch.uint8).view(16, 16)
        scales = torch.full((16,), scale, dtype=torch.uint8)
        decoded = reference.decode_mxfp4(blocks, scales)
        for byte in range(256):
            for place, code in ((2 * byte, byte % 16), (2 * byte + 1, byte // 16)):
                expected = (-1 if code >= 8 else 1) * values[code % 8] * 2.0 ** (scale - 127)
                assert decoded[place].item() == expected


@given(st.integers(1, 40), st.sampled_from([(2, 1, 32), (4, 2, 64), (3, 3, 6)]), st.sampled_from([None, 1, 7]))
@settings(max_examples=25, deadline=None)
def test_a_sink_is_a_gate_on_attention_without_sinks(length: int, heads: tuple[int, int, int], window: int | None):
    n_heads, kv_heads, head_dim = heads
    q = torch.randn(2, length, n_heads, head_dim)
    k, v = torch.randn(2, 2, length, kv_heads, head_dim)
    sinks = torch.randn(n_heads) * 3
    found = reference.attend(q, k, v, sinks, window)
    for head in range(n_heads):
        for query in range(length):
            first = 0 if window is None else max(0, query - window + 1)
            keys = k[:, first : query + 1, head // (n_heads // kv_heads)]
            scores = (keys * q[:, query, head, None]).sum(-1) / head_dim**0.5
            plain = scores.softmax(-1)[..., None] * v[:, first : query + 1, head // (n_heads // kv_heads)]
            gate = torch.sigmoid(scores.logsumexp(-1, keepdim=True) - sinks[head])
            torch.testing.assert_close(found[:, query, head], plain.sum(1) * gate, rtol=1e-4, atol=1e-5)


def test_experts_are_the_weighted_sum_of_each_tokens_choices():
    weights = ExpertWeights(torch.randn(5, 8, 12), torch.randn(5, 12), torch.randn(5, 6, 8), torch.randn(5, 8))
    x, shares = torch.randn(9, 8), torch.rand(9, 2)
    indices = torch.stack([torch.randperm(5)[:2] for _ in range(9)])
    found = reference.experts(x, indices, shares, weights)
    for token in range(9):
        expected = torch.zeros(8)
        for expert, share in zip(indices[token], shares[token], strict=True):
            gate, up = (x[token] @ weights.gate_up[expert] + weights.gate_up_bias[expert]).view(6, 2).unbind(-1)
            gate, up = gate.clamp(max=7), up.clamp(-7, 7)
            inner = gate * torch.sigmoid(1.702 * gate) * (up + 1)
            expected += share * (inner @ weights.down[expert] + weights.down_bias[expert])
        torch.testing.assert_close(found[token], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("limit", [7.0])
def test_swiglu_clamps_gate_above_and_up_on_both_sides(limit: float):
    pairs = torch.tensor([[20.0, 20.0], [7.0, 7.0], [-20.0, -20.0], [-20.0, -7.0]]).flatten()
    first, second, third, fourth = reference.swiglu(pairs)
    assert first == second > limit * limit
    assert third == fourth != 0
