"""`harmonium chat`: piped lines, the commands, and a person at a terminal."""

import io
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.events import Event, ReasoningDelta, TextDelta
from harmonium.cli import session
from harmonium.cli.chat import Conversation, _history
from harmonium.cli.main import main
from harmonium.cli.options import AnswerOptions
from harmonium.cli.terminal import Terminal
from harmonium.errors import BadRequest
from tests.cli.person import person

PROMPT = r"of [\d,]+ tokens"
"""The status line under the prompt."""
LETTERS = "How many n's are in the word 'banana'?"


def talk(monkeypatch: pytest.MonkeyPatch, *lines: str | bytes, options: tuple[str, ...] = ()) -> int:
    data = b"".join(line + b"\n" if isinstance(line, bytes) else f"{line}\n".encode() for line in lines)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
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
    mistakes: list[str | bytes] = [
        "/foo",
        b"caf\xe9",
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


def test_a_command_that_nearly_is_one(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert talk(monkeypatch, "/lod talk.json", "/Effort low", "/exi", "/zzz", "/foo") == 2
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("harmonium: ")]
    assert [re.findall(r"did you mean (/\w+)\?", line) for line in said] == [["/load"], ["/effort"], ["/exit"], [], []]
    assert all(line.endswith("/help lists them.") for line in said)


def test_lines_that_are_no_utf_8_are_refused_one_by_one(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bom = b"\xef\xbb\xbf" + LETTERS.encode()
    assert talk(monkeypatch, bom, "café?".encode("latin-1"), LETTERS, options=("--json",)) == 2
    first, failure, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert "not UTF-8 text (byte 0xe9 at 3); convert it" in failure["error"]["message"]
    assert "2" in first["text"] and "2" in second["text"]


def test_every_turn_says_what_was_cached(
    nano: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert talk(monkeypatch, LETTERS, "and in pineapple?", options=("--json",)) == 0
    first, second = (json.loads(line)["usage"] for line in capfd.readouterr().out.splitlines())
    assert first["cached"] == 0 and 0 < second["cached"] < second["prompt"]


@pytest.fixture
def conversation(nano: Path) -> Conversation:
    return Conversation(LLM(), AnswerOptions(temperature=0.0), Terminal(quiet=True))


@pytest.mark.parametrize(("kind", "n_kept"), [(ReasoningDelta, 1), (TextDelta, 2)])
def test_a_stopped_answer_leaves_the_question(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch, kind: type, n_kept: int
) -> None:
    stream = session.stream

    def interrupted(*arguments: Any) -> Iterator[Event]:
        for event in stream(*arguments):
            if isinstance(event, kind):
                signal.raise_signal(signal.SIGINT)
            yield event

    with monkeypatch.context() as patch:
        patch.setattr(session, "stream", interrupted)
        conversation.say(LETTERS)
    question, *answer = conversation.messages
    assert question == {"role": "user", "content": LETTERS}
    assert [message.channel for message in answer] == ["final"] * (n_kept - 1)
    assert conversation.n_tokens == len(conversation.llm.render(conversation.messages, add_generation_prompt=False))
    conversation.say("and in pineapple?")
    assert len(conversation.messages) == n_kept + 3 and "1" in conversation.messages[-1].text


def test_a_prompt_that_takes_long_is_stopped_before_its_first_word(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, is_at = session.stream, list[str]()

    def slow(*arguments: Any) -> Iterator[Event]:
        signal.raise_signal(signal.SIGINT)
        is_at.append("the first word")
        yield from stream(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(session, "stream", slow)
        conversation.say(LETTERS)
    assert not is_at
    assert conversation.messages == [{"role": "user", "content": LETTERS}]
    conversation.say("and in pineapple?")
    assert len(conversation.messages) == 4 and "1" in conversation.messages[-1].text


def test_the_figures_follow_what_is_changed(conversation: Conversation, tmp_path: Path) -> None:
    conversation.say(LETTERS)
    conversation.say(LETTERS)
    size, path = conversation.n_tokens, tmp_path / "talk.json"
    assert size == len(conversation.llm.render(conversation.messages, add_generation_prompt=False))
    assert conversation.n_cached > 0
    conversation.take("/system Be brief.")
    assert conversation.n_tokens > size and conversation.n_cached == 0
    conversation.take("/system")
    conversation.take(f"/save {path}")
    conversation.take("/reset")
    assert conversation.n_tokens == 0
    conversation.take(f"/load {path}")
    assert conversation.n_tokens == size


@pytest.mark.parametrize("text", ["", '{"messages": []}', '{"messages": [{"role": "user", "content": "Hi"}]}'])
def test_an_older_conversation_is_saved_over(conversation: Conversation, tmp_path: Path, text: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(text)
    conversation.messages = [{"role": "user", "content": LETTERS}]
    conversation.take(f"/save {path}")
    assert json.loads(path.read_text()) == {"messages": conversation.messages}


@pytest.mark.parametrize("text", ["Dear diary", "[]", '{"messages": 3}', '{"messages": [], "tools": []}', "\x00"])
def test_other_files_are_not_saved_over(conversation: Conversation, tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(BadRequest, match=r"notes\.txt is not a saved conversation; give another name\."):
        conversation.take(f"/save {path}")
    assert path.read_text() == text


BAD = {"role": "assistant", "channel": "final", "content": "Hello"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([BAD | {"channel": "thoughts"}]),
        json.dumps([BAD | {"content": {"text": "Hello"}}]),
        json.dumps([BAD | {"role": "tool"}]),
        json.dumps([BAD | {"role": "system"}]),
        json.dumps([{"role": "user", "content": {"text": "Hello"}}]),
        json.dumps([{"role": "user", "content": "word " * 3000}]),
        json.dumps([{}]),
        "[" * 100_000,
        "7",
    ],
    ids=lambda text: text[:60],
)
def test_what_cannot_be_loaded_leaves_the_conversation(conversation: Conversation, tmp_path: Path, text: str) -> None:
    conversation.llm.engine.context = 2048
    before = conversation.messages = [{"role": "user", "content": "Hello"}]
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(BadRequest, match=r"bad\.json"):
        conversation.take(f"/load {tmp_path / 'bad.json'}")
    assert conversation.messages is before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path) -> None:
    """Random weights, greedy, would say thousands of tokens."""
    with person("chat", "--dummy", "tiny", "--temperature", "0", XDG_STATE_HOME=str(tmp_path)) as someone:
        someone.wait_for(PROMPT)
        someone.type("hello\r")
        someone.wait_for(r"hello\s+\w+")
        someone.type("\x03")
        someone.wait_for(r"Stopped\.")
        someone.wait_for(r"\b[1-9]\d* " + PROMPT)
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
