"""`harmonium doctor`: whether this machine and a model are in order, and what to do where they are not."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from harmonium.cli.options import Json
from harmonium.errors import BadCheckpoint, HarmoniumError, ModelNotFound, Unsupported

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
SMALL_BYTES = 64 * 10**6
"""Files up to this size are hashed unasked."""
TOKENIZER_SHA = "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"
"""Of openai/gpt-oss-20b and 120b, tokenizer.json."""
PUBLISHED_ROWS = 201_088


@dataclass(frozen=True)
class Check:
    """One line. exit_code: of the program, where it is a failure."""

    name: str
    status: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""
    exit_code: int = 0

    @classmethod
    def failed(cls, name: str, error: HarmoniumError) -> Check:
        """An error, whose text has its remedy."""
        return cls(name, "fail", str(error), "", error.exit_code)


def doctor(
    model: str = "nano",
    /,
    *,
    hash: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    device: str | None = None,
    json: Json = False,
) -> int:
    """Check this machine and a model's files, and say what to do about what is not in order.

    Exits with 0 where nothing fails, warnings or not, and else with the code of the first failure.

    Parameters
    ----------
    model
        nano, 20b, 120b, a folder, or a repository that was downloaded before.
    hash
        Compare the SHA-256 of large files, too, with the published ones; this reads all of them.
    device
        cpu, cuda or cuda:N; by default a GPU if there is one.
    json
        Print one JSON object per line.
    """
    from harmonium.cli.terminal import print_json

    failed = 0
    for check in checks(model, hash, device):
        failed = failed or check.exit_code
        if json:
            print_json(asdict(check))
            continue
        print(f"{MARKS[check.status]}  {check.name:<11} {check.text}")
        if check.remedy:
            print(f"{'':<18}{check.remedy}")
    return failed


def checks(model: str, is_hashing: bool, device: str | None) -> Iterator[Check]:
    """All lines, the machine's first."""
    yield _python()
    yield _cpu()
    yield from _gpu()
    yield _torch()
    yield _triton()
    yield _numba()
    yield _threads()
    yield from _model(model, is_hashing, device)


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _cpu() -> Check:
    from harmonium import hardware
    from harmonium.engine.sizes import shown

    vectors = hardware.instruction_set()
    memory = f"{shown(hardware.free_bytes('cpu'))} of {shown(hardware.memory_bytes())} free"
    text = f"{hardware.cpu_name()}, {hardware.n_cores()} cores, {vectors}, {memory}"
    if vectors == "portable":
        return Check(
            "cpu", "warn", text, "Without AVX2 the kernels run in their portable form, at a fraction of the speed."
        )
    return Check("cpu", "ok", text)


def _gpu() -> Iterator[Check]:
    from harmonium import hardware

    driver = hardware.driver()
    if Path("/dev/kfd").exists():
        refusal = hardware.Hardware("cuda", "The GPU here", 0, 0, 0, "triton", "AMD").refusal
        yield Check("gpu", "warn", refusal or "")
    if driver is None:
        yield Check("gpu", "ok", "no NVIDIA driver: models run on the CPU")
        return
    cuda = "CUDA {}.{}".format(*driver.cuda)
    if not driver.gpus:
        yield Check("gpu", "warn", f"a driver ({cuda}), but no GPU", "Check nvidia-smi and CUDA_VISIBLE_DEVICES.")
    for name, capability in driver.gpus:
        found = hardware.Hardware("cuda", name, 0, 0, 0, "triton", "NVIDIA", capability)
        text = f"{name}, compute capability {'{}.{}'.format(*capability)}, driver for {cuda}"
        yield Check("gpu", "warn", found.refusal) if found.refusal else Check("gpu", "ok", text)


