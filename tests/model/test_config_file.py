"""config.json in its spellings, there and back, against transformers' reading of the same file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GptOssConfig

from harmonium.errors import BadCheckpoint
from harmonium.kernels import reference
from harmonium.model import config_file
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, NANO, TINY, ModelConfig, RopeConfig

ODD = replace(
    TINY, window=64, context=2048, layer_types=("full_attention",) * 4, rope=RopeConfig(1e4, 4.0, 16.0, 2.0, 512, True)
)

PUBLISHED: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "output_router_logits": False,
    "pad_token_id": 199999,
    "quantization_config": {"quant_method": "mxfp4"},
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 201088,
}
ORIGINAL = {
    "num_hidden_layers": 24,
    "num_experts": 32,
    "experts_per_token": 4,
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "swiglu_limit": 7.0,
    "head_dim": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "sliding_window": 128,
    "initial_context_length": 4096,
    "rope_theta": 150000.0,
    "rope_scaling_factor": 32.0,
    "rope_ntk_alpha": 1.0,
    "rope_ntk_beta": 32.0,
}


@pytest.mark.parametrize("data", [PUBLISHED, ORIGINAL], ids=["hugging-face", "original"])
def test_published_files(data: dict[str, Any]) -> None:
    assert config_file.from_json(data) == GPT_OSS_20B


@pytest.mark.parametrize(
    "change",
    [
        {"quantization_config": None, "architectures": None},
        {"rope_parameters": PUBLISHED["rope_scaling"] | {"rope_theta": 150000.0}},
        {"num_experts": 32, "rope_theta": 150000.0},
    ],
)
def test_what_is_said_twice_and_alike_or_not_at_all(change: dict[str, Any]) -> None:
    assert config_file.from_json(PUBLISHED | change) == GPT_OSS_20B


@pytest.mark.parametrize("config", [GPT_OSS_20B, GPT_OSS_120B, NANO, TINY, ODD])
def test_there_and_back_by_way_of_transformers(config: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_file.to_json(config, is_packed=False)))
    GptOssConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "rope_parameters" in written and "rope_scaling" not in written
    assert config_file.read(tmp_path / "config.json") == config


def test_packed_weights_are_announced() -> None:
    assert config_file.to_json(TINY, is_packed=True)["quantization_config"]["quant_method"] == "mxfp4"
    assert "quantization_config" not in config_file.to_json(TINY, is_packed=False)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": "llama"}, "gpt_oss"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"swiglu_limit": 5.0}, "swiglu_limit"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"head_dim": True}, "head_dim"),
        ({"max_position_embeddings": -1}, "max_position_embeddings"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"layer_types": ["linear_attention"] * 24}, "layer_types"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "llama3"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "attention_factor": 2.0}}, "attention_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": "eight"}}, "factor"),
        ({"rope_scaling": "yarn"}, "rope"),
        ({"architectures": ["LlamaForCausalLM"]}, "architectures is .*Llama"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quant_method 'gptq'"),
        ({"quantization_config": {}}, "quant_method None"),
        ({"num_experts_per_tok": 40, "experts_per_token": 40}, "num_experts_per_tok is 40, and there are 32"),
        ({"num_experts_per_tok": 8}, "num_experts_per_tok is 8 and experts_per_token 4"),
        ({"num_experts": 128}, "num_local_experts is 32 and num_experts 128"),
        ({"num_key_value_heads": 7}, "num_key_value_heads, 7"),
        ({"head_dim": 63}, "head_dim is 63"),
        ({"max_position_embeddings": 10**15}, "max_position_embeddings is 1000000000000000, more"),
        ({"rms_norm_eps": 5}, "rms_norm_eps is 5, more"),
        ({"rope_theta": 1}, "rope_theta is 1"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 1e300}}, r"factor is 1e\+300, more"),
        ({"rope_parameters": {"rope_theta": 1e4}}, "rope_theta of rope_parameters is 10000.0 and rope_theta 150000"),
        ({"rope_parameters": {"factor": 8.0}}, "factor of rope_parameters is 8.0 and factor of rope_scaling 32.0"),
        ({"rope_scaling_factor": 8.0}, "factor of rope_scaling is 32.0 and rope_scaling_factor 8.0"),
    ],
)
def test_what_is_no_gpt_oss_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(BadCheckpoint, match=word):
        config_file.from_json(PUBLISHED | change)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"gpt_oss"', "{}", "\udcff"])
def test_damaged_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadCheckpoint, match="config"):
        config_file.read(path)


def test_the_fixed_activation_is_the_reference_s() -> None:
    fixed = config_file.FIXED
    assert (fixed["swiglu_limit"], fixed["swiglu_alpha"]) == (reference.SWIGLU_LIMIT, reference.SWIGLU_ALPHA)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(PUBLISHED)), json_values, max_size=3))
def test_any_json_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        config = config_file.from_json(PUBLISHED | change)
    except BadCheckpoint:
        return
    assert config_file.from_json(config_file.to_json(config, is_packed=False)) == config
