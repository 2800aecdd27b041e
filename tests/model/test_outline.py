"""What a folder says of its model without its weights, and what a file of weights says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harmonium.errors import BadCheckpoint, ModelNotFound
from harmonium.model import checkpoint, config_file, outline
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, NANO, TINY
from harmonium.model.dummy import Dummy


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "tiny", TINY, Dummy(TINY).tensors(), max_shard_bytes=400_000)
    return tmp_path / "tiny"


def write_config(folder: Path, **more: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config_file.to_json(TINY, is_packed=False) | more))
    return folder


@pytest.mark.parametrize("name", ["20b", "gpt-oss-20b", "openai/gpt-oss-20b"])
def test_published_names_need_no_folder(name: str) -> None:
    assert outline.of(name) == outline.Outline("gpt-oss-20b", GPT_OSS_20B)


def test_nano_and_what_is_not_here() -> None:
    assert outline.of("120b").config == GPT_OSS_120B
    assert (outline.of("nano").name, outline.of("nano").config, outline.of("nano").is_packed) == ("nano", NANO, True)
    with pytest.raises(ModelNotFound, match="did you mean nano"):
        outline.of("nanoo")
    with pytest.raises(ModelNotFound, match="not on this machine; fetch it with `harmonium chat --model some/one`"):
        outline.of("some/one")


def test_a_config_is_enough(tmp_path: Path) -> None:
    found = outline.of(write_config(tmp_path))
    assert (found.name, found.config, found.is_packed) == (tmp_path.name, TINY, False)
    assert outline.of(write_config(tmp_path, quantization_config={"quant_method": "mxfp4"})).is_packed
    (tmp_path / "original").mkdir()
    (tmp_path / "config.json").rename(tmp_path / "original" / "config.json")
    assert outline.of(tmp_path).folder == tmp_path / "original"


def test_tensors_are_believed_before_the_config(saved: Path, tmp_path: Path) -> None:
    write_config(saved)
    assert outline.of(saved).is_packed, "by the index"
    (tmp_path / "whole").mkdir()
    checkpoint.save(tmp_path / "whole", TINY, Dummy(TINY).tensors())
    assert outline.of(write_config(tmp_path / "whole")).is_packed, "by the file's header"
    (tmp_path / "whole" / "model.safetensors").write_bytes(b"\0" * 4)
    assert not outline.of(write_config(tmp_path / "whole")).is_packed, "a damaged file says nothing"


def test_a_header_and_its_file(saved: Path) -> None:
    names = set()
    for path in saved.glob("*.safetensors"):
        names |= outline.header(path).keys()
    assert names == {name for name, _ in Dummy(TINY).tensors()}
    whole = path.read_bytes()
    for data, says in (
        (whole[:-1], "calls for"),
        (whole + b"x", "calls for"),
        (whole[:100], "ends in its header"),
        (whole[:3], "ends in its header"),
        (whole[:8] + b"?" * (len(whole) - 8), "damaged"),
    ):
        path.write_bytes(data)
        with pytest.raises(BadCheckpoint, match=says):
            outline.header(path)