def _torch() -> Check:
    from harmonium import hardware

    try:
        import torch
    except ImportError as error:
        return Check("torch", "fail", f"cannot be imported ({error})", "pip install torch", Unsupported.exit_code)
    driver, built = hardware.driver(), torch.version.cuda
    if driver is None or not driver.gpus:
        return Check("torch", "ok", torch.__version__)
    if built is None:
        remedy = (
            "It is built for CPUs, and there is a GPU; install the build for CUDA: https://pytorch.org/get-started."
        )
        return Check("torch", "warn", torch.__version__, remedy)
    if not torch.cuda.is_available():
        remedy = f"It wants CUDA {built} and cannot use the GPU; update NVIDIA's driver, or install an older build."
        return Check("torch", "fail", torch.__version__, remedy, Unsupported.exit_code)
    return Check("torch", "ok", f"{torch.__version__}, CUDA {built}")


def _triton() -> Check:
    from harmonium import hardware

    found = hardware.installed("triton")
    if not hardware.has_gpu():
        return Check("triton", "ok", f"{found or 'not installed'}, and not needed without a GPU")
    text = found or "is not installed"
    if lack := hardware.triton_lack(found, hardware.triton_of_torch()):
        return Check("triton", "fail", text, f"The GPU needs {lack}", Unsupported.exit_code)
    driver = hardware.driver()
    if driver is None or all(capability[0] != 9 for _, capability in driver.gpus):
        return Check("triton", "ok", text)
    from harmonium.kernels.triton.gluon import in_gluon

    if in_gluon() is None:
        remedy = "Prompts' experts run on the kernels of all GPUs, which is slower: pip install 'triton>=3.6,<3.10'"
        return Check("triton", "warn", f"{text}, whose Gluon is not the one that Hopper's kernels need", remedy)
    return Check("triton", "ok", f"{text}, with Gluon for prompts' experts")


def _numba() -> Check:
    try:
        from harmonium.kernels.cpu import compile as kernels
    except ImportError as error:
        return Check("numba", "fail", f"cannot be imported ({error})", "pip install numba", Unsupported.exit_code)
    if not kernels.is_kept():
        remedy = "Every start compiles anew, for some 30 s; set NUMBA_CACHE_DIR to a folder with room in it."
        return Check("numba", "warn", f"{version('numba')}, and nowhere to keep compiled kernels", remedy)
    return Check("numba", "ok", f"{version('numba')}, compiled kernels are kept")


def _threads() -> Check:
    from harmonium import hardware

    try:
        import torch
    except ImportError:
        return Check("threads", "fail", "unknown without torch", exit_code=Unsupported.exit_code)
    n_threads, n_cores = torch.get_num_threads(), hardware.n_cores()
    text = f"{n_threads} for {n_cores} cores"
    if n_threads > n_cores:
        return Check(
            "threads", "warn", text, f"More threads than cores wait for each other; set OMP_NUM_THREADS={n_cores}."
        )
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        return Check("threads", "warn", f"{text}, waiting by spinning", "Unset OMP_WAIT_POLICY, or set it to PASSIVE.")
    return Check("threads", "ok", text)


def _model(name: str, is_hashing: bool, device: str | None) -> Iterator[Check]:
    """The model's files where it is here, the room for it where it is not, and whether it fits this machine."""
    from harmonium.model import hub, outline

    try:
        wanted = outline.of(name)
        folder = wanted.folder or hub.find(name)
    except ModelNotFound as error:
        if name not in hub.REPOSITORIES:
            yield Check.failed("model", error)
            return
        yield Check("model", "warn", str(error))
        folder = None
    except HarmoniumError as error:
        yield Check.failed("model", error)
        return
    if folder is not None:
        yield from _files(folder, is_hashing)
        yield _vocabulary(folder, wanted.config.vocab_size)
    yield from _room(name, folder, device)


