"""The options that commands share: which model runs, and how it answers.

Cyclopts flattens each dataclass into a command's own options and takes the strings under the fields as their help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from harmonium.cli import formats
from harmonium.errors import BadRequest

SERVER = Group("Server", sort_key=4)
MODEL = Group("Model", sort_key=3)
RULES = Group("Rules", sort_key=2)
ANSWER = Group("Answer", sort_key=1)

Json = Annotated[bool, Parameter(negative="", show_default=False)]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="", show_default=False)]
Effort = Literal["low", "medium", "high"]

NANO_NOTE = (
    "This is nano, the small demonstration model inside Harmonium. For the real one, add "
    "--model gpt-oss-20b (13.8 GB, downloaded once)."
)
INT8_NOTE = (
    "int8: logits of a random 20b are off by 2.2e-2 in the median, and another id is likeliest at 12.5 %; as stored, "
    "1.9e-6 and 0 %."
)
"""benchmarks/cpu_accuracy.json, rounded."""


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True)
class ModelOptions:
    model: Annotated[str | None, Parameter(name=("--model", "-m"))] = None
    """gpt-oss-20b, gpt-oss-120b, a name on the Hugging Face hub, or a folder. Without it nano, which is inside."""

    dummy: Literal["tiny", "nano", "20b", "120b"] | None = None
    """Random weights of this size instead of a model: real speed and memory, meaningless answers."""

    layers: int | None = None
    """Only so many layers of --dummy."""

    device: str | None = None
    """cpu, cuda or cuda:N; by default a GPU if there is one."""

    dtype: Literal["float32", "bfloat16", "int8"] | None = None
    """Precision of what is not packed; by default the model's own on a CPU, where int8 is faster and less exact."""

    context: int | None = None
    """Most tokens of prompt and answer together; by default what the model was made for."""

    @property
    def is_default(self) -> bool:
        """Nothing was asked for, so nano runs."""
        return self.model is None and self.dummy is None

    @property
    def local(self) -> list[str]:
        """The options that were given and mean nothing to a server's model."""
        names = ("dummy", "layers", "device", "dtype", "context")
        return [f"--{name}" for name in names if getattr(self, name) is not None]


@Parameter(name="*", group=SERVER)
@dataclass(frozen=True)
class ServerOptions:
    url: str | None = None
    """Ask the model of a server that speaks OpenAI's API, such as localhost:8000; --model is then its name there."""

    api: Literal["chat", "responses"] | None = None
    """Which of OpenAI's APIs to speak with --url: chat completions, which every server has, or responses."""

    api_key_env: str | None = None
    """The environment variable that holds the server's API key."""


def _response_format(_: type, tokens: Sequence[Token]) -> Mapping[str, Any]:
    return formats.load(tokens[0].value)


FormatFile = Annotated[Any, Parameter(converter=_response_format, n_tokens=1, accepts_keys=False)]
"""A response format, read from a word or a file."""


@Parameter(name="*", group=ANSWER)
@dataclass(frozen=True)
class AnswerOptions:
    effort: Effort = "medium"
    """How long to reason."""

    system: Annotated[str | None, Parameter(name=("--system", "-s"))] = None
    """Instructions for the model, set as its developer message."""

    tools: Path | None = None
    """A Python file whose functions the model may call, run in this process; "demo" is a made-up weather service."""

    max_tokens: int | None = None
    """Stop after so many tokens, reasoning included; by default 4,096, with --effort high 32,768. 0: no limit."""

    temperature: float | None = None
    """0 takes the likeliest token every time; by default what the checkpoint asks for, 1 for gpt-oss and 0 for nano."""

    top_p: float | None = None
    """Sample among the likeliest tokens that together have this probability."""

    top_k: int | None = None
    """Sample among so many likeliest tokens; 0 is off."""

    min_p: float | None = None
    """Drop tokens less likely than this share of the likeliest."""

    seed: int | None = None
    """Makes sampling reproducible."""

    response_format: Annotated[FormatFile, Parameter(group=RULES)] = None
    """What the answer follows: "json", or a file: a JSON Schema, a response_format, a .lark or .regex grammar."""

    tool_choice: Annotated[str | None, Parameter(group=RULES)] = None
    """none, auto, required for a call before the first answer, or the name of the tool to call."""

    reasoning_budget: Annotated[int | None, Parameter(group=RULES)] = None
    """Close the reasoning after so many tokens, and answer; 0 leaves it out."""

    stop_loops: Annotated[bool, Parameter(group=RULES)] = True
    """Close reasoning that goes round in circles."""

    constrained: Annotated[bool, Parameter(group=RULES)] = True
    """Draw well-formed messages and offered tools alone; without it, anything, loops too."""

    @property
    def sampling(self) -> dict[str, Any]:
        """What was set of how tokens are chosen, as arguments of SamplingParams."""
        names = ("temperature", "top_p", "top_k", "min_p", "seed")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def rules(self) -> dict[str, Any]:
        """What was set, as options of LLM.chat."""
        names = ("response_format", "tool_choice", "reasoning_budget")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        kind = (self.response_format or {}).get("type", "text")
        if not self.constrained and (given.keys() - {"response_format"} or kind not in ("text", "json_schema")):
            raise BadRequest(
                "--no-constrained enforces nothing: leave out --tool-choice, --reasoning-budget, and formats that "
                "the model is not told."
            )
        return given | {"constrained": self.constrained, "stop_loops": self.stop_loops and self.constrained}
