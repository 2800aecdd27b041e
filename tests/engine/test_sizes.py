"""What is planned is what is allocated: weights, keys and values, a step's workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from harmonium.engine import plan, sizes
from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.engine.sizes import Allotment, PageCounts
from harmonium.errors import NotEnoughMemory
from harmonium.hardware import PRESETS, plain_cpu
from harmonium.model import checkpoint, outline
from harmonium.model.config import NANO, PAGE_SIZE, TINY, ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.outline import Outline
from harmonium.model.transformer import Transformer

CPU = plain_cpu(2**36)
GPU = PRESETS["h200"].hardware()
CONFIGS = st.builds(
    ModelConfig,
    hidden_size=st.sampled_from([64, 96]),
    intermediate_size=st.sampled_from([32, 160]),
    n_layers=st.integers(1, 5),
    n_experts=st.integers(4, 6),
    n_heads=st.just(4),
    n_kv_heads=st.sampled_from([1, 2]),
    head_dim=st.sampled_from([32, 64]),
    vocab_size=st.integers(100, 400),
    window=st.sampled_from([32, 128]),
    context=st.just(4096),
)


def loaded_bytes(model: Transformer) -> int:
    """As they are kept, which for int8 `tensors` does not show."""
    whole = model.weights
    found: list[Any] = [whole.embedding, whole.norm, whole.head]
    for layer in whole.layers:
        found += [part for field, part in vars(layer).items() if field != "experts"]
        found += [part for part in vars(layer.experts).values() if part is not None]
    return sum(part.nbytes for part in found)


def cache_bytes(engine: Engine) -> int:
    cache = engine._runner.cache
    return sum(tensor.nbytes for tensor in (*cache.k, *cache.v))


@given(CONFIGS, st.sampled_from(["float32", "bfloat16", "int8"]), st.integers(2, 4096), st.integers(1, 40))
@settings(max_examples=12)
def test_a_random_model(config: ModelConfig, dtype: str, context: int, n_rows: int) -> None:
    made = plan.make(Outline("random", config), CPU, dtype=dtype, context=context, concurrency=n_rows)
    model = Transformer.load(Dummy(config), dtype=getattr(torch, dtype))
    assert made.weights_bytes == loaded_bytes(model)
    engine = Engine(model, context=context, n_rows=n_rows, cache_bytes=made.cache_bytes)
    assert made.cache_bytes == cache_bytes(engine)
    assert engine.context == context
    if n_rows == 1:
        least = Allotment.least(config, context, 1).pages.bytes(config, made.cache_dtype)
        assert cache_bytes(Engine(model, context=context, cache_bytes=least)) == least
        with pytest.raises(NotEnoughMemory, match="raise cache_bytes"):
            Engine(model, context=context, cache_bytes=least - 1)


def test_nano(nano: Path) -> None:
    made = plan.make(outline.of("nano"), CPU, context=2048, concurrency=3)
    model = Transformer.load(checkpoint.open(nano))
    assert made.config == NANO and made.weights_bytes == loaded_bytes(model)
    assert made.cache_bytes == cache_bytes(Engine(model, context=2048, n_rows=3, cache_bytes=made.cache_bytes))


def test_the_published_sizes() -> None:
    """Source: model.safetensors.index.json of both repositories, total_size."""
    for name, n_bytes in (("20b", 13_761_264_768), ("120b", 65_248_815_744)):
        assert plan.make(outline.of(name), GPU).weights_bytes == n_bytes


def test_dense_experts() -> None:
    stored = dict(Dummy(TINY).tensors())
    dense = {name: t for name, t in stored.items() if not name.endswith(("_blocks", "_scales"))}
    for layer in range(TINY.n_layers):
        name = f"model.layers.{layer}.mlp.experts."
        dense[f"{name}gate_up_proj"] = torch.zeros(8, 64, 128, dtype=torch.bfloat16)
        dense[f"{name}down_proj"] = torch.zeros(8, 64, 64, dtype=torch.bfloat16)
    made = plan.make(Outline("dense", TINY, is_packed=False), GPU)
    assert made.weights_bytes == loaded_bytes(Transformer.from_tensors(TINY, dense))


@pytest.mark.parametrize(("model", "gb", "rows"), [("20b", 16, 16), ("20b", 24, 128), ("120b", 80, 256)])
def test_models_fit_the_cards_that_they_were_made_for(model: str, gb: int, rows: int) -> None:
    """Source: the models' cards, 20b within 16 GB, 120b on one GPU of 80 GB. Small cards take smaller steps."""
    card = PRESETS["h100"].hardware(gb * 10**9)
    made = plan.make(outline.of(model), card, context=8192)
    assert made.fits
    left = card.free_bytes - made.weights_bytes - made.program_bytes
    defaults = sizes.defaults_within(made.config, "cuda", "bfloat16", left)
    allotted = made.allotment
    assert defaults.n_rows == rows == allotted.n_rows and allotted.token_budget == defaults.token_budget
    taken = (defaults.n_rows, defaults.token_budget)
    cache = sizes.default_cache_bytes(made.config, "cuda", "bfloat16", None, *taken, left)
    assert PageCounts.fitting(made.config, "bfloat16", None, *taken, cache).full * PAGE_SIZE >= 8192
    steps = sizes.workspace_bytes(made.config, "cuda", "bfloat16", *taken)
    assert cache + steps + sizes.graphs_bytes(made.config, "cuda", "bfloat16", taken[0]) <= left


