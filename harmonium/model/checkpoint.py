"""Checkpoints on disk: Hugging Face's layout in and out, OpenAI's `original/` in; sharded, streamed, checked at once.

Opening reads headers only and compares every name, type and shape with what config.json calls for. Tensors then come
one at a time as views of the mapped file, so memory holds what the caller keeps.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harmonium.errors import BadCheckpoint, CannotWrite
from harmonium.model import config_file, layout, mxfp4, streaming
from harmonium.model.config import ModelConfig
from harmonium.model.layout import INDEX, WEIGHTS, Stored
from harmonium.model.streaming import Extent

SHARD_BYTES = 2 * 10**9

FLOATS = {"BF16", "F16", "F32"}
"""Safetensors' names of the types that unpacked tensors may have."""


class Checkpoint(Protocol):
    """A model's config and the stream of its tensors, in a file or made up."""

    @property
    def config(self) -> ModelConfig: ...

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under its Hugging Face name, once, layer by layer. Experts are packed (`_blocks`, `_scales`) or
        dense."""
        ...

    def tensors_on(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        """The same on a device, by the shortest way."""
        ...


class StoredCheckpoint:
    """A checkpoint in a folder, whose files are mapped and known to be whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = config_file.read(folder / "config.json")
        if missing := layout.missing_files(folder):
            raise BadCheckpoint(f"{folder} lacks {missing[0]}; fetch the checkpoint again.")
        self._files: dict[str, Any] = {}  # a tensor's stored name to the open file that holds it
        for path in layout.weight_files(folder):
            file = _open_file(path)
            names = set(file.keys())
            if names & self._files.keys():
                raise BadCheckpoint(f"{path} repeats tensors of another file; fetch the checkpoint again.")
            self._files |= dict.fromkeys(names, file)
        self._places = self._find_places()
        self._check()
        self._extents = dict(chain.from_iterable(map(streaming.extents, layout.weight_files(folder))))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self.tensor(name)) for name in self._places)

    def tensors_on(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        """Raises BadCheckpoint where a file is damaged or cut short."""
        return streaming.read([(name, self._extent(name)) for name in self._places], device)

    def tensor(self, name: str) -> Tensor:
        return streaming.mapped(self._extent(name))

    def _extent(self, name: str) -> Extent:
        place = self._places[name]
        whole = self._extents[place.name]
        return whole if place.rows is None else whole.rows(*place.rows)

    def _find_places(self) -> dict[str, Stored]:
        if "embedding.weight" in self._files:
            return layout.original(self.config)
        return layout.hugging_face(self.config, self._is_packed, set(self._files))

    def _is_packed(self, projection: str) -> bool:
        blocks = f"{projection}_blocks"
        return projection not in self._files and not (blocks in self._files and self._type(blocks) in FLOATS)

    def _type(self, stored: str) -> str:
        return str(self._files[stored].get_slice(stored).get_dtype())

    def _check(self) -> None:
        """Compares names, shapes and types with the config's."""
        wanted = {place.name: place.shape for place in self._places.values()}
        for what, names in (("lacks", wanted.keys() - self._files), ("has the unknown", self._files.keys() - wanted)):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise BadCheckpoint(
                    f"{self.folder} {what} tensor {min(names)}{more}; fetch it again, or give a gpt-oss checkpoint."
                )
        for name, place in self._places.items():
            shape = tuple(self._files[place.name].get_slice(place.name).get_shape())
            types = {"U8"} if name.endswith(("_blocks", "_scales")) else FLOATS
            if shape != place.shape or self._type(place.name) not in types:
                raise BadCheckpoint(
                    f"{self.folder}: {place.name} is {self._type(place.name)} {list(shape)}, and config.json calls for "
                    f"{' or '.join(sorted(types))} {list(place.shape)}; fetch or convert the checkpoint again."
                )


def open(folder: Path | str) -> StoredCheckpoint:
    """The checkpoint in a folder, or in its `original` where that is all there is.

    Raises BadCheckpoint where a file or tensor is missing, damaged, cut short, or of another architecture.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists() and (folder / "original" / "config.json").exists():
        folder = folder / "original"
    return StoredCheckpoint(folder)


def save(
    folder: Path | str,
    config: ModelConfig,
    tensors: Iterable[tuple[str, Tensor]],
    max_shard_bytes: int = SHARD_BYTES,
    files: Iterable[Path] = (),
) -> None:
    """Writes a checkpoint of Hugging Face's layout, with copies of other files (the tokenizer's) beside it.

    Tensors are taken one by one and at most one shard is held. All is written under a temporary name, read back and
    only then moved into place, where it replaces an older checkpoint. Raises CannotWrite.
    """
    folder = Path(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
    try:
        places, n_bytes = _write_shards(draft, tensors, max_shard_bytes)
        is_packed = any(name.endswith("_scales") for name in places)
        with _writing(folder):
            _write_json(draft / "config.json", config_file.to_json(config, is_packed))
            for file in files:
                shutil.copy(file, draft)
            names = _name_shards(draft, places, n_bytes)
        StoredCheckpoint(draft)
        with _writing(folder):
            for path in sorted(draft.iterdir(), key=lambda path: path.suffix == ".json"):
                path.replace(folder / path.name)  # weights first: a folder is no checkpoint without its config
            for path in (*folder.glob("model*.safetensors"), folder / INDEX):
                if path.name not in names:
                    path.unlink(missing_ok=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def pack(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The published form of a model's tensors: dense experts quantized to MXFP4, floats in bfloat16."""
    for name, tensor in tensors:
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            blocks, scales = mxfp4.quantize(tensor.transpose(1, 2))  # (experts, out, in)
            yield f"{name}_blocks", blocks
            yield f"{name}_scales", scales
        else:
            yield name, tensor.bfloat16() if tensor.is_floating_point() else tensor


