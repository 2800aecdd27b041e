"""What threads read straight to a device is what mapping gives, whatever the pieces; here a CPU is the device."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch

from harmonium.errors import BadCheckpoint
from harmonium.model import checkpoint, streaming
from harmonium.model.checkpoint import StoredCheckpoint
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy

CPU = torch.device("cpu")


@pytest.fixture
def stored(tmp_path: Path) -> StoredCheckpoint:
    checkpoint.save(tmp_path, TINY, Dummy(TINY).tensors(), max_shard_bytes=400_000)
    return checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("chunk", "ahead"), [(1000, 0), (4096, 50_000), (streaming.CHUNK_BYTES, streaming.AHEAD_BYTES)]
)
def test_it_is_what_mapping_gives(
    stored: StoredCheckpoint, chunk: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(streaming, "AHEAD_BYTES", ahead)
    for (name, mapped), (its_name, read) in zip(stored.tensors(), stored.tensors_on(CPU), strict=True):
        assert name == its_name and mapped.dtype == read.dtype and torch.equal(mapped, read)


def test_a_file_that_was_cut_since_it_was_opened(stored: StoredCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "AHEAD_BYTES", 0)
    *_, last = sorted(stored.folder.glob("*.safetensors"))
    tensors = stored.tensors_on(CPU)
    next(tensors)
    os.truncate(last, last.stat().st_size - 1000)
    with pytest.raises(BadCheckpoint, match=f"{last.name} is damaged or cut short .it ends after"):
        list(tensors)


def test_whoever_stops_early_leaves_nothing_running(stored: StoredCheckpoint) -> None:
    tensors = stored.tensors_on(CPU)
    next(tensors)
    assert any(thread.name.startswith("read") for thread in threading.enumerate())
    tensors.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("read") for thread in threading.enumerate())
