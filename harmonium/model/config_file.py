"""config.json in every spelling there is -> ModelConfig, and back in the published one.

Hugging Face's has `rope_scaling` and `rope_theta` (as published) or `rope_parameters` (transformers 5); OpenAI's
`original/` has names of its own. What would change the arithmetic and is not ours is refused, never ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harmonium.errors import BadCheckpoint
from harmonium.model.config import ModelConfig, RopeConfig

SIZES = {
    "hidden_size": ("hidden_size",),
    "intermediate_size": ("intermediate_size",),
    "n_layers": ("num_hidden_layers",),
    "n_experts": ("num_local_experts", "num_experts"),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token"),
    "n_heads": ("num_attention_heads",),
    "n_kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "vocab_size": ("vocab_size",),
    "window": ("sliding_window",),
}
"""Field of ModelConfig -> its names in config.json."""

FIXED: dict[str, Any] = {
    "model_type": "gpt_oss",
    "attention_bias": True,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "swiglu_limit": 7.0,
    "swiglu_alpha": 1.702,
}
"""What every gpt-oss has; a file may leave it out."""

ARCHITECTURE = "GptOssForCausalLM"

MOST: dict[type | str, float] = {int: 2**24, float: 1e6, "rms_norm_eps": 0.1, "rope_theta": 1e12}
"""The most that a number of a kind may be, or of a name: what is beyond is damage, and no model."""

LAYER_TYPES = ("full_attention", "sliding_attention")

ROPE = {
    "factor": "factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "original_length": "original_max_position_embeddings",
}
"""Field of RopeConfig -> its name in `rope_scaling` and `rope_parameters`."""

ORIGINAL_ROPE = {
    "factor": "rope_scaling_factor",
    "beta_fast": "rope_ntk_beta",
    "beta_slow": "rope_ntk_alpha",
    "original_max_position_embeddings": "initial_context_length",
}
"""The same in OpenAI's file. Source: openai/gpt-oss, gpt_oss/torch/model.py."""

QUANTIZATION = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
}


def read(path: Path) -> ModelConfig:
    """The config in a file; BadCheckpoint where it is missing, damaged or of another architecture."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} has no config.json; give the folder of a gpt-oss checkpoint.") from None
    except (ValueError, OSError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}); fetch it again.") from None
    if not isinstance(data, dict):
        raise BadCheckpoint(f"{path} is no JSON object; fetch it again.")
    try:
        return from_json(data)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None


def from_json(data: Mapping[str, Any]) -> ModelConfig:
    """The config in config.json's object, of whichever spelling."""
    for key, value in FIXED.items():
        if data.get(key, value) != value:
            raise BadCheckpoint(f"{key} is {data[key]!r}, and a gpt-oss has {value!r}; give a gpt-oss checkpoint.")
    _check_kind(data)
    sizes: dict[str, Any] = {field: _number(data, names, int) for field, names in SIZES.items()}
    config = ModelConfig(
        **sizes,
        context=_number(data, ("max_position_embeddings",), int, ModelConfig.context),
        rms_eps=_number(data, ("rms_norm_eps",), float, ModelConfig.rms_eps),
        rope=_rope(data),
    )
    _check_sizes(config)
    types = data.get("layer_types") or _layer_types(config)
    known = isinstance(types, list | tuple) and all(kind in LAYER_TYPES for kind in types)
    if not known or len(types) != config.n_layers:
        raise BadCheckpoint(f"layer_types does not name one of {', '.join(LAYER_TYPES)} for each layer; correct it.")
    return config if tuple(types) == _layer_types(config) else replace(config, layer_types=tuple(types))


def to_json(config: ModelConfig, is_packed: bool) -> dict[str, Any]:
    """config.json's object as the published checkpoints spell it, which every engine reads."""
    rope = {name: getattr(config.rope, field) for field, name in ROPE.items()}
    data = {name: getattr(config, field) for field, names in SIZES.items() for name in names if name != "num_experts"}
    data |= {key: value for key, value in FIXED.items() if key != "swiglu_alpha"}
    data |= {
        "architectures": [ARCHITECTURE],
        "initial_context_length": config.rope.original_length,
        "layer_types": list(_layer_types(config)),
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.rms_eps,
        "rope_scaling": {"rope_type": "yarn", "truncate": config.rope.truncate, **rope},
        "rope_theta": config.rope.theta,
    }
    return data | ({"quantization_config": QUANTIZATION} if is_packed else {})


def _number(data: Mapping[str, Any], names: tuple[str, ...], kind: type, default: float | None = None) -> Any:
    """The positive number under the names of these that are there, as an int or float."""
    value: Any = _agreed([(name, data.get(name)) for name in names])
    value = default if value is None else value
    is_number = isinstance(value, int) or (kind is float and isinstance(value, float))
    if isinstance(value, bool) or not is_number or not 0 < value < math.inf:
        raise BadCheckpoint(f"{names[0]} is {value!r}, which is no positive {kind.__name__}; fetch the file again.")
    most = MOST.get(names[0], MOST[kind])
    if value > most:
        raise BadCheckpoint(f"{names[0]} is {value!r}, more than any gpt-oss has ({most:,}); fetch the file again.")
    return kind(value)


