"""`harmonium chat`: piped lines, the commands, and a person at a terminal."""

import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harmonium.cli.chat import _history
from harmonium.cli.main import main
from harmonium.cli.terminal import Terminal

PROMPT = r"of [\d,]+ tokens"
"""The status line under the prompt."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LETTERS = "How many n's are in the word 'banana'?"


def talk(monkeypatch: pytest.MonkeyPatch, *lines: str, options: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    return main(["chat", "--temperature", "0", *options])


def test_turns_follow_each_other_and_can_be_saved(
    nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "talk.json"
    assert talk(monkeypatch, LETTERS, "and in pineapple?", f"/save {saved}") == 0
    first = capfd.readouterr().out.splitlines()
    assert [re.findall(r"\d+", line)[0] for line in first] == ["2", "1"]
    channels = [message.get("channel") for message in json.loads(saved.read_text())["messages"]]
    assert channels == [None, "analysis", "final", None, "analysis", "final"]
    assert talk(monkeypatch, f"/load {saved}", "and in cheese?", "/reset", LETTERS) == 0
    later = capfd.readouterr().out.splitlines()
    assert re.findall(r"\d+", later[0])[0] == "0"
    assert later[1] == first[0], "after /reset nothing of the conversation is left"


def test_commands_change_what_follows(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ["/system Answer in upper case.", "What is the capital of Japan?", "/system", "/effort low"]
    lines += [
        "/tools demo",
        "What is the weather like in Madrid?",
        "/tools off",
        "/help",
        "/reset",
        "/exit",
        "never asked",
    ]
    assert talk(monkeypatch, *lines) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert "TOKYO" in out
    assert "27" in out.splitlines()[1]
    assert "→ get_current_weather(" in err
    assert "The model may call get_current_weather, get_price." in err
    assert "/save FILE" in err
    for note in ("these instructions", "no instructions", "The effort is low now.", "begins anew"):
        assert note in err


def test_mistakes_do_not_end_the_conversation(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mistakes = [
        "/foo",
        "/effort huge",
        "/save",
        "/save /dev/null/x",
        "/load none.json",
        "/tools none.py",
        "word " * 600,
    ]
    options = ("--json", "--context", "512")
    assert talk(monkeypatch, *mistakes, "What is the capital of Peru?", options=options) == 4
    out, err = capfd.readouterr()
    *failures, answer = map(json.loads, out.splitlines())
    assert "Lima" in answer["text"]
    assert [failure["error"]["code"] for failure in failures][-2:] == [
        "invalid_request_error",
        "context_length_exceeded",
    ]
    assert len(failures) == len(mistakes)
    complaints = [line for line in err.splitlines() if line.startswith("harmonium: ")]
    assert len(complaints) == len(mistakes)


@contextmanager
def person(*arguments: str, **environment: str) -> Iterator["Person"]:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
        os.execv(sys.executable, [sys.executable, "-m", "harmonium", *arguments])
    try:
        yield Person(pid, terminal)
    finally:
        os.close(terminal)


class Person:
    """Types on a real terminal, and reads it."""

    def __init__(self, pid: int, terminal: int) -> None:
        self.pid = pid
        self.terminal = terminal
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 30) -> None:
        """Reads until the pattern shows up in what came since the last match."""
        import select

        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            assert ready, f"{pattern!r} did not come; seen: {self.seen!r}"
            text = os.read(self.terminal, 65536).decode("utf-8", "replace")
            if "\x1b[6n" in text:
                self.type("\x1b[1;1R")  # where the cursor is, which prompt_toolkit asks a terminal
            self.seen += CONTROL.sub("", text)
        self.seen = self.seen[match.end() :]

    def leave(self) -> int:
        self.type("\x04")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path) -> None:
    """Random weights, greedy, would say thousands of tokens."""
    with person("chat", "--dummy", "tiny", "--temperature", "0", XDG_STATE_HOME=str(tmp_path)) as someone:
        someone.wait_for(PROMPT)
        someone.type("hello\r")
        someone.wait_for(r"hello\s+\w+")
        someone.type("\x03")
        someone.wait_for(r"Stopped\.")
        someone.wait_for(PROMPT)
        assert someone.leave() == 0
    assert "hello" in (tmp_path / "harmonium" / "history").read_text()


def test_a_history_that_cannot_be_written_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    history = _history(Terminal())
    history.append_string("hello")
    assert list(history.get_strings()) == ["hello"]
    [sentence] = capfd.readouterr().err.splitlines()
    assert "What you type is not remembered: /dev/null/harmonium/history cannot be written" in sentence
