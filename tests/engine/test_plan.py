"""Plans: every refusal, advice that works, and kernels that are those of the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from harmonium.engine import plan
from harmonium.engine.plan import Plan
from harmonium.errors import BadRequest, NotEnoughMemory, Unsupported
from harmonium.hardware import PRESETS, Hardware, plain_cpu
from harmonium.kernels.int8 import Int8Matrix
from harmonium.model import outline
from harmonium.model.config import GPT_OSS_20B, TINY
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
        (replace(H100, kernels=""), {}, "needs Triton, .* pip install triton"),
        (H100, {"dtype": "int8"}, "int8 is for a CPU, .*; leave --dtype out"),
        (H100, {"tensor_parallel": 2}, "cannot be spread over 2; leave --tensor-parallel out"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(device: Hardware, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        plan.make(outline.of("20b"), device, **options)


def test_a_head_that_the_gpus_attention_lacks_is_refused_there_only() -> None:
    odd = Outline("odd", replace(GPT_OSS_20B, head_dim=48))
    with pytest.raises(Unsupported, match="power of two, and this model's is 48"):
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
            concurrency=int(options.get("concurrency", made.concurrency)),
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


def test_the_table_is_where_memory_ends() -> None:
    made = plan.make(outline.of("20b"), PRESETS["l4"].hardware())
    table = made.table()
    assert [context for context, _ in table] == sorted({*plan.CONTEXTS, 131_072})
    assert [most for _, most in table] == sorted((most for _, most in table), reverse=True)
    for context, most in table:
        assert most == 0 or replace(made, context=context, concurrency=most).fits
        assert not replace(made, context=context, concurrency=most + 1).fits
    longest = replace(made, concurrency=4).longest_context()
    assert replace(made, concurrency=4, context=longest).fits
    assert not replace(made, concurrency=4, context=longest + 16).fits


def test_every_tensor_belongs_to_one_part() -> None:
    made = plan.make(outline.of("20b"), H100)
    assert made.weights_bytes == 13_761_264_768
    assert {part.name: part.stored for part in made.parts if part.stored == "MXFP4"} == {"experts": "MXFP4"}


OPERATIONS = {
    "q, k, v and RoPE": "qkv",
    "attention, cache": "attend",
    "output projection": "project",
    "router": "route",
    "experts": "experts",
}


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
        assert type(getattr(model._layers[0], operation)).__module__ == kernels.BACKENDS[device]
        assert named[part].startswith(kernel)
    assert type(model._head).__module__ == kernels.BACKENDS[device] and named["head"].startswith(kernel)
    assert model._layers[0].experts.packed is not None  # type: ignore[attr-defined]
    dense = {part.name: part.kernel for part in plan.make(Outline("dense", TINY, is_packed=False), hardware).parts}
    assert dense["experts"] == "torch"


def test_precision_is_what_loading_takes() -> None:
    for given in (None, "float32", "bfloat16", "int8"):
        model = Transformer.load(Dummy(TINY.with_layers(1)), dtype=None if given is None else getattr(torch, given))
        made = plan.make(Outline("tiny", TINY), plain_cpu(), dtype=given)
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