def _room(name: str, folder: Path | None, device: str | None) -> Iterator[Check]:
    from harmonium import hardware
    from harmonium.chat.loading import device_of
    from harmonium.engine import plan, sizes
    from harmonium.engine.sizes import shown
    from harmonium.model import outline
    from harmonium.model.config import PAGE_SIZE

    try:
        wanted = outline.of(name)
        if folder is None:
            yield _disk(sum(sizes.weight_bytes(wanted.config, wanted.is_packed, "bfloat16").values()))
        made = plan.make(wanted, hardware.detect(str(device_of(device))), context=PAGE_SIZE)
        made.check()
    except HarmoniumError as error:
        yield Check.failed("plan", error)
        return
    longest = plan.make(wanted, made.hardware).longest_context()
    text = (
        f"{made.model.name} runs here, with a context of up to {longest:,} tokens in {shown(made.hardware.free_bytes)}"
    )
    yield Check("plan", "ok", f"{text}; `harmonium plan` has the details")


def _disk(needed: int) -> Check:
    """The room for a download, where the hub's library puts it."""
    from huggingface_hub import constants

    from harmonium.engine.sizes import shown

    place = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    text = f"{shown(free)} free in {place}"
    if free < needed:
        remedy = f"The model takes {shown(needed)}; free space, or set HF_HOME to another disk."
        return Check("disk", "fail", text, remedy, ModelNotFound.exit_code)
    return Check("disk", "ok", text)


def _files(folder: Path, is_hashing: bool) -> Iterator[Check]:
    """Every file of weights by its header, its size and its hash, and then all tensors against the config."""
    from harmonium.engine.sizes import shown
    from harmonium.model import checkpoint, layout, outline

    yield Check("folder", "ok", str(folder))
    n_unhashed = 0
    try:
        if missing := layout.missing_files(folder):
            raise BadCheckpoint(f"{folder} lacks {', '.join(missing)}; fetch the checkpoint again.")
        paths = layout.weight_files(folder)
        for path in paths:
            outline.header(path)
            size, published = path.stat().st_size, published_sha(path)
            is_hashed = published is not None and (is_hashing or size <= SMALL_BYTES)
            n_unhashed += size if published is not None and not is_hashed else 0
            if is_hashed and sha256(path) != published:
                raise BadCheckpoint(f"{path} differs from the published file; delete it and fetch it again.")
            yield Check(
                "file", "ok", f"{path.name}, {shown(size)}, whole{', SHA-256 as published' if is_hashed else ''}"
            )
        checkpoint.open(folder)
    except HarmoniumError as error:
        yield Check.failed("file", error)
        return
    more = f"; --hash compares SHA-256, and reads {shown(n_unhashed)}" if n_unhashed else ""
    yield Check("tensors", "ok", f"all there, in the shapes of config.json{more}")


def published_sha(path: Path) -> str | None:
    """The SHA-256 that the hub gave for a file: the name of its blob, or in the note beside a download to a folder."""
    note = path.parent / ".cache" / "huggingface" / "download" / f"{path.name}.metadata"
    said = [path.resolve().name] if path.is_symlink() else note.read_text().split() if note.exists() else []
    return next((word for word in said if re.fullmatch("[0-9a-f]{64}", word)), None)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _vocabulary(folder: Path, n_rows: int) -> Check:
    from harmonium.harmony.vocabulary import Vocabulary

    path = folder / "tokenizer.json"
    try:
        size = Vocabulary.from_file(path).size
    except HarmoniumError as error:
        return Check.failed("vocabulary", error)
    if size > n_rows:
        text = f"{size:,} tokens, and the model has {n_rows:,} rows"
        return Check(
            "vocabulary", "fail", text, "They are not of one checkpoint; fetch it again.", BadCheckpoint.exit_code
        )
    if n_rows != PUBLISHED_ROWS:
        return Check("vocabulary", "ok", f"{size:,} tokens")
    if sha256(path) == TOKENIZER_SHA:
        return Check("vocabulary", "ok", f"{size:,} tokens, as published")
    remedy = "That is right for a model trained so; else fetch tokenizer.json from openai/gpt-oss-20b."
    return Check("vocabulary", "warn", f"{size:,} tokens, and not OpenAI's file", remedy)
