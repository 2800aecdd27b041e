"""Which files and tensors a gpt-oss has: Hugging Face's names and shapes, and where OpenAI's `original/` keeps them.

OpenAI's layout holds the same values in the same order under other names, with q, k and v as rows of one matrix.
Sources: openai/gpt-oss-20b, model.safetensors.index.json; openai/gpt-oss, gpt_oss/torch/weights.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harmonium.errors import BadCheckpoint
from harmonium.model.config import ModelConfig

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

INT8_NAMES = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight", "lm_head.weight")
"""How the names of the matrices end that may be in int8."""

Shape = tuple[int, ...]

ORIGINAL_WHOLE = {
    "model.embed_tokens.weight": "embedding.weight",
    "model.norm.weight": "norm.scale",
    "lm_head.weight": "unembedding.weight",
}
ORIGINAL_LAYER = {
    "input_layernorm.weight": "attn.norm.scale",
    "self_attn.q_proj.weight": "attn.qkv.weight",
    "self_attn.q_proj.bias": "attn.qkv.bias",
    "self_attn.k_proj.weight": "attn.qkv.weight",
    "self_attn.k_proj.bias": "attn.qkv.bias",
    "self_attn.v_proj.weight": "attn.qkv.weight",
    "self_attn.v_proj.bias": "attn.qkv.bias",
    "self_attn.o_proj.weight": "attn.out.weight",
    "self_attn.o_proj.bias": "attn.out.bias",
    "self_attn.sinks": "attn.sinks",
    "post_attention_layernorm.weight": "mlp.norm.scale",
    "mlp.router.weight": "mlp.gate.weight",
    "mlp.router.bias": "mlp.gate.bias",
    "mlp.experts.gate_up_proj_blocks": "mlp.mlp1_weight.blocks",
    "mlp.experts.gate_up_proj_scales": "mlp.mlp1_weight.scales",
    "mlp.experts.gate_up_proj_bias": "mlp.mlp1_bias",
    "mlp.experts.down_proj_blocks": "mlp.mlp2_weight.blocks",
    "mlp.experts.down_proj_scales": "mlp.mlp2_weight.scales",
    "mlp.experts.down_proj_bias": "mlp.mlp2_bias",
}


@dataclass(frozen=True)
class Stored:
    """A tensor's place in a file: the name and shape of what is stored there, and which of its first axis's rows."""

    name: str
    shape: Shape
    rows: tuple[int, int] | None = None


def shapes(config: ModelConfig, is_dense: Callable[[str], bool] = lambda projection: False) -> dict[str, Shape]:
    """Name to shape of every tensor, layer after layer. Expert projections are packed unless is_dense(name) says no.

    A packed projection has `_blocks` (experts, out, in / 32, 16) and `_scales` (experts, out, in / 32), both uint8; a
    dense one is (experts, in, out). Everything else is of a float type.
    """
    hidden, vocab = config.hidden_size, config.vocab_size
    found: dict[str, Shape] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(config.n_layers):
        found |= {f"model.layers.{layer}.{name}": shape for name, shape in _layer(config)}
        for projection, outs, ins in (
            ("gate_up_proj", 2 * config.intermediate_size, hidden),
            ("down_proj", hidden, config.intermediate_size),
        ):
            name = f"model.layers.{layer}.mlp.experts.{projection}"
            rows = (config.n_experts, outs)
            if is_dense(name):
                found[name] = (config.n_experts, ins, outs)
            else:
                found |= {f"{name}_blocks": (*rows, ins // 32, 16), f"{name}_scales": (*rows, ins // 32)}
            found[f"{name}_bias"] = rows
    return found | {"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}


def _layer(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """A layer's tensors but the experts'."""
    hidden = config.hidden_size
    yield "input_layernorm.weight", (hidden,)
    for name, heads in (("q", config.n_heads), ("k", config.n_kv_heads), ("v", config.n_kv_heads)):
        yield f"self_attn.{name}_proj.weight", (heads * config.head_dim, hidden)
        yield f"self_attn.{name}_proj.bias", (heads * config.head_dim,)
    yield "self_attn.o_proj.weight", (hidden, config.n_heads * config.head_dim)
    yield "self_attn.o_proj.bias", (hidden,)
    yield "self_attn.sinks", (config.n_heads,)
    yield "post_attention_layernorm.weight", (hidden,)
    yield "mlp.router.weight", (config.n_experts, hidden)
    yield "mlp.router.bias", (config.n_experts,)


def hugging_face(config: ModelConfig, is_packed: Callable[[str], bool], names: set[str]) -> dict[str, Stored]:
    """Where each tensor lies in a checkpoint of Hugging Face's layout that holds these names.

    transformers, when it saves packed experts that it decoded, leaves the `_blocks` names on dense tensors.
    """
    places = {name: Stored(name, shape) for name, shape in shapes(config, lambda name: not is_packed(name)).items()}
    for name, place in places.items():
        if name not in names and f"{name}_blocks" in names:
            places[name] = Stored(f"{name}_blocks", place.shape)
    return places


def original(config: ModelConfig) -> dict[str, Stored]:
    """Where each tensor lies in a checkpoint of OpenAI's layout."""
    return {name: _original_place(name, shape, config) for name, shape in shapes(config).items()}


def _original_place(name: str, shape: Shape, config: ModelConfig) -> Stored:
    if name in ORIGINAL_WHOLE:
        return Stored(ORIGINAL_WHOLE[name], shape)
    _, _, layer, part = name.split(".", 3)
    stored = f"block.{layer}.{ORIGINAL_LAYER[part]}"
    if ".qkv." not in stored:
        return Stored(stored, shape)
    q_rows, kv_rows = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    start = {"q": 0, "k": q_rows, "v": q_rows + kv_rows}[part.removeprefix("self_attn.")[0]]
    return Stored(stored, (q_rows + 2 * kv_rows, *shape[1:]), (start, start + shape[0]))


def weight_files(folder: Path) -> list[Path]:
    """The files that make up the weights, as transformers chooses: the one, else the index's, else all there are."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not (folder / INDEX).exists():
        return sorted(folder.glob("*.safetensors"))
    try:
        names = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{folder / INDEX} cannot be read ({error}); fetch it again.") from None
    return [folder / name for name in sorted(names)]


def missing_files(folder: Path) -> list[str]:
    """Names of weight files that are not there, though the index (or, for want of one, the layout) calls for them."""
    files = weight_files(folder)
    return [file.name for file in files if not file.exists()] if files else [WEIGHTS]