def test_a_small_model_answers_more_people_at_once_on_a_cpu() -> None:
    """Nobody waits for a whole answer of somebody else's; a large model's windows would take the others' pages."""
    large = outline.of("20b").config
    assert (sizes.most_rows(NANO, "cpu"), sizes.most_rows(large, "cpu"), sizes.most_rows(large, "cuda")) == (
        256,
        32,
        256,
    )


def test_sliding_layers_cost_their_window_whatever_the_context() -> None:
    pages = [PageCounts.needed(NANO, context, 4, 512) for context in (2048, 131_072)]
    assert pages[0].sliding == pages[1].sliding and pages[1].full == 64 * pages[0].full
    sliding = replace(NANO, layer_types=("sliding_attention",) * 8)
    assert len({PageCounts.needed(sliding, n, 4, 512).bytes(sliding, "float32") for n in (2048, 131_072)}) == 1


@pytest.mark.parametrize("length", [4096, pytest.param(32_768, marks=pytest.mark.deep)])
def test_sliding_layers_write_no_more_than_windows(length: int) -> None:
    """Bytes of keys and values that a request of that length has really written, of a cache that begins with zeros."""
    config = replace(TINY, vocab_size=500)
    engine = Engine(Transformer.load(Dummy(config), dtype=torch.float32), context=length, n_rows=1, token_budget=512)
    prompt = [1 + i % 490 for i in range(length - 4)]
    [answer] = engine.generate([prompt], SamplingParams(max_tokens=4, seed=1))
    assert len(answer.ids) == 4
    cache, written = engine._runner.cache, {True: 0, False: 0}
    for layer, pair in enumerate(zip(cache.k, cache.v, strict=True)):
        for pages in pair:  # (pages, heads, tokens of a page, head_dim)
            written[config.is_sliding(layer)] += int(pages.flatten(1).any(1).sum()) * pages[0].nbytes
    full, sliding = sizes.page_bytes(config, "float32")
    assert written[False] == length // PAGE_SIZE * full
    assert (
        (128 // PAGE_SIZE) * sliding < written[True] <= PageCounts.needed(config, PAGE_SIZE, 1, 512).sliding * sliding
    )


def test_an_engine_takes_what_is_left() -> None:
    """Its default, or what the context needs that was asked for, as far as there is room beside a step's workspace."""
    wanted = {"n_rows": 4, "token_budget": 512}
    need = PageCounts.needed(NANO, 131_072, 1, 0).full * sum(sizes.page_bytes(NANO, "float32")[:1])

    def cache(context: int | None, free: int) -> int:
        return sizes.default_cache_bytes(NANO, "cpu", "float32", context, free_bytes=free, **wanted)

    assert cache(None, 2**40) == cache(1024, 2**40) == sizes.CPU.cache_bytes
    large = replace(NANO, n_kv_heads=64)
    grown = sizes.default_cache_bytes(large, "cpu", "float32", 131_072, free_bytes=2**40, **wanted)
    assert grown >= 32 * need > sizes.CPU.cache_bytes
    assert 0 < cache(None, 2**30) < 2**30
    assert cache(None, 10**6) == 0


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that torch had allocated at once on the CPU, above what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_steps_workspace_is_within_its_bound(dtype: str) -> None:
    """Where sampling is most of it, and where a long prompt's attention is; the bounds are not idle either."""
    wide = replace(TINY, vocab_size=20_000)
    cases = ((wide, 32, 64, 256, [[1, 2]] * 32), (TINY, 4, 512, 2048, [[3] * 1500]))
    for config, n_rows, budget, context, prompts in cases:
        model = Transformer.load(Dummy(config), dtype=getattr(torch, dtype))
        engine = Engine(model, n_rows=n_rows, token_budget=budget, context=context)
        params = SamplingParams(max_tokens=3, seed=1, top_p=0.9, min_p=0.1, logprobs=20)
        engine.generate([[1]], params)
        bound = sizes.workspace_bytes(config, "cpu", dtype, n_rows, budget)
        # torch sees of it what is not the kernels' own scratch, a quarter at least
        assert bound / 6 < peak_bytes(partial(engine.generate, prompts, params)) < bound


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (3072, "3.1 kB"),
        (15_400_000, "15.4 MB"),
        (13_761_264_768, "13.8 GB"),
        (10**12, "1,000 GB"),
    ],
)
def test_bytes_for_people(n_bytes: int, text: str) -> None:
    assert sizes.shown(n_bytes) == text


def test_a_device_without_room_is_refused_before_the_cache_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer.load(Dummy(TINY))
    monkeypatch.setattr("harmonium.hardware.free_memory_bytes", lambda: 10**7)
    with pytest.raises(NotEnoughMemory, match="lower the context"):
        Engine(model, context=131_072)
