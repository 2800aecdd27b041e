"""From a name to what an LLM needs: the transformer on its device, the vocabulary, the sampling parameters it likes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from harmonium import hardware
from harmonium.chat.options import did_you_mean
from harmonium.engine import plan
from harmonium.engine.request import SamplingParams
from harmonium.errors import BadCheckpoint, BadRequest, Unsupported
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model import checkpoint, dummy, hub, outline
from harmonium.model.checkpoint import Checkpoint
from harmonium.model.config import PAGE_SIZE
from harmonium.model.outline import Outline
from harmonium.model.transformer import Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


@dataclass(frozen=True)
class Loaded:
    """A model ready to run. sampling: what a request that does not say otherwise is sampled with."""

    name: str
    transformer: Transformer
    vocabulary: Vocabulary
    sampling: SamplingParams = field(default_factory=SamplingParams)

    def __post_init__(self) -> None:
        n_rows = self.transformer.config.vocab_size
        if self.vocabulary.size > n_rows:
            raise BadCheckpoint(
                f"{self.vocabulary.source} has {self.vocabulary.size} tokens and the model only {n_rows}; they are not "
                f"of one checkpoint. Fetch it again."
            )


def load(
    model: str | Path = "nano", device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> Loaded:
    """A model by name, alias or folder: its `transformer` to work on, or for one LLM or several to share.

    Raises what hub, checkpoint, device_of and dtype_of raise, and NotEnoughMemory or Unsupported, before the weights
    are read, where the plan does not allow it.
    """
    where, precision = device_of(device), dtype_of(dtype)
    folder = hub.resolve(model)
    opened = checkpoint.open(folder)
    vocabulary = Vocabulary.from_file(folder / "tokenizer.json")
    sampling = preferred_sampling(folder / "generation_config.json")
    name = folder.resolve().name if isinstance(model, Path) or Path(model).is_dir() else model
    is_packed, stored = outline.is_packed(opened.folder), outline.dtype(opened.folder)
    model_outline = Outline(name, opened.config, is_packed, dtype=stored)
    return Loaded(name, _transformer(opened, model_outline, where, precision), vocabulary, sampling)


def load_dummy(
    size: str, n_layers: int | None, device: str | torch.device | None, dtype: str | torch.dtype | None
) -> Loaded:
    """Random weights of a published size, with nano's vocabulary: ids beyond it are no text."""
    where, precision = device_of(device), dtype_of(dtype)
    made = dummy.Dummy(dummy.parse(size, n_layers), device=where)
    vocabulary = Vocabulary.from_file(hub.resolve("nano") / "tokenizer.json")
    name = f"dummy-{size}"
    return Loaded(name, _transformer(made, Outline(name, made.config), where, precision), vocabulary)


def _transformer(source: Checkpoint, model: Outline, device: torch.device, dtype: torch.dtype | None) -> Transformer:
    """Loads what the plan allows: the weights, and one request of a page."""
    named = None if dtype is None else str(dtype).removeprefix("torch.")
    plan.make(model, hardware.detect(str(device)), context=PAGE_SIZE, dtype=named).check()
    return Transformer.load(source, device=device, dtype=dtype)


def device_of(device: str | torch.device | None) -> torch.device:
    """cpu, cuda or cuda:N; None is a GPU if there is one. Raises BadRequest for no device's name, Unsupported for one
    that is not here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise BadRequest(f"There is no device {str(device)!r}; give cpu, cuda or cuda:N.") from None
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type not in ("cpu", "cuda"):
        raise Unsupported(f"Harmonium does not run on {chosen.type}; give cpu, cuda or cuda:N.")
    if chosen.type == "cuda" and (chosen.index or 0) >= n_devices:
        raise Unsupported(f"There is no device {chosen} on this machine; leave device out, or give cpu.")
    return chosen


def dtype_of(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """float32, bfloat16 or int8; None or "auto" is what suits the device. Raises BadRequest for others."""
    if dtype is None or dtype == "auto" or dtype in DTYPES.values():
        return dtype if isinstance(dtype, torch.dtype) else None
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise BadRequest(f"There is no dtype {name!r} here{did_you_mean(name, DTYPES)}")
    return DTYPES[name]


def preferred_sampling(path: Path) -> SamplingParams:
    """What a checkpoint's generation_config.json says of temperature, top_k, top_p and min_p.

    do_sample false is greedy, as in nano's; without the file or a word in it, temperature 1, which gpt-oss was trained
    for. Its end tokens are not read: the format knows them. Raises BadCheckpoint where it is damaged.
    """
    if not path.exists():
        return SamplingParams()
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
        names = ("temperature", "top_k", "top_p", "min_p")
        given = {name: said[name] for name in names if said.get(name) is not None}
        if said.get("do_sample") is False:
            given["temperature"] = 0.0
        return SamplingParams(**given)
    except (ValueError, BadRequest) as error:
        reason = str(error).removesuffix(".")
        raise BadCheckpoint(f"{path} cannot be used ({reason}); fetch it again, or delete it.") from None
