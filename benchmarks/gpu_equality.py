"""What a request gets in float32 on a device, alone and in every other way of running it; and nano beside the CPU's.

`python -m benchmarks.gpu_engine --only float32,cpu` runs it. Ids may differ where two of them score within NEAR of each
other, noise included: such requests are counted, with the widest of their margins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import torch

from harmonium.chat import loading
from harmonium.engine import noise
from harmonium.engine.engine import Engine
from harmonium.engine.request import Request, SamplingParams
from harmonium.engine.sizes import PageCounts
from harmonium.model.config import NANO, PAGE_SIZE
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

NEAR = 1e-4
CONTEXT, N_ROWS, N_ANSWER = 320, 16, 24
STEMS = (1, 15, 16, 17, 111, 127, 128, 129, 144, 200, 240, 256)
"""Tokens that a prompt has in common with the others: around edges of pages and of the window."""


class Known:
    """A drafter that knows the answers, and says one id in six wrong."""

    def __init__(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> None:
        self.texts = {tuple(prompt): [*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)}
        self.random = Random(0)

    def propose(self, wanted: Sequence[tuple[Request, int]]) -> list[list[int]]:
        return [self._guessed(request, n) for request, n in wanted]

    def _guessed(self, request: Request, n: int) -> list[int]:
        text = self.texts[tuple(request.tokens[: request.n_prompt])]
        ids = text[len(request.tokens) : len(request.tokens) + n]
        return [self.random.randrange(1000) if self.random.random() < 1 / 6 else id_ for id_ in ids]

    def forget(self, request_id: int) -> None:
        """Nothing is kept by request."""


def questions() -> tuple[list[list[int]], list[SamplingParams]]:
    """Prompts that begin alike up to edges, and how each is sampled: greedy, drawn, filtered."""
    random = Random(0)
    stem = random.choices(range(1000), k=max(STEMS))
    prompts = [[*stem[:length], *random.choices(range(1000), k=random.randrange(1, 30))] for length in STEMS]
    kinds = [{"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 0.8, "top_p": 0.9}]
    params = [SamplingParams(seed=i, max_tokens=N_ANSWER, **kinds[i % 3]) for i in range(len(prompts))]  # type: ignore[arg-type]
    return prompts, params


def margin(model: Transformer, prompt: list[int], params: SamplingParams, ids: Any, others: Any) -> float:
    """0 for equal ids, else how far apart the first two that differ score, with their noise."""
    if ids == others:
        return 0.0
    place = next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), None)
    if place is None:
        return float("inf")
    scores = model.forward(torch.tensor([[*prompt, *ids[:place]]], device=model.device))[0, -1].float()
    if params.temperature:
        key = np.array([noise.seed_key(params.seed or 0)], np.uint64)
        keys = torch.from_numpy(noise.position_keys(key, np.array([len(prompt) + place]))).to(scores.device)
        scores = scores / params.temperature + noise.gumbel(noise.token_hashes(len(scores), scores.device), keys)[0]
    return abs(float(scores[ids[place]] - scores[others[place]]))


def ways(model: Transformer) -> Iterator[tuple[str, list[tuple[int, ...]], str]]:
    """Names, all answers, and what shows that the way was taken; the first is each request alone."""
    prompts, params = questions()
    sizes: dict[str, Any] = {
        "context": CONTEXT,
        "n_rows": N_ROWS,
        "cache_bytes": 2**28,
        "overlap": False,
        "graphs": False,
    }

    def served(engine: Engine) -> tuple[list[tuple[int, ...]], int]:
        """Ids of all, and how many tokens came from the cache."""
        found = engine.generate(prompts, params)
        assert all(one.error is None for one in found), [one.error for one in found]
        return [one.ids for one in found], sum(one.n_cached for one in found)

    engine = Engine(model, **(sizes | {"n_rows": 1}))
    answers = []
    for prompt, wanted in zip(prompts, params, strict=True):
        answers += [engine.generate([prompt], wanted)[0].ids]
        engine.cache.forget_idle()
    yield "alone", answers, ""
    engine = Engine(model, **sizes)
    for name in ("batch", "batch, from the cache"):
        found, n_cached = served(engine)
        yield name, found, f"{n_cached} tokens cached"
    yield "aborts around", aborted_around(Engine(model, **sizes), prompts, params), ""
    yield "chunked", *served(Engine(model, token_budget=N_ROWS + 5, **sizes))[:1], f"{N_ROWS + 5} tokens a step"
    least = PageCounts(CONTEXT // PAGE_SIZE + 4, PageCounts.needed(model.config, CONTEXT, N_ROWS, 64).sliding)
    few = sizes | {"token_budget": 64, "cache_bytes": least.bytes(model.config, "float32")}
    engine = Engine(model, **few)
    yield "preempted", served(engine)[0], f"{engine.scheduler.n_preemptions} preemptions"
    engine = Engine(model, drafter=Known(prompts, answers), **(sizes | {"n_rows": 4}))
    found, guesses = served(engine)[0], engine.speculation
    yield "guessed", found, f"{guesses.n_stood} of {guesses.n_drafted} stood" if guesses else ""
    yield "ahead", served(Engine(model, **(sizes | {"overlap": True})))[0], ""
    for name, overlap in (("graphs", False), ("graphs, ahead", True)) if model.device.type == "cuda" else ():
        engine = Engine(model, **(sizes | {"overlap": overlap, "graphs": True}))
        served(engine)
        engine.cache.forget_idle()
        yield name, served(engine)[0], "replayed"


def aborted_around(engine: Engine, prompts: list[list[int]], params: list[SamplingParams]) -> list[tuple[int, ...]]:
    """Answers while as many others come and are aborted, one at each step."""
    ids: dict[int, list[int]] = {}
    doomed = []
    for prompt, wanted in zip(prompts, params, strict=True):
        doomed.append(engine.add(prompt[:-1], wanted))
        ids[engine.add(prompt, wanted)] = []
    while engine.has_work:
        for output in engine.step():
            if output.request_id in ids:
                ids[output.request_id] += output.ids
        if doomed:
            engine.abort(doomed.pop())
    return [tuple(said) for said in ids.values()]


def parted(model: Transformer, expected: list[tuple[int, ...]], answers: list[tuple[int, ...]]) -> dict[str, Any]:
    """How many answers are not as expected, and by what margin at most."""
    pairs = zip(*questions(), expected, answers, strict=True)
    margins = [gap for gap in (margin(model, *pair) for pair in pairs) if gap]
    return {"parted": len(margins), "of": len(answers), "margin": max(margins, default=0.0)}


def report(name: str, way: str, found: dict[str, Any], shows: str = "") -> None:
    verdict = "" if found["margin"] < NEAR else "  TOO FAR"
    print(
        f"  {name}, {way:28} {found['parted']:3} of {found['of']} part {found['margin']:.1e}{verdict}  {shows}",
        flush=True,
    )


def alike(name: str, model: Transformer) -> dict[str, Any]:
    """A line for each way, beside what each request gets alone."""
    started = time.perf_counter()
    lines: dict[str, Any] = {}
    expected: list[tuple[int, ...]] = []
    for way, answers, shows in ways(model):
        expected = expected or answers
        lines[way] = parted(model, expected, answers)
        report(name, way, lines[way], shows)
    print(f"  {name}: {time.perf_counter() - started:.1f} s", flush=True)
    return lines


def in_float32(device: str) -> dict[str, Any]:
    """nano and a random model of its size, each in every way."""
    random = Transformer.load(Dummy(NANO, device=device), device, torch.float32)
    nano = loading.load("nano", device, "float32").transformer
    return {name: alike(name, model) for name, model in (("nano", nano), ("random", random))}


def beside_the_cpu(device: str) -> dict[str, Any]:
    """nano's answers on the device and on the CPU, whose kernels a new machine has to compile first."""
    models = [loading.load("nano", name, "float32").transformer for name in ("cpu", device)]
    engines = [Engine(model, context=CONTEXT, cache_bytes=2**28) for model in models]
    there, here = ([one.ids for one in engine.generate(*questions())] for engine in engines)
    found = parted(models[0], there, here)
    report("nano", "beside the CPU", found)
    return found