def _open_file(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path} is damaged or cut short ({error}); fetch it again.") from None


def _write_shards(draft: Path, tensors: Iterable[tuple[str, Tensor]], max_bytes: int) -> tuple[dict[str, int], int]:
    """Writes files 0.safetensors, 1.safetensors, ...; returns each tensor's file and the bytes of all tensors."""
    places: dict[str, int] = {}
    shard: dict[str, Tensor] = {}
    n_bytes, start, number = 0, 0, 0
    for name, tensor in tensors:
        if shard and n_bytes - start + tensor.nbytes > max_bytes:
            _write_shard(draft, number, shard)
            shard, start, number = {}, n_bytes, number + 1
        shard[name] = tensor.detach().cpu().contiguous()
        n_bytes += tensor.nbytes
        places[name] = number
    _write_shard(draft, number, shard)
    return places, n_bytes


def _write_shard(draft: Path, number: int, shard: dict[str, Tensor]) -> None:
    with _writing(draft.parent):
        save_file(shard, draft / f"{number}.safetensors", metadata={"format": "pt"})


def _name_shards(draft: Path, places: dict[str, int], n_bytes: int) -> set[str]:
    """Gives the numbered files the names that readers expect, with an index for several; returns all these names."""
    n_shards = len(set(places.values()))
    names = [f"model-{i + 1:05}-of-{n_shards:05}.safetensors" for i in range(n_shards)] if n_shards > 1 else [WEIGHTS]
    for number, name in enumerate(names):
        (draft / f"{number}.safetensors").rename(draft / name)
    if n_shards == 1:
        return {WEIGHTS}
    weight_map = {name: names[number] for name, number in places.items()}
    _write_json(draft / INDEX, {"metadata": {"total_size": n_bytes}, "weight_map": weight_map})
    return {*names, INDEX}


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CannotWrite(f"{folder} cannot be written ({error}); free space there or give another folder.") from error
