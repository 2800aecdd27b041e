"""`harmonium tour`: every skill and every interface once, for real, in a few minutes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonium.cli.examples import EXAMPLES, Example
from harmonium.cli.options import AnswerOptions, Json, ModelOptions
from harmonium.cli.tour_stops import PYTHON, SERVED, SHELL, URL, Python, Served, Shell

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM
    from harmonium.chat.reply import Reply
    from harmonium.cli.terminal import Terminal

MOST_LINES, N_FIRST = 44, 14


def tour(*, json: Json = False) -> None:
    """Show every skill and every interface once, on nano, with real output.

    Parameters
    ----------
    json
        Print one JSON object per stop instead.
    """
    from harmonium.cli import session
    from harmonium.cli.terminal import Terminal, print_json

    started = time.perf_counter()
    terminal = Terminal(is_merged=True, quiet=json)
    llm = session.open_llm(ModelOptions(), terminal.note)
    for example in EXAMPLES:
        terminal.heading(example.skill, f"$ {example.command}")
        replies = ask(llm, example, None if json else terminal)
        if json:
            answers = [reply.text for reply in replies]
            print_json({"skill": example.skill, "command": example.command, "answers": answers})
    for stop in (*PYTHON, *SERVED, *SHELL):
        terminal.heading(stop.title, stop.shown)
        output = run(llm, stop)
        if json:
            print_json({"interface": stop.title, "code": stop.shown, "output": output})
        else:
            print(shortened(output), end="", flush=True)
    n_stops = len(EXAMPLES) + len(PYTHON) + len(SERVED) + len(SHELL)
    terminal.note(f"\n{n_stops} stops in {time.perf_counter() - started:.0f} s.")


def ask(llm: LLM, example: Example, terminal: Terminal | None) -> list[Reply]:
    """An example's one or two replies, greedy, so that a tour repeats."""
    from harmonium.chat.reply import Reply
    from harmonium.cli import functions, session

    answer = AnswerOptions(effort=example.effort, system=example.system, temperature=0.0)
    tools = functions.load(Path(example.tools)) if example.tools else []
    messages: list[Any] = []
    replies = []
    for text in filter(None, (example.prompt, example.follow_up)):
        messages.append({"role": "user", "content": text})
        events = session.stream(llm, messages, answer, tools)
        replies.append(terminal.show(events) if terminal else Reply.of(events))
        messages += replies[-1].messages
    return replies


def run(llm: LLM, stop: Python | Served | Shell) -> str:
    """What a stop prints."""
    match stop:
        case Python():
            return python({"llm": llm}, stop.code)
        case Served():
            return served(stop)
        case Shell():
            return shell(stop)


def served(stop: Served) -> str:
    """What its Python and then its commands print while its server runs."""
    command = [sys.executable, "-m", "harmonium", *stop.command]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r" at (http://\S+:\d+)", line):
                try:
                    asked = [[found[1] if word == URL else word for word in words] for words in stop.asked]
                    return "".join([python({"url": found[1]}, stop.code), *map(_output, asked)])
                finally:
                    process.terminate()
    return "".join(said)


def shell(stop: Shell) -> str:
    """What the last of its commands prints, in processes of this Python; no shell is needed."""
    text = "".join(f"{line}\n" for line in stop.typed)
    for words in stop.commands:
        text = _output(words, text)
    return text


def _output(words: Sequence[str], text: str = "") -> str:
    """What a command prints that reads this text."""
    command = [sys.executable, "-m", "harmonium", *words]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, input=text, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ).stdout


def shortened(text: str) -> str:
    """A long output without its middle."""
    lines = text.splitlines(keepends=True)
    n_left_out = len(lines) - MOST_LINES
    if n_left_out <= 1:
        return text
    return "".join([*lines[:N_FIRST], f"... {n_left_out} more lines ...\n", *lines[N_FIRST + n_left_out :]])


def python(names: dict[str, Any], code: str) -> str:
    """What a piece of Python that finds these names prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "tour", "exec"), names)
    return output.getvalue()
