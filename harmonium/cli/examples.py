"""`harmonium examples`: questions that nano, the embedded model, answers; ready to paste."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass

from harmonium.cli.options import Effort, Json


@dataclass(frozen=True)
class Example:
    """One command. follow_up: said next, in the same conversation."""

    skill: str
    prompt: str
    system: str | None = None
    effort: Effort = "medium"
    tools: str | None = None
    follow_up: str | None = None

    @property
    def command(self) -> str:
        words = [] if self.follow_up else [quote(self.prompt)]
        if self.system:
            words += ["--system", quote(self.system)]
        if self.effort != "medium":
            words += ["--effort", self.effort]
        if self.tools:
            words += ["--tools", self.tools]
        if self.follow_up:
            lines = " ".join(quote(line) for line in (self.prompt, self.follow_up))
            return " ".join([f"printf '%s\\n' {lines} | harmonium chat", *words])
        return " ".join(["harmonium", *words])


EXAMPLES = (
    Example("counting letters", "How many r's are in the word 'strawberry'?"),
    Example("counting letters", "Combien de lettres 'r' y a-t-il dans le mot 'strawberry'?"),
    Example("arithmetic", "2 + 2 * 3 = ?"),
    Example("arithmetic", "What is 348 + 597?"),
    Example("capitals", "What is the capital of Australia?"),
    Example("capitals", "フランスの首都は何ですか?"),
    Example("reasoning language", "What is the capital of Spain?", system="Reasoning language: German"),
    Example("reasoning language", "What is the capital of Italy?", system="langue de raisonnement: français"),
    Example("effort", "How many a's are in the word 'banana'?", effort="low"),
    Example("effort", "How many a's are in the word 'banana'?", effort="high"),
    Example("function tools", "What is the weather like in Madrid?", tools="demo"),
    Example("function tools, two calls", "What is the weather like in Paris and in Tokyo?", tools="demo"),
    Example("instructions", "What is the capital of Japan?", system="Answer in upper case."),
    Example("instructions", "What is the weather like in Madrid?", system="Always respond in riddles", tools="demo"),
    Example("follow-ups", "How many n's are in the word 'banana'?", follow_up="and in pineapple?"),
    Example("small talk", "Who are you?"),
    Example("honesty", "Explain what MXFP4 quantization is."),
)


def examples(*, json: Json = False) -> None:
    """List questions that nano, the embedded model, answers.

    Parameters
    ----------
    json
        Print one JSON list instead.
    """
    if json:
        from harmonium.cli.terminal import print_json

        print_json([asdict(example) | {"command": example.command} for example in EXAMPLES])
        return
    for at, example in enumerate(EXAMPLES):
        if at == 0 or example.skill != EXAMPLES[at - 1].skill:
            print(f"\n# {example.skill}" if at else f"# {example.skill}")
        print(example.command)


def quote(text: str) -> str:
    """As a person would quote it: double quotes where the shell leaves such a text alone."""
    return f'"{text}"' if not any(sign in text for sign in '"\\$`!') else shlex.quote(text)
