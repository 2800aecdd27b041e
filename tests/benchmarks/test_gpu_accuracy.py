"""What accuracy is measured against: transformers' model on our weights, and distances from float32."""

from __future__ import annotations

import torch

from benchmarks import gpu_accuracy
from benchmarks.gpu_accuracy import Way
from benchmarks.transformers_peer import layer_by_layer, peer, watch_experts
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer


def test_the_peer_is_the_same_model_and_the_ways_meet() -> None:
    model = Transformer.load(Dummy(TINY.with_layers(2)))
    ids = torch.randint(TINY.vocab_size, (150,), generator=torch.Generator().manual_seed(1))
    exact, ours = gpu_accuracy.in_float32(model, ids), gpu_accuracy.by_kernels(model, ids, 10)
    made = peer(model, torch.float32)
    seen = watch_experts(made)
    with torch.no_grad():
        theirs = Way(made(ids[None]).logits[0], seen)
    for way in (ours, Way(theirs.logits, [choice.sort().values for choice in seen])):
        numbers = gpu_accuracy.distance(way, exact).numbers()
        assert numbers["worst_error"] < 1e-4 and numbers["other_top_1"] == numbers["other_experts"] == 0


def test_a_peer_of_one_layer_at_a_time_is_the_peer() -> None:
    model = Transformer.load(Dummy(TINY.with_layers(2)))
    ids = torch.randint(TINY.vocab_size, (TINY.window,), generator=torch.Generator().manual_seed(2))
    made = peer(model)
    seen = watch_experts(made)
    with torch.no_grad():
        expected = made(ids[None]).logits[0]
    logits, choices = layer_by_layer(model, ids)
    assert torch.equal(logits, expected)
    assert all(torch.equal(a, b) for a, b in zip(choices, seen, strict=True))


def test_distances() -> None:
    exact = Way(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), [torch.tensor([[0, 1], [0, 1]])])
    other = Way(torch.tensor([[3.0, 4.5], [0.0, 1.0]]), [torch.tensor([[0, 2], [0, 1]])])
    found = gpu_accuracy.distance(other, exact)
    assert torch.allclose(found.errors, torch.tensor([0.1, 2**0.5]))
    assert found.is_other.tolist() == [False, True] and found.flips.tolist() == [[True], [False]]
