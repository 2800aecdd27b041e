"""What a gpt-oss is: the numbers of config.json, and presets of the published sizes.

Sources: openai/gpt-oss-20b and openai/gpt-oss-120b, config.json. Reading and writing the file's spellings is
config_file.py's job.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

PAGE_SIZE = 16
"""Tokens in a page of the key/value cache."""


@dataclass(frozen=True)
class RopeConfig:
    """YaRN rotary embedding. Source: Peng et al. 2023, arXiv:2309.00071; gpt-oss leaves its bounds unrounded."""

    theta: float = 150_000.0
    factor: float = 32.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_length: int = 4096
    truncate: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one gpt-oss. Layers alternate, sliding first and then full, unless layer_types says otherwise."""

    hidden_size: int = 2880
    intermediate_size: int = 2880
    n_layers: int = 24
    n_experts: int = 32
    experts_per_token: int = 4
    n_heads: int = 64
    n_kv_heads: int = 8
    head_dim: int = 64
    vocab_size: int = 201_088
    window: int = 128
    """Tokens a sliding layer sees, the token itself included."""
    context: int = 131_072
    rope: RopeConfig = field(default_factory=RopeConfig)
    rms_eps: float = 1e-5
    layer_types: tuple[str, ...] = ()

    def is_sliding(self, layer: int) -> bool:
        if self.layer_types:
            return self.layer_types[layer] == "sliding_attention"
        return layer % 2 == 0

    def with_layers(self, n_layers: int) -> ModelConfig:
        return replace(self, n_layers=n_layers, layer_types=self.layer_types[:n_layers])


GPT_OSS_20B = ModelConfig()
GPT_OSS_120B = ModelConfig(n_layers=36, n_experts=128)
NANO = ModelConfig(
    hidden_size=256,
    intermediate_size=160,
    n_layers=8,
    n_experts=16,
    n_heads=8,
    n_kv_heads=2,
    head_dim=32,
    vocab_size=4096,
)
TINY = ModelConfig(
    hidden_size=64, intermediate_size=64, n_layers=4, n_experts=8, n_heads=4, n_kv_heads=2, head_dim=32, vocab_size=4096
)
