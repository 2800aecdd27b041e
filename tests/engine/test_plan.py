"""Plans: every refusal, advice that works, and kernels that are those of the code."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.engine import plan, sizes
from harmonium.engine.engine import Engine
from harmonium.engine.kv_cache import pages_for
from harmonium.engine.plan import Plan
from harmonium.engine.sizes import Allotment
from harmonium.errors import BadRequest, NotEnoughMemory, Unsupported
from harmonium.hardware import PRESETS, Hardware, plain_cpu, triton_lack
from harmonium.kernels.int8 import Int8Matrix
from harmonium.model import outline
from harmonium.model.config import GPT_OSS_20B, PAGE_SIZE, TINY
from harmonium.model.dummy import Dummy
from harmonium.model.outline import Outline
from harmonium.model.transformer import Transformer

H100 = PRESETS["h100"].hardware()
T4 = Hardware("cuda", "NVIDIA T4", 16 * 10**9, 16 * 10**9, 0, "triton", "NVIDIA", (7, 5))


@pytest.mark.parametrize(
    ("device", "options", "says"),
    [
        (PRESETS["mi300x"].hardware(), {}, "MI300X is an AMD GPU.* --device cpu"),
        (T4, {}, r"T4 has compute capability 7.5, .* begins at 8.0; take .* --device cpu"),
        (replace(H100, lack=triton_lack(None)), {}, "needs Triton 3.6 or later, .* pip install 'triton>=3.6', or run"),
        (H100, {"dtype": "int8"}, "int8 is for a CPU, .*; leave --dtype out"),
        (H100, {"tensor_parallel": 2}, "cannot be spread over 2; leave --tensor-parallel out"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(device: Hardware, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        plan.make(outline.of("20b"), device, **options)


def test_a_head_that_the_gpus_attention_lacks_is_refused_there_only() -> None:
    odd = Outline("odd", replace(GPT_OSS_20B, head_dim=48))
    with pytest.raises(Unsupported, match="head_dim of 16, 32, 64, 128, and this model's is 48; run it on the CPU"):
        plan.make(odd, H100)
    plan.make(odd, plain_cpu(10**12))


@pytest.mark.parametrize("options", [{"context": 1}, {"context": 131_073}, {"concurrency": 0}, {"tensor_parallel": 0}])
def test_numbers_that_mean_nothing(options: dict[str, int]) -> None:
    with pytest.raises(BadRequest):
        plan.make(outline.of("20b"), H100, **options)  # type: ignore[arg-type]


def changed(made: Plan, advice: str) -> list[Plan]:
    """The plans with that advice taken."""
    if advice.startswith("a GPU with more memory: "):
        names = advice.partition(": ")[2].split(", ")
        return [replace(made, hardware=PRESETS[name].hardware(), dtype="bfloat16") for name in names]
    if advice.startswith("the model "):
        return [replace(made, model=outline.of(advice.removeprefix("the model ")))]
    words = shlex.split(advice)
    options = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    return [
        replace(
            made,
            context=int(options.get("context", made.context)),
            concurrency=int(options["concurrency"]) if "concurrency" in options else made.concurrency,
            dtype=options.get("dtype", made.dtype),
        )
    ]


@pytest.mark.parametrize(
    ("model", "device", "options", "kinds"),
    [
        ("20b", plain_cpu(16 * 10**9), {}, ["--context", "--dtype int8 --context", "a GPU"]),
        ("20b", plain_cpu(14 * 10**9), {"context": 2048}, ["--dtype int8", "a GPU"]),
        (
            "20b",
            PRESETS["rtx5090"].hardware(),
            {"concurrency": 64, "context": 32768},
            ["--concurrency", "--context", "a GPU"],
        ),
        ("120b", plain_cpu(40 * 10**9), {"context": 8192}, ["the model gpt-oss-20b", "a GPU"]),
        ("120b", PRESETS["l4"].hardware(), {}, ["a GPU"]),
        ("120b", PRESETS["gb200"].hardware(), {"concurrency": 256}, ["--concurrency", "--context"]),
    ],
)
def test_advice_works_and_none_is_given_where_it_fits(
    model: str, device: Hardware, options: dict[str, int], kinds: list[str]
) -> None:
    made = plan.make(outline.of(model), device, **options)  # type: ignore[arg-type]
    assert not made.fits
    advice = made.advice()
    for kind in kinds:
        assert any(one.startswith(kind) for one in advice), (kind, advice)
    for one in advice:
        assert all(better.fits and not better.advice() for better in changed(made, one))
    with pytest.raises(NotEnoughMemory, match=f"gpt-oss-{model} needs .* free. What would fit: {re.escape(advice[0])}"):
        made.check()


def test_where_no_gpu_is_large_enough_a_cpu_is_named() -> None:
    huge = Outline("huge", replace(GPT_OSS_20B, n_experts=128, n_layers=200))
    made = plan.make(huge, replace(H100, free_bytes=10**9))
    [advice] = made.advice()
    assert re.fullmatch(r"a CPU, --device cpu, with \d+ GB of memory", advice)


DEVICES = [preset.hardware() for preset in PRESETS.values() if not preset.hardware().refusal] + [plain_cpu(10**9)]


def allotted(made: Plan, context: int, n_rows: int | None) -> Allotment | None:
    """What the engine takes beside the weights on that device, or None where it refuses or has no room for so many."""
    device = made.hardware.device
    free_bytes = made.hardware.free_bytes - made.weights_bytes - made.program_bytes + sizes.LEFT_OVER_BYTES[device]
    try:
        found = Allotment.of(made.config, device, made.dtype, free_bytes, context=context, n_rows=n_rows)
    except NotEnoughMemory:
        return None
    return found if found.pages.full >= (n_rows or 1) * pages_for(context) else None


@given(
    st.sampled_from(["20b", "120b", "nano"]),
    st.sampled_from(DEVICES),
    st.one_of(st.just(0), st.integers(100, 10**7)),
    st.one_of(st.none(), st.integers(1, 40)),
    st.integers(2, 131_072),
)
@settings(max_examples=30)
def test_the_engine_takes_what_is_advised_and_no_more(
    model: str, device: Hardware, more_kb: int, concurrency: int | None, asked: int
) -> None:
    """On devices as they are, and on those with a little more than the weights."""
    made = plan.make(outline.of(model), device, context=asked, concurrency=concurrency)
    if more_kb:
        made = replace(made, hardware=replace(device, free_bytes=made.weights_bytes + 10**9 + more_kb * 1000))
    context = made.longest_context()
    if context > 1:
        taken = allotted(made, context, concurrency)
        assert taken is not None and taken == replace(made, context=context).allotment
        assert taken.context == context and taken.token_budget >= taken.n_rows
        assert replace(made, context=context).total_bytes <= made.hardware.free_bytes
    if context < asked:
        assert not made.fits and allotted(made, context // PAGE_SIZE * PAGE_SIZE + PAGE_SIZE, concurrency) is None
    table = made.table()
    assert [length for length, _, _ in table] == sorted({*plan.CONTEXTS, asked})
    for length, usual, most in (table[0], table[-1]):
        taken = allotted(made, length, None)
        assert usual == (0 if taken is None else min(taken.n_rows, taken.pages.full // pages_for(length))) and (
            usual <= most
        )
        assert not most or allotted(made, length, most)
        assert most == sizes.most_rows(made.config, device.device) or not allotted(made, length, most + 1)


def test_an_engine_begins_with_the_longest_context_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer.load(Dummy(TINY))
    made = plan.make(Outline("tiny", TINY), plain_cpu(540 * 10**6), dtype="float32")
    free_bytes = made.hardware.free_bytes - made.weights_bytes - made.program_bytes
    monkeypatch.setattr("harmonium.hardware.free_memory_bytes", lambda: free_bytes)
    context = made.longest_context()
    assert context < 131_072
    engine = Engine(model, context=context)
    assert engine.context == context and replace(made, context=context).n_at_once >= 1
    with pytest.raises(NotEnoughMemory, match="One request with"):
        Engine(model, context=context + PAGE_SIZE)
    assert Engine(model).context == made.context_by_default


def test_every_tensor_belongs_to_one_part() -> None:
    made = plan.make(outline.of("20b"), H100)
    assert made.weights_bytes == 13_761_264_768
    assert {part.name: part.stored for part in made.parts if part.stored == "MXFP4"} == {"experts": "MXFP4"}


OPERATIONS = {
    "q, k, v and RoPE": "qkv",
    "attention, cache": "attend",
    "output projection": "project_route",
    "router": "project_route",
    "experts": "experts",
}


def modules(operation: object) -> set[str]:
    """Where an operation is from, or those that a function calls one after the other."""
    calls = inspect.getclosurevars(operation).nonlocals.values() if inspect.isfunction(operation) else (operation,)
    return {type(one).__module__ for one in calls}


@pytest.mark.parametrize(("device", "kernel"), [("cpu", "numba"), ("cuda", "triton")])
def test_the_kernels_are_those_that_the_code_takes(device: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from harmonium import kernels

    monkeypatch.setitem(kernels.BACKENDS, "cpu", kernels.BACKENDS[device])  # Triton's interpreter takes a CPU's tensors
    pytest.importorskip(kernels.BACKENDS[device], exc_type=ImportError)
    model = Transformer.load(Dummy(TINY.with_layers(1)))
    model.prepare()
    hardware = plain_cpu() if device == "cpu" else H100
    named = {part.name: part.kernel for part in plan.make(Outline("tiny", TINY), hardware).parts}
    for part, operation in OPERATIONS.items():
        assert modules(getattr(model._layers[0], operation)) == {kernels.BACKENDS[device]}
        assert named[part].startswith(kernel)
    assert type(model._head).__module__ == kernels.BACKENDS[device] and named["head"].startswith(kernel)
    assert model._layers[0].experts.packed is not None  # type: ignore[attr-defined]
    dense = {part.name: part.kernel for part in plan.make(Outline("dense", TINY, is_packed=False), hardware).parts}
    assert dense["experts"] == "torch"


def test_precision_is_what_loading_takes() -> None:
    for dtype in (None, "float32", "bfloat16", "int8"):
        model = Transformer.load(Dummy(TINY.with_layers(1)), dtype=None if dtype is None else getattr(torch, dtype))
        made = plan.make(Outline("tiny", TINY), plain_cpu(), dtype=dtype)
        stored = {part.name: part.stored for part in made.parts}
        assert str(model.weights.embedding.dtype) == f"torch.{stored['embedding']}"
        head = model.weights.head
        assert str((head.codes if isinstance(head, Int8Matrix) else head).dtype) == f"torch.{stored['head']}"
        assert str(model.new_cache(1, 1).k[0].dtype) == f"torch.{made.cache_dtype}"


def test_presets_import_no_torch() -> None:
    code = """
import sys
from harmonium.cli.main import main
assert main(["plan", "20b", "--gpu", "h100"]) == 0
assert main(["plan", "120b", "--gpu", "l4", "--json"]) == 3
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
