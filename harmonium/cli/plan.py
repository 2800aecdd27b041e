"""`harmonium plan`: what a model takes on a device, by which kernels, and how much of it fits; nothing is loaded."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from harmonium.cli.options import INT8_NOTE, Json
from harmonium.errors import BadRequest, NotEnoughMemory

if TYPE_CHECKING:
    from harmonium.engine.plan import Plan
    from harmonium.hardware import Hardware

Gpu = Literal["h100", "h200", "gb200", "rtx5090", "rtx4090", "a100", "l4", "mi300x"]


NOTES = (
    "By default: requests of that length that have room at once where only --context is given; more run while they are",
    "short. With --batch: the most for which --context and --batch (of serve; LLM's context and batch) make room.",
    "A draft model (LLM's speculate) comes on top, with an engine of its own: plan it by itself.",
)
"""What the table's columns mean, and what is in none."""


def plan(
    model: str = "nano",
    /,
    *,
    gpu: Gpu | None = None,
    memory: str | None = None,
    device: str | None = None,
    context: int | None = None,
    concurrency: int | None = None,
    dtype: Literal["float32", "bfloat16", "int8"] | None = None,
    tensor_parallel: Annotated[int, Parameter(show_default=False)] = 1,
    json: Json = False,
) -> int:
    """Show what a model takes on a device, before anything is loaded, and what to change where it does not fit.

    For example:

        harmonium plan 20b --gpu h100
        harmonium plan 20b --device cpu --memory 16GB --context 8192

    Without --gpu it is this machine. Exits with 3 where the model does not fit, with 7 where the device cannot run it.

    Parameters
    ----------
    model
        nano, 20b, 120b, a folder (its config.json is enough), or a repository that was downloaded before.
    gpu
        A kind of GPU instead of this machine; none needs to be here.
    memory
        So much memory instead of the device's, as in 16GB or 80GiB.
    device
        cpu, cuda or cuda:N of this machine.
    context
        Tokens of each request, prompt and answer; by default the most that the model was made for.
    concurrency
        Requests of that length at once, as serve's --batch; by default what an engine takes, one of them at least.
    dtype
        Precision of what is not packed; by default the model's own on a CPU, where int8 is faster and less exact.
    tensor_parallel
        GPUs that share the model; this version runs it on 1.
    json
        Print one JSON object.
    """
    from harmonium.cli.terminal import print_json
    from harmonium.engine import plan as planning
    from harmonium.engine import sizes
    from harmonium.model import outline

    wanted = outline.of(model)
    target = _target(gpu, device, None if memory is None else sizes.parsed(memory))
    made = planning.make(
        wanted, target, context=context, concurrency=concurrency, dtype=dtype, tensor_parallel=tensor_parallel
    )
    if json:
        print_json(as_json(made))
    else:
        print("\n".join(lines(made)))
    return 0 if made.fits else NotEnoughMemory.exit_code


def _target(gpu: str | None, device: str | None, memory: int | None) -> Hardware:
    """What is planned for. PyTorch is asked only for a GPU of this machine."""
    from dataclasses import replace

    from harmonium import hardware

    if gpu is not None:
        if device is not None:
            raise BadRequest("--gpu and --device exclude each other; give one of them.")
        return hardware.PRESETS[gpu].hardware(memory)
    if device == "cpu" or (device is None and not hardware.has_gpu()):
        return hardware.plain_cpu(memory)
    from harmonium.chat.loading import device_of

    found = hardware.detect(str(device_of(device)))
    return replace(found, memory_bytes=memory, free_bytes=memory) if memory else found


def lines(made: Plan) -> list[str]:
    """The plan for a person: parts, sums, what fits, and what to change."""
    from harmonium.engine.sizes import shown

    n = made.concurrency or 1
    many = f"{n} requests at once, each" if n > 1 else "one request"
    text = [f"{made.model.name} on {made.hardware.name}: {many} of up to {made.context:,} tokens", ""]
    rows: list[tuple[str, ...]] = [("part", "bytes", "stored", "computed", "kernel")]
    rows += [(p.name, shown(p.n_bytes) if p.n_bytes else "", p.stored, p.computed, p.kernel) for p in made.parts]
    text += _aligned(rows)
    text += ["", *_aligned(_sums(made)), ""]
    text.append(_verdict(made))
    if made.dtype == "int8":
        text.append(INT8_NOTE)
    if made.context == made.config.context and 0 < (taken := made.context_by_default) < made.context:
        text.append(f"An engine that is told no context takes {taken:,} tokens.")
    if made.advice():
        text += ["What would fit:", *(f"  {one}" for one in made.advice())]
    table = made.table()
    if any(most for _, _, most in table):
        text += ["", f"  {'context':>9}   requests at once: by default   with --batch"]
        text += [f"  {length:>9,}   {usual or '-':>28}   {most or '-':>12}" for length, usual, most in table]
        text += ["", *NOTES]
    return text


def _verdict(made: Plan) -> str:
    from harmonium.engine.sizes import shown

    has = f"{shown(made.hardware.free_bytes)} free"
    if made.fits:
        return f"It fits: {shown(made.total_bytes)} of {has}."
    return f"It does not fit: {shown(made.total_bytes)} needed, {has}."


def _sums(made: Plan) -> list[tuple[str, ...]]:
    from harmonium.engine.sizes import PageCounts, page_bytes, shown
    from harmonium.model.config import PAGE_SIZE

    config, taken = made.config, made.allotment
    requests = f"{taken.n_rows} requests" if taken.n_rows > 1 else "one request"
    full, _ = page_bytes(config, made.cache_dtype)
    n_full = sum(not config.is_sliding(layer) for layer in range(config.n_layers))
    per_token = shown(full // PAGE_SIZE)
    windows = shown(PageCounts(0, taken.pages.sliding).bytes(config, made.cache_dtype))
    rows: list[tuple[str, ...]] = [("weights", shown(made.weights_bytes), "the checkpoint's")]
    rows.append(
        (
            "cache",
            shown(made.cache_bytes),
            f"{taken.pages.full * PAGE_SIZE:,} tokens of all requests, {per_token} each, in {n_full} full layers; "
            f"{windows} for the last {config.window} of each in the {config.n_layers - n_full} sliding ones",
        )
    )
    rows += [
        ("graphs", shown(made.graphs_bytes), "of steps that only decode" if made.graphs_bytes else "none are captured"),
        ("workspace", shown(made.workspace_bytes), f"a step of at most {taken.token_budget:,} tokens of {requests}"),
        ("program", shown(made.program_bytes), "the process and its libraries"),
        ("total", shown(made.total_bytes), ""),
    ]
    return rows


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart, the second (bytes) to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "   ".join(
            cell.rjust(width) if i == 1 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]  # fmt: skip


def as_json(made: Plan) -> dict[str, Any]:
    """The same for programs; bytes throughout."""
    sums = ("weights", "cache", "graphs", "workspace", "program", "total")
    return {
        "model": made.model.name,
        "device": made.hardware.name,
        "free_bytes": made.hardware.free_bytes,
        "dtype": made.dtype,
        "cache_dtype": made.cache_dtype,
        "context": made.context,
        "concurrency": made.n_at_once,
        "rows": made.allotment.n_rows,
        "token_budget": made.allotment.token_budget,
        "parts": [asdict(part) for part in made.parts],
        **{f"{name}_bytes": getattr(made, f"{name}_bytes") for name in sums},
        "context_by_default": made.context_by_default,
        "fits": made.fits,
        "advice": made.advice(),
        "most_requests": [
            {"context": context, "requests": most, "by_default": usual} for context, usual, most in made.table()
        ],
    }
