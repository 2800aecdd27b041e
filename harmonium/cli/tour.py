"""`harmonium tour`: every skill and every interface once, for real, in a few minutes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonium.cli.examples import EXAMPLES, Example
from harmonium.cli.options import AnswerOptions, Json, ModelOptions

if TYPE_CHECKING:
    from harmonium.chat.llm import LLM
    from harmonium.chat.reply import Reply
    from harmonium.cli.terminal import Terminal

SHELL = (
    ("text from a pipe", "echo 17 + 25 | harmonium --quiet"),
    ("JSON for scripts", 'harmonium "What is the capital of Peru?" --json'),
    ("exact tokens, without weights", 'harmonium tokens "What is the capital of Peru?" --effort low | tail -n 14'),
    (
        "a conversation",
        "printf '%s\\n' \"How many e's are in the word 'cheese'?\" \"and in tree?\" | harmonium chat --quiet",
    ),
    ("a mistake", "harmonium --modle nano hello"),
)
PYTHON = (
    (
        "one question",
        """
reply = llm.chat("How many r's are in the word 'strawberry'?")
print(reply.reasoning, reply.text, reply.usage, reply.finish_reason, sep="\\n")
""",
    ),
    (
        "a stream of events",
        """
for event in llm.stream("What is the capital of Norway?", effort="low", temperature=0):
    print(event)
""",
    ),
    (
        "a Python function as a tool",
        '''
def get_current_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"Sunny in {city}, 27 degrees."

reply = llm.chat("What is the weather like in Madrid?", tools=[get_current_weather], temperature=0)
for message in reply.messages:
    print(message.author.role, message.channel, message.recipient, repr(message.text))
''',
    ),
    (
        "many conversations at once",
        """
for reply in llm.chat([f"What is {n} + {n}?" for n in (12, 34, 56)], temperature=0):
    print(reply.text)
""",
    ),
    (
        "token ids in, token ids out",
        """
from harmonium import SamplingParams

prompt = llm.render([{"role": "user", "content": "2 + 2 * 3 = ?"}], effort="low")
[ids] = llm.generate([prompt], SamplingParams(temperature=0, max_tokens=64))
print(ids)
print(llm.decode(ids))
""",
    ),
)


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
    stops = [(title, f"$ {command}", partial(shell, command)) for title, command in SHELL]
    stops += [(title, code.strip(), partial(python, llm, code)) for title, code in PYTHON]
    for title, shown, run in stops:
        terminal.heading(title, shown)
        output = run()
        if json:
            print_json({"interface": title, "code": shown, "output": output})
        else:
            print(output, end="")
    terminal.note(f"\n{len(EXAMPLES) + len(stops)} stops in {time.perf_counter() - started:.0f} s.")


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


def shell(command: str) -> str:
    """What a command prints, with this Python's `harmonium` first on the path."""
    folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": folder + os.pathsep + os.environ.get("PATH", "")}
    done = subprocess.run(
        command, shell=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    return done.stdout


def python(llm: LLM, code: str) -> str:
    """What a piece of Python prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "tour", "exec"), {"llm": llm})
    return output.getvalue()