def _agreed(said: Sequence[tuple[str, Any]]) -> Any:
    """The one value of what has several names, None if it has none. Raises BadCheckpoint where two of them differ."""
    given = [(name, value) for name, value in said if value is not None]
    for name, value in given[1:]:
        if value != given[0][1]:
            raise BadCheckpoint(f"{given[0][0]} is {given[0][1]!r} and {name} {value!r}; make them the same.")
    return given[0][1] if given else None


def _check_kind(data: Mapping[str, Any]) -> None:
    """Raises BadCheckpoint for another model's architecture, and for packing that is not OpenAI's."""
    named = data.get("architectures")
    if named and named != [ARCHITECTURE]:
        raise BadCheckpoint(f"architectures is {named!r} and not {[ARCHITECTURE]!r}; give a gpt-oss checkpoint.")
    packing = data.get("quantization_config")
    method = packing.get("quant_method") if isinstance(packing, dict) else packing
    if packing is not None and method != QUANTIZATION["quant_method"]:
        raise BadCheckpoint(
            f"quantization_config has quant_method {method!r}, and only mxfp4 is read; give a checkpoint in mxfp4 or "
            f"bfloat16."
        )


def _check_sizes(config: ModelConfig) -> None:
    """Raises BadCheckpoint for sizes that do not go together."""
    if config.experts_per_token > config.n_experts:
        raise BadCheckpoint(
            f"num_experts_per_tok is {config.experts_per_token}, and there are {config.n_experts} experts "
            f"(num_local_experts); fetch the file again."
        )
    if config.n_heads % config.n_kv_heads:
        raise BadCheckpoint(
            f"num_attention_heads is {config.n_heads}, and num_key_value_heads, {config.n_kv_heads}, does not divide "
            f"it; fetch the file again."
        )
    if config.head_dim % 2:
        raise BadCheckpoint(f"head_dim is {config.head_dim}, and RoPE turns pairs; fetch the file again.")
    if config.rope.theta <= 1:
        raise BadCheckpoint(f"rope_theta is {config.rope.theta}, and it is more than 1; fetch the file again.")


def _rope(data: Mapping[str, Any]) -> RopeConfig:
    """Every spelling is brought to that of `rope_parameters`; what is missing or null has RopeConfig's default."""
    default = RopeConfig()
    _check_ropes(data)
    if "rope_scaling_factor" in data:
        found: dict[str, Any] = {name: data.get(key) for name, key in ORIGINAL_ROPE.items()}
    else:
        found = data.get("rope_parameters") or data.get("rope_scaling") or {"truncate": default.truncate}
        if not isinstance(found, dict):
            raise BadCheckpoint(f"rope_scaling is {found!r} and no object; fetch the file again.")
        found = {"rope_type": "yarn", "truncate": True} | found  # defaults of transformers
    for name, value in found.items():
        if name not in (*ROPE.values(), "rope_theta", "rope_type", "truncate") and value is not None:
            raise BadCheckpoint(f"RoPE has {name} {value!r}, which gpt-oss does not; give a gpt-oss checkpoint.")
    if found.get("rope_type", "yarn") != "yarn":
        raise BadCheckpoint(f"RoPE is of type {found['rope_type']!r} and not yarn; give a gpt-oss checkpoint.")
    numbers: dict[str, Any] = {
        field: _number(found, (name,), type(getattr(default, field)), getattr(default, field))
        for field, name in ROPE.items()
    }
    theta = _number({**data, **found}, ("rope_theta",), float, default.theta)
    return RopeConfig(theta=theta, truncate=found.get("truncate") is True, **numbers)


def _check_ropes(data: Mapping[str, Any]) -> None:
    """Raises BadCheckpoint where a file has RoPE in two spellings that differ."""
    places = [(name, data[name]) for name in ("rope_parameters", "rope_scaling") if isinstance(data.get(name), dict)]
    for name in (*ROPE.values(), "rope_theta", "rope_type", "truncate"):
        said = [(f"{name} of {place}", found.get(name)) for place, found in places]
        if "rope_scaling_factor" in data and name in ORIGINAL_ROPE:
            said.append((ORIGINAL_ROPE[name], data.get(ORIGINAL_ROPE[name])))
        _agreed([*said, (name, data.get("rope_theta"))] if name == "rope_theta" else said)


def _layer_types(config: ModelConfig) -> tuple[str, ...]:
    return tuple(LAYER_TYPES[config.is_sliding(layer)] for layer in range(config.n_layers))
