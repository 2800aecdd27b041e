"""The tour shows every interface that there is, and what it shows is what it runs."""

import inspect
import json
import shlex
from pathlib import Path

import pytest

from harmonium import LLM
from harmonium.chat.options import ChatOptions
from harmonium.cli import tour
from harmonium.cli.commands import COMMANDS, app
from harmonium.cli.tour_stops import PYTHON, SERVED, SHELL, Python, Served, Shell

CODE = "\n".join(stop.code for stop in PYTHON)
SAID = {
    "one question": ("There are 3 r's",),
    "a stream of events": ("ReasoningDelta(", "TextDelta(", "Done("),
    "a Python function as a tool": ("functions.get_current_weather", "Sunny in Madrid"),
    "a call that is handed out": ('tool_calls get_price {"product": "bicycle"}', "249 euros"),
    "the builtin python, answered by the caller": ("datetime.date(3050, 1, 1)", "Tuesday"),
    "the builtin browser, answered by the caller": ("browser.search", "47.6 °C【0†L4-L5】"),
    "an answer that follows a JSON schema": ('{"answer": "Ottawa"}',),
    "reasoning kept short, and out of circles": ("None ", "4 8 True False The capital of Norway is Oslo."),
    "many conversations at once": ("24", "68", "112"),
    "the exact prompt": ("2030-01-01", "Be brief.", "<|start|>assistant"),
    "token ids in, token ids out": ("<|channel|>final<|message|>2 + 2 × 3 = 8<|return|>",),
    "a text that goes on, and a prompt rendered elsewhere": ("Paris", "2 + 2 = 4<|return|>"),
    "harmony by itself": ("assistant analysis", "assistant final 2 + 2 = 4"),
}


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM()


@pytest.mark.parametrize("stop", PYTHON, ids=lambda stop: stop.title)
def test_its_python_shows_what_it_promises(llm: LLM, stop: Python) -> None:
    out = tour.run(llm, stop)
    assert [part for part in SAID[stop.title] if part not in out] == [], out


@pytest.mark.parametrize("stop", SERVED, ids=lambda stop: stop.title)
def test_its_servers_run(llm: LLM, stop: Served) -> None:
    first, second, *table = tour.run(llm, stop).splitlines()
    assert (first, second) == ("12 + 30 = 42", "30 + 12 = 42")
    assert [line.split()[-1] for line in table if line.strip().startswith("requests ")] == ["2"]
    typed = [line.removeprefix("$ harmonium ") for line in stop.shown.splitlines() if line.startswith("$")]
    assert [shlex.split(line.removesuffix(" &")) for line in typed] == [list(stop.command), *map(list, stop.asked)]
    for words in (stop.command, *stop.asked):
        app.parse_args(list(words))


def test_every_interface_is_there() -> None:
    methods = {name for name, value in inspect.getmembers(LLM, callable) if not name.startswith("_")} - {"dummy"}
    assert methods == {"chat", "stream", "complete", "generate", "render", "decode"}
    assert {name for name in methods if f"llm.{name}(" not in CODE} == set()
    shown = {words[0] for stop in SHELL for words in stop.commands} | {
        words[0] for stop in SERVED for words in (stop.command, *stop.asked)
    }
    assert set(COMMANDS) - shown == {"tour"}
    options = set(ChatOptions.__optional_keys__) & {
        *("tools", "builtin_tools", "effort", "response_format", "reasoning_budget", "stop_loops", "run_tools")
    }
    assert {name for name in options if f"{name}=" not in CODE} == set() and len(options) == 7


@pytest.mark.parametrize("stop", SHELL, ids=lambda stop: stop.title)
def test_what_is_shown_is_what_is_run(stop: Shell) -> None:
    line, *typed = stop.shown.removeprefix("$ ").split("\n> ")
    *echo, _ = [part for part in line.split(" | ") if part.startswith("echo ")] + [""]
    typed += [text for part in echo for text in shlex.split(part)[1:]]
    commands = [shlex.split(part) for part in line.split(" | ") if not part.startswith("echo ")]
    assert commands == [["harmonium", *words] for words in stop.commands]
    assert tuple(typed) == stop.typed
    for words in stop.commands:
        if stop.title != "a mistake":
            app.parse_args(list(words))


def test_commands_read_what_the_one_before_printed(nano: Path) -> None:
    [stop] = [stop for stop in SHELL if len(stop.commands) > 1]
    out = tour.shell(stop)
    assert "assistant · final" in out and "<|return|>" in out and "text, <|end|>" in out


def test_a_long_output_loses_its_middle() -> None:
    lines = [f"{n}\n" for n in range(100)]
    short = tour.shortened("".join(lines)).splitlines(keepends=True)
    assert len(short) == tour.MOST_LINES + 1
    [at] = [n for n, line in enumerate(short) if line.startswith("...")]
    assert short[:at] + short[at + 1 :] == lines[:at] + lines[at - tour.MOST_LINES :]
    assert short[at] == f"... {100 - tour.MOST_LINES} more lines ...\n"
    whole = "".join(lines[: tour.MOST_LINES + 1])
    assert tour.shortened(whole) == whole


def test_it_goes_from_stop_to_stop(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, n in (("EXAMPLES", 2), ("PYTHON", 1), ("SERVED", 0), ("SHELL", 0)):
        monkeypatch.setattr(tour, name, getattr(tour, name)[:n])
    tour.tour(json=True)
    stops = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [set(stop) for stop in stops] == [{"skill", "command", "answers"}] * 2 + [{"interface", "code", "output"}]
    tour.tour()
    out = capfd.readouterr().out
    assert out.count("\n# ") == 3 and "3 stops in" in out
