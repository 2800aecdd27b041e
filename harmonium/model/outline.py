"""What a model is, without its weights: of a published name, or of a folder in which config.json is enough. No torch.

Also what a file of safetensors holds, from its header alone, and whether all of it is there.
Source: the format, https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonium.errors import BadCheckpoint
from harmonium.model import config_file, hub, layout
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, ModelConfig

PUBLISHED = {"openai/gpt-oss-20b": GPT_OSS_20B, "openai/gpt-oss-120b": GPT_OSS_120B}


@dataclass(frozen=True)
class Outline:
    """is_packed: the experts are MXFP4, as published. dtype: of the rest. folder: None for a published name."""

    name: str
    config: ModelConfig
    is_packed: bool = True
    folder: Path | None = None
    dtype: str = "bfloat16"


def of(model: str | Path) -> Outline:
    """The outline of nano, 20b, 120b, their longer names, a folder, or a repository that was downloaded before.

    Raises ModelNotFound and BadCheckpoint.
    """
    published = hub.REPOSITORIES.get(str(model), str(model))
    if published in PUBLISHED and not os.path.isdir(os.path.expanduser(model)):
        return Outline(published.rpartition("/")[2], PUBLISHED[published])
    folder = hub.find(model)
    if not (folder / "config.json").exists() and (folder / "original" / "config.json").exists():
        folder = folder / "original"
    config = config_file.read(folder / "config.json")
    name = "nano" if folder == hub.NANO_FOLDER else folder.resolve().name
    return Outline(name, config, is_packed(folder), folder, dtype(folder))


def is_packed(folder: Path) -> bool:
    """As its tensors say, or its index or, where there is neither, its config.json."""
    files = [path for path in layout.weight_files(folder) if path.exists()]
    if (folder / layout.INDEX).exists():
        return "scales" in (folder / layout.INDEX).read_text(encoding="utf-8")
    with contextlib.suppress(BadCheckpoint):  # a download that goes on, say: its config.json is enough
        if files:
            return any(name.endswith("scales") for name in header(files[0]))
    data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    said = data.get("quantization_config") or {}
    return said.get("quant_method") == "mxfp4" or "rope_scaling_factor" in data  # OpenAI's file does not say it


def dtype(folder: Path) -> str:
    """What a folder's floats are loaded as where they may stay: float32 if some are that or float16, else bfloat16.

    Folders without weights are taken for published ones.
    """
    files = [path for path in layout.weight_files(folder) if path.exists()]
    with contextlib.suppress(BadCheckpoint):
        kinds = {about["dtype"] for path in files for about in header(path).values()}
        return "float32" if kinds & {"F32", "F16"} else "bfloat16"
    return "bfloat16"


def header(path: Path) -> dict[str, Any]:
    """Name to {"dtype", "shape", "data_offsets"} of each tensor; BadCheckpoint where the file is damaged or cut."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size - 8:
                raise ValueError(f"it ends in its header, after {size:,} bytes")
            found: dict[str, Any] = json.loads(file.read(length))
        tensors = {name: about for name, about in found.items() if name != "__metadata__"}
        end = 8 + length + max((about["data_offsets"][1] for about in tensors.values()), default=0)
        if end != size:
            raise ValueError(f"it has {size:,} bytes, and its header calls for {end:,}")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadCheckpoint(f"{path} is damaged or cut short ({error}); fetch it again.") from None
    return tensors
