"""YaRN rotary position embedding: which angle each pair of a head turns by per position.

Frequencies that turn often within the original length stay, slow ones are divided by the factor, those between are
blended; cos and sin carry YaRN's attention temperature. Source: Peng et al. 2023, arXiv:2309.00071, sections 3.2-3.4;
gpt-oss leaves the ramp's bounds unrounded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harmonium.model.config import RopeConfig


def temperature(config: RopeConfig) -> float:
    """What cos and sin are multiplied by: 0.1 ln(factor) + 1."""
    return 0.1 * math.log(config.factor) + 1.0 if config.factor > 1.0 else 1.0


def frequencies(config: RopeConfig, head_dim: int, device: torch.device | None = None) -> Tensor:
    """(head_dim / 2,) float32, radians per position."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    fast = 1.0 / config.theta**exponents
    if config.factor <= 1.0:
        return fast
    low, high = (_pair_turning(turns, config, head_dim) for turns in (config.beta_fast, config.beta_slow))
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    high = high + 0.001 if low == high else high
    pairs = torch.arange(head_dim // 2, dtype=torch.float32, device=device)
    slow_share = ((pairs - low) / (high - low)).clamp(0, 1)
    return fast / config.factor * slow_share + fast * (1 - slow_share)


def _pair_turning(turns: float, config: RopeConfig, head_dim: int) -> float:
    """The index, fractional, of the pair that turns this often within the original length."""
    wavelength_turns = config.original_length / (turns * 2 * math.pi)
    return head_dim * math.log(wavelength_turns) / (2 * math.log(config.theta))


def tables(positions: Tensor, frequencies: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """cos and sin (..., head_dim / 2), float32, of positions (...)."""
    angles = positions.float().unsqueeze(-1) * frequencies
    return angles.cos() * temperature, angles.sin() * temperature
