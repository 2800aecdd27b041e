"""The figures that `harmonium bench` takes of masks; small, for what they are on this machine is no matter here."""

from __future__ import annotations

from pathlib import Path

import pytest

from harmonium import LLM
from harmonium.cli import bench


def test_what_masks_cost(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "N_ROUNDS", 2)
    monkeypatch.setattr(bench, "N_PAIRED", 8)
    llm = LLM(context=512)
    rate, cost, noise = bench.masked_decoding(llm)
    assert (rate.key, rate.unit, cost.key, cost.unit) == ("decode_masked_tok_s", "tok/s", "mask_cost_percent", "%")
    assert rate.value > 0 and cost.value > -100 and noise.key == "pair_noise_percent"
    mask = bench.schema_mask(llm.vocabulary)
    assert mask.unit == "us" and 0 < mask.value < 1e4
