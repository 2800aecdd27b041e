"""What holds for every test: no network but loopback, no cache and no settings of the user's, two threads.

It is set up on import, before any test module (and with it torch or huggingface_hub) is imported; the environment
carries it into the processes that tests start.
"""

from __future__ import annotations

import json
import os
import runpy
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
HOME = tempfile.TemporaryDirectory(prefix="harmonium-tests-")

for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_", "HARMONIUM_"))]:
    del os.environ[name]
os.environ |= {
    "HF_HOME": f"{HOME.name}/huggingface",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "XDG_STATE_HOME": f"{HOME.name}/state",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS / "offline"), str(ROOT), os.environ.get("PYTHONPATH")])),
    "PYTHONIOENCODING": "utf-8",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_COLOR": "1",
    "COLUMNS": "100",
}
os.environ.setdefault("OMP_NUM_THREADS", "2")
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels for the GPU run on the CPU; Triton asks when it is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as harmonium sets it, for tests that import torch first

# Cases are given by seed and count; how long one takes says how busy the machine is.
settings.register_profile("harmonium", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harmonium")

runpy.run_path(str(TESTS / "offline" / "sitecustomize.py"))  # blocks the network in this process


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", metavar="FILE", help="write the outcome as one JSON line to FILE and print it last")


class Recorder:
    """Collects the outcome and the seconds of every test for --record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = time.time()
        self.tests: dict[str, dict[str, str | float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.nodeid] = {"outcome": report.outcome, "seconds": round(report.duration, 1)}

    def pytest_unconfigure(self) -> None:
        outcomes = [test["outcome"] for test in self.tests.values()]
        counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
        line = json.dumps(counts | {"seconds": round(time.time() - self.started, 1), "tests": self.tests})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(line + "\n", encoding="utf-8")
        print(line)


def pytest_configure(config: pytest.Config) -> None:
    if record := config.getoption("--record"):
        config.pluginmanager.register(Recorder(Path(record)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device: run it on a machine with an NVIDIA GPU"))


@pytest.fixture(scope="session")
def nano() -> Path:
    """The embedded model's folder."""
    folder = ROOT / "harmonium" / "assets" / "nano"
    if not list(folder.glob("*.safetensors")):
        pytest.skip("needs nano's weights in harmonium/assets/nano: make them with `python -m recipes.nano train`")
    return folder
