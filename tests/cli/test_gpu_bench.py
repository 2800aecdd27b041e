"""The GPU's bench on a CPU and a tiny model: floors, sections, and that it needs none of the terminal's libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from docs import figures
from harmonium.chat import loading
from harmonium.cli import gpu_bench
from harmonium.cli.gpu_bench import ready, sections, speeds
from harmonium.cli.gpu_bench.load import Load
from harmonium.cli.gpu_bench.sections import SECTIONS, Bench, Figure, Left
from harmonium.cli.gpu_bench.speeds import Speeds
from harmonium.cli.gpu_bench.wanted import Wanted
from harmonium.engine.engine import Engine
from harmonium.errors import BadRequest
from harmonium.model import checkpoint
from harmonium.model.config import GPT_OSS_20B, GPT_OSS_120B, TINY
from harmonium.model.dummy import Dummy

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
ABSENT = ("cyclopts", "openai", "llguidance", "rich", "prompt_toolkit")


def test_a_step_reads_what_it_multiplies_by() -> None:
    tensors = dict(Dummy(TINY).tensors())
    embedding = tensors.pop("model.embed_tokens.weight")
    weights = sum(tensor.nbytes for tensor in tensors.values())
    assert speeds.step_bytes(TINY, 1000, 0) == pytest.approx(weights)
    experts = sum(tensor.nbytes for name, tensor in tensors.items() if ".experts." in name)
    assert speeds.step_bytes(TINY, 1, 0) == pytest.approx(weights - experts / 2)  # 4 of 8
    cached = 2 * 2 * TINY.n_kv_heads * TINY.head_dim * TINY.n_layers // 2  # a token's in either kind of layers
    assert speeds.step_bytes(TINY, 1000, 200) - weights == pytest.approx(1000 * cached * (200 + TINY.window))
    assert embedding.nbytes > 0
    packed = sum(tensor.nbytes for name, tensor in tensors.items() if name.endswith(("_blocks", "_scales")))
    assert speeds.step_bytes(TINY, 1000, 0, "float32") == pytest.approx(2 * weights - packed)


def test_floors_of_the_published_models() -> None:
    """By hand: 20b reads 3.71 GB a token at batch 1 and 14.6 GB at 64 rows of 1,152; a token takes 6.06 GFLOP."""
    measured = Speeds(copied=4e12, read=4.03e12, multiplied=790e12)
    assert speeds.step_bytes(GPT_OSS_20B, 1, 0) == pytest.approx(3.71e9, rel=2e-3)
    assert speeds.step_bytes(GPT_OSS_120B, 1, 0) == pytest.approx(5.00e9, rel=2e-3)
    assert speeds.decode_rates(GPT_OSS_20B, 64, 1152, measured)[0] == pytest.approx(64 * 4.03e12 / 14.6e9, rel=5e-3)
    assert speeds.prompt_operations(GPT_OSS_20B, [1]) == pytest.approx(2 * 3.61e9, rel=5e-3)  # active parameters
    assert speeds.prompt_seconds(GPT_OSS_20B, [8192], measured) == pytest.approx(8192 / 115_000, rel=1e-2)


@pytest.fixture(scope="module")
def bench() -> Bench:
    made = gpu_bench.prepared(loading.load_dummy("tiny", 1, CPU, None), CPU, Speeds(1e10, 1e10, 1e11))
    made.n_prompt, made.n_answer, made.n_long, made.repeats = 24, 6, 40, 1
    return made


def test_every_section_gives_figures_beside_its_floor(bench: Bench) -> None:
    found: dict[str, Figure | Left] = {}
    for name in ("batch1", "c16", "prefill", "first", "memory"):
        found |= {one.key: one for one in SECTIONS[name](bench)}
    assert set(found) == {"decode_1_tok_s", "decode_16_tok_s", "prefill_1x40_tok_s", "first_token_ms"}
    for figure in found.values():
        assert isinstance(figure, Figure) and figure.value > 0 and figure.runs and figure.floor
        assert figure.share is not None and 0 < figure.share < 1
        assert figure.label in gpu_bench.row(figure)
    table = figures.bench({"figures": [asdict(figure) for figure in found.values() if isinstance(figure, Figure)]})
    assert len(table) == 1 + len(found) and all(re.fullmatch(r"\d+%", row[-1]) for row in table[1:])


def test_what_the_cache_does_not_hold_is_left_out(bench: Bench) -> None:
    small = Engine(bench.model, n_rows=4, context=64, cache_bytes=2**20)
    made = Bench(Load(small, bench.load.constraint, ()), bench.model, bench.speeds, CPU, n_prompt=24, n_answer=6)
    assert [type(one) for one in sections.decode(made, 16)] == [Left]
    assert [type(one) for one in sections.prefill(made, 1, 64)] == [Left]
    assert [type(one) for one in sections.same_ids(made)] == [Left]


def test_every_run_computes_its_own_prompts(bench: Bench) -> None:
    load = bench.load
    prompts = {tuple(load.prompt(20)) for _ in range(10)}
    assert len(prompts) == 10 and max(max(prompt) for prompt in prompts) > 3000
    load.decode(2, 40, 3)
    assert not load.engine.has_work and load.holds(1, 100)


def test_a_section_that_fails_leaves_the_others_theirs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    step, left = bench.model.step, [3]

    def failing(*arguments: Any) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("no such kernel")
        return step(*arguments)

    shown: list[str] = []
    report = gpu_bench.Report({"model": "tiny"}, shown.append)
    with monkeypatch.context() as patch:
        patch.setattr(bench.model, "step", failing)
        report.take("c16", SECTIONS["c16"](bench))
    assert report.line["failed"] == ["c16"] and "no such kernel" in shown[-1]
    report.take("batch1", SECTIONS["batch1"](bench))
    assert report.line["decode_1_tok_s"] > 0 and report.line["failed"] == ["c16"]


def test_sections_are_chosen_by_name() -> None:
    with pytest.raises(BadRequest, match="no section 'c17'; choose from ready, batch1, c16"):
        gpu_bench.run(Wanted("tiny"), lambda: pytest.fail("loaded"), CPU, only=["c17"])
    assert gpu_bench.named(" first, batch1,") == ["first", "batch1"] and gpu_bench.named("") == []


def test_a_start_is_that_of_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def start(folder: Path, device: torch.device, environment: dict[str, str], wanted: Wanted) -> tuple[Any, None]:
        seen.append((checkpoint.open(folder).config.n_layers, wanted))
        return {"imported": 0.1, "loaded": 0.2, "first id": 0.3}, None

    monkeypatch.setattr(ready, "start", start)
    wanted = Wanted("tiny", layers=2, dtype="float32", context=64, memory=2**30)
    line = gpu_bench.run(wanted, lambda: pytest.fail("loaded"), CPU, only=["ready"], show=lambda text: None)
    assert seen == [(2, wanted)] * 2
    asked = {"model": "tiny, 2 layers", "dtype": "float32", "context": 64, "memory_bytes": 2**30}
    assert asked.items() <= line.items() and line["ready_warm_s"] == 0.3


def test_a_folder_that_takes_no_details_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OUT", str(tmp_path / "file"))
    report = gpu_bench.Report({"model": "tiny"}, lambda text: None)
    for _ in range(2):
        report.take("first", iter([Figure("first_token_ms", "first token", 1.0, "ms")]))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "OUT does not take them" in said
    assert report.line["first_token_ms"] == 1 and "failed" not in report.line


def test_answers_that_were_never_at_once_give_no_rate(bench: Bench) -> None:
    slow = Engine(bench.model, n_rows=16, context=64, token_budget=32)
    made = Bench(Load(slow, bench.load.constraint, ()), bench.model, bench.speeds, CPU, n_prompt=24, n_answer=6)
    [left] = sections.decode(made, 16)
    assert isinstance(left, Left) and "never 16 were at once" in left.reason


def test_it_needs_none_of_the_terminals_libraries(tmp_path: Path) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from benchmarks.gpu_bench import main; main()"
    command = [sys.executable, "-c", code, "--dummy", "tiny", "--device", "cpu", "--only", " memory,"]
    command += ["--layers", "1", "--dtype", "float32", "--context", "64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OUT": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["model"] == "tiny, 1 layer" and line["read_tb_s"] > 0 and line["load_s"] > 0
    assert line["dtype"] == "float32" and line["context"] == 64 and "--dummy tiny" in line["command"]
    details = json.loads((tmp_path / "gpu_bench_tiny_1_layer.json").read_text())
    assert details["where"].items() <= line.items() and details["where"]["dtype"] == "float32"
    assert [figure["key"] for figure in details["figures"]] == ["load_s"]


@pytest.mark.deep
def test_a_start_from_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_bench", "--dummy", "tiny", "--device", "cpu", "--only", "ready"]
    command += ["--layers", "2", "--dtype", "float32", "--context", "256"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert 0 < line["ready_imported_s"] < line["ready_loaded_s"] < line["ready_warm_s"] < 60
    assert line["ready_host_gb"] > 0.1
