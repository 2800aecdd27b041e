"""The model against transformers' GptOssForCausalLM on random small weights, and its two ways against each other."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.errors import BadCheckpoint
from harmonium.kernels import reference
from harmonium.kernels.reference import ExpertWeights
from harmonium.model import mxfp4
from harmonium.model.config import ModelConfig, RopeConfig
from harmonium.model.transformer import Transformer
from tests.kernels.paging import GrowingRows, poison

GROUPED = ModelConfig(
    hidden_size=64,
    intermediate_size=32,
    n_layers=3,
    n_experts=6,
    experts_per_token=2,
    n_heads=8,
    n_kv_heads=2,
    head_dim=32,
    vocab_size=61,
)
WIDE_HEADS = replace(GROUPED, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=64, experts_per_token=4)
SHORT_ROPE = replace(GROUPED, rope=RopeConfig(original_length=40))
UNGROUPED = replace(GROUPED, n_heads=3, n_kv_heads=3, n_experts=4, window=16, rope=RopeConfig(factor=4.0, theta=1e4))
CONFIGS = {"grouped": GROUPED, "wide heads": WIDE_HEADS, "short rope": SHORT_ROPE, "ungrouped": UNGROUPED}


@functools.cache
def theirs(name: str):
    from transformers import GptOssConfig, GptOssForCausalLM

    config, rope = CONFIGS[name], CONFIGS[name].rope
    model = GptOssForCausalLM(
        GptOssConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.n_layers,
            num_local_experts=config.n_experts,
            num_experts_per_tok=config.experts_per_token,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads,
            head_dim=config.head_dim,
            vocab_size=config.vocab_size,
            sliding_window=config.window,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": rope.theta,
                "factor": rope.factor,
                "beta_fast": rope.beta_fast,
                "beta_slow": rope.beta_slow,
                "truncate": rope.truncate,
                "original_max_position_embeddings": rope.original_length,
            },
            attn_implementation="eager",
        )
    ).float()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@functools.cache
def ours(name: str) -> Transformer:
    return Transformer.from_tensors(CONFIGS[name], {n: t.detach() for n, t in theirs(name).state_dict().items()})


def random_ids(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(GROUPED.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [127, 128, 129, 300])
@torch.no_grad()
def test_whole_sequences_equal_transformers(name: str, length: int):
    ids = random_ids(3, length)
    assert relative_error(ours(name).forward(ids), theirs(name)(ids).logits) < 1e-5


@torch.no_grad()
def test_given_positions_equal_transformers():
    ids, positions = random_ids(2, 20), torch.arange(20) + torch.tensor([[5], [1000]])
    expected = theirs("grouped")(ids, position_ids=positions, attention_mask=torch.ones(2, 20)).logits
    assert relative_error(ours("grouped").forward(ids, positions), expected) < 1e-5


def test_gradients_equal_transformers():
    ids, their_model = random_ids(2, 40), theirs("grouped")
    leaves = {n: t.detach().clone().requires_grad_() for n, t in their_model.state_dict().items()}
    model = Transformer.from_tensors(GROUPED, leaves)
    model.forward(ids).square().sum().backward()
    their_model.zero_grad()
    their_model(ids).logits.square().sum().backward()
    for name, parameter in their_model.named_parameters():
        gradient = leaves[name].grad
        assert gradient is not None and parameter.grad is not None
        assert relative_error(gradient, parameter.grad) < 1e-4, name


def test_tensors_come_back_under_their_names():
    state = theirs("grouped").state_dict()
    back = dict(ours("grouped").tensors())
    assert back.keys() == state.keys()
    assert all(back[name].data_ptr() == tensor.data_ptr() for name, tensor in state.items())


def test_a_missing_tensor_is_named():
    tensors = dict(ours("grouped").tensors())
    del tensors["model.layers.1.self_attn.sinks"]
    with pytest.raises(BadCheckpoint, match=r"model\.layers\.1\.self_attn\.sinks"):
        Transformer.from_tensors(GROUPED, tensors)


def run(model: Transformer, ids: torch.Tensor, plan: list[list[int]], seed: int = 0) -> torch.Tensor:
    """Logits of every token of ids (rows, length), computed in steps: plan[s][r] new tokens of row r in step s."""
    rows = GrowingRows(*ids.shape, model.config.window, seed)
    cache = model.new_cache(rows.n_pages, rows.n_pages)
    poison(cache.k + cache.v)
    logits = torch.full((*ids.shape, model.config.vocab_size), float("nan"))
    for news in plan:
        spans = [(r, rows.lengths[r], rows.lengths[r] + new) for r, new in enumerate(news) if new]
        batch = rows.grow(news)
        step_ids = torch.cat([ids[r, start:stop] for r, start, stop in spans])
        found = model.step(step_ids, batch, cache, torch.arange(len(step_ids)))
        for (r, start, stop), part in zip(spans, found.split([s[2] - s[1] for s in spans]), strict=True):
            logits[r, start:stop] = part
    return logits


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_cached_decode_equals_whole(name: str):
    ids = random_ids(2, 150)
    plan = [[120, 0], [1, 100], *[[1, 1]] * 29, *[[0, 1]] * 21]
    assert relative_error(run(ours(name), ids, plan), ours(name).forward(ids)) < 1e-5


@st.composite
def plans(draw: st.DrawFn) -> list[list[int]]:
    """Ragged steps of three rows: whole prompts, chunks and single tokens, some rows absent."""
    sizes = st.sampled_from([0, 1, 1, 2, 15, 16, 17, 60])
    plan = draw(st.lists(st.lists(sizes, min_size=3, max_size=3).filter(any), min_size=1, max_size=6))
    left = [max(sum(column), 1) for column in zip(*plan, strict=True)]
    missing = [max(left) - n for n in (sum(column) for column in zip(*plan, strict=True))]
    return [*plan, missing] if any(missing) else plan


@given(plans(), st.sampled_from(sorted(CONFIGS)), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
@torch.no_grad()
def test_any_chunking_equals_whole(plan: list[list[int]], name: str, seed: int):
    ids = random_ids(3, sum(news[0] for news in plan), seed=seed)
    assert relative_error(run(ours(name), ids, plan, seed), ours(name).forward(ids)) < 1e-5


@torch.no_grad()
def test_logits_only_where_asked():
    model, ids = ours("grouped"), random_ids(1, 50)
    rows = GrowingRows(1, 50, model.config.window)
    cache = model.new_cache(rows.n_pages, rows.n_pages)
    found = model.step(ids[0], rows.grow([50]), cache, torch.tensor([49, 3]))
    assert found.dtype == torch.float32
    assert relative_error(found, model.forward(ids)[0, [49, 3]]) < 1e-5


def packed(name: str) -> tuple[Transformer, Transformer]:
    """A model with packed experts, and the same model with what they decode to."""
    dense, both = dict(ours(name).tensors()), ({}, {})
    for key, tensor in dense.items():
        if not key.endswith(("gate_up_proj", "down_proj")):
            both[0][key] = both[1][key] = tensor
            continue
        blocks, scales = mxfp4.quantize(tensor.mT)
        both[0][key + "_blocks"], both[0][key + "_scales"] = blocks, scales
        both[1][key] = mxfp4.decode(blocks, scales).mT.contiguous()
    return Transformer.from_tensors(CONFIGS[name], both[0]), Transformer.from_tensors(CONFIGS[name], both[1])


@torch.no_grad()
def test_packed_experts_equal_decoded_ones():
    small, large = packed("grouped")
    ids = random_ids(2, 150)
    expected = large.forward(ids)
    assert {n for n, _ in small.tensors() if n.endswith("_blocks")}
    assert relative_error(small.forward(ids), expected) < 1e-6
    assert relative_error(run(small, ids, [[140, 60], [9, 90], [1, 0]])[0], expected[0]) < 1e-5


def test_training_compiles_to_one_graph():
    """With operations of fixed shape in place of the reference's, nothing in forward depends on data."""

    def every_expert(x: torch.Tensor, indices: torch.Tensor, weights: torch.Tensor, layer: ExpertWeights):
        shares = torch.zeros(len(x), len(layer.gate_up)).scatter(1, indices, weights)
        inner = reference.swiglu(torch.einsum("th,ehi->tei", x, layer.gate_up) + layer.gate_up_bias)
        outer = torch.einsum("tei,eih->teh", inner, layer.down) + layer.down_bias
        return (outer * shares.unsqueeze(-1)).sum(1)

    leaves = {n: t.detach().clone().requires_grad_() for n, t in ours("wide heads").tensors()}
    model = Transformer.from_tensors(WIDE_HEADS, leaves)
    whole = torch.compile(lambda ids: model.forward(ids, experts=every_expert), backend="eager", fullgraph=True)
    ids = random_ids(2, 30)
    logits = whole(ids)
    assert relative_error(logits.detach(), model.forward(ids).detach()) < 1e-5
    logits.sum().backward()
    assert all(leaf.grad is not None for leaf in leaves.values())
