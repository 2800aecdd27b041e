"""Loading goes by the plan: what does not fit is refused before the weights are read, in the plan's words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harmonium import LLM, NotEnoughMemory, Unsupported, hardware
from harmonium.chat import loading
from harmonium.engine import plan
from harmonium.hardware import PRESETS
from harmonium.model import outline
from harmonium.model.config import PAGE_SIZE
from harmonium.model.transformer import Transformer


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(Transformer, "load", load)


def test_too_little_memory(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_memory_bytes", lambda: 10**8)
    with pytest.raises(NotEnoughMemory) as planned:
        plan.make(outline.of("nano"), hardware.plain_cpu(), context=PAGE_SIZE).check()
    with pytest.raises(NotEnoughMemory) as refused:
        LLM(device="cpu")
    assert str(refused.value) == str(planned.value)
    with pytest.raises(NotEnoughMemory, match=r"dummy-20b needs 13\.8 GB for weights"):
        LLM.dummy("20b", device="cpu")


def test_precision_is_not_lowered_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_memory_bytes", lambda: 14 * 10**9)
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 14 * 10**9)
    with pytest.raises(NotEnoughMemory, match="What would fit: --dtype int8"):
        LLM.dummy("20b", device="cpu")
    with pytest.raises(AssertionError, match="were read"):
        LLM.dummy("20b", device="cpu", dtype="int8")


@pytest.mark.parametrize(("kind", "dtype", "says"), [("mi300x", None, "AMD GPU"), ("h100", "int8", "leave --dtype")])
def test_gpus_that_cannot(kind: str, dtype: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "detect", lambda device: PRESETS[kind].hardware())
    monkeypatch.setattr(loading, "device_of", lambda device: torch.device("cpu"))
    with pytest.raises(Unsupported, match=says):
        LLM.dummy("20b", dtype=dtype)
