"""`--url`: a question and a conversation with a server's model, and what a person may do wrong."""

import io
import json
import os
import signal
import socket
from pathlib import Path
from threading import Semaphore, Thread

import pytest

from harmonium.chat.events import Event
from harmonium.chat.remote import RemoteLLM
from harmonium.cli.chat import Conversation
from harmonium.cli.main import main
from harmonium.cli.options import AnswerOptions
from harmonium.cli.terminal import Terminal
from tests.chat.other_server import MODELS, Answer, document, events, other_server

LISTED = document({"data": [MODELS["data"][0] | {"max_model_len": 4096}]})  # type: ignore[index, operator]


def said(text: str, reasoning: str = "") -> Answer:
    delta = {"reasoning_content": reasoning, "content": text}
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
    return events([{"choices": [{"delta": delta, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}])


@pytest.fixture(autouse=True)
def nothing_is_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


def test_one_question(capfd: pytest.CaptureFixture[str]) -> None:
    with other_server(said("Lima.", "Peru."), said("Lima.")) as server:
        assert main(["--url", server.url, "--effort", "low", "What is the capital of Peru?"]) == 0
        assert capfd.readouterr() == ("Lima.\n", "Peru.\n")
        assert main(["--url", server.url.removeprefix("http://"), "-m", "m:free", "--json", "Peru?"]) == 0
        answer = json.loads(capfd.readouterr().out)
        assert (answer["model"], answer["text"], answer["usage"]["cached"]) == ("m:free", "Lima.", 8)
        first, second = server.bodies
    assert (first["model"], first["reasoning_effort"]) == ("m", "low")
    assert (second["model"], second["reasoning_effort"]) == ("m:free", "medium")


def test_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.json"
    lines = [
        "/system Be brief.",
        "Peru?",
        f"/save {path}",
        "/reset",
        "Chile?",
        f"/load {path}",
        "/effort high",
        "Oslo?",
    ]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    monkeypatch.setenv("SOME_KEY", "sk-1")
    with other_server(said("Lima.", "I know it."), said("Santiago."), said("Norway.")) as server:
        assert main(["chat", "--url", server.url, "--api-key-env", "SOME_KEY"]) == 0
        assert {asked.headers.get("Authorization") for asked in server.asked} == {"Bearer sk-1"}
        peru, chile, oslo = server.bodies
    assert capfd.readouterr().out == "Lima.\nSantiago.\nNorway.\n"
    told = {"role": "system", "content": "Be brief."}
    question, answer = {"role": "user", "content": "Peru?"}, {"role": "assistant", "content": "Lima."}
    assert peru["messages"] == [told, question]
    assert chile["messages"] == [told, {"role": "user", "content": "Chile?"}]
    assert oslo["messages"] == [told, question, answer, {"role": "user", "content": "Oslo?"}]
    assert oslo["reasoning_effort"] == "high"
    assert [message.get("channel") for message in json.loads(path.read_text())["messages"]] == [
        None,
        "analysis",
        "final",
    ]


def test_the_status_line_has_what_the_server_told() -> None:
    with other_server(said("Lima."), models=LISTED) as server:
        conversation = Conversation(RemoteLLM(server.url), AnswerOptions(), Terminal(quiet=True))
        conversation.say("Peru?")
        assert conversation.status == "m · effort medium · 25 of 4,096 tokens · 8 were cached"
        conversation.take("/reset")
        assert conversation.status == "m · effort medium · 0 of 4,096 tokens"
    with other_server(said("Lima.")) as server:
        conversation = Conversation(RemoteLLM(server.url), AnswerOptions(), Terminal(quiet=True))
        assert conversation.status == "m · effort medium"


class Watched(Terminal):
    """Tells when something was shown."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.seen = Semaphore(0)

    def _show(self, event: Event) -> None:
        super()._show(event)
        self.seen.release()


def test_ctrl_c_hangs_up_at_once() -> None:
    """The server says a word, Ctrl-C is pressed, and nothing more would come."""
    terminal, heard = Watched(), list[bytes]()
    word = b'data: {"choices": [{"delta": {"content": "Lim"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    no_models = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

    def serve() -> None:
        for end, answer in ((b"\r\n\r\n", no_models), (b"}", head + b"%x\r\n%b\r\n" % (len(word), word))):
            connection, _ = listener.accept()
            with connection:
                while not connection.recv(65536).endswith(end):
                    pass
                connection.sendall(answer)
                if answer is not no_models:
                    terminal.seen.acquire()
                    os.kill(os.getpid(), signal.SIGINT)
                    heard.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        conversation = Conversation(RemoteLLM(f"127.0.0.1:{listener.getsockname()[1]}", "m"), AnswerOptions(), terminal)
        conversation.say("Peru?")
        thread.join()
    assert heard == [b""], "the server hears that nobody listens"
    question, answer = conversation.messages
    assert (question["content"], answer.text) == ("Peru?", "Lim")


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (["--api", "chat"], 2, "name it with --url"),
        (["--url", "localhost:8000", "--device", "cpu"], 2, "--device is for a model on this machine"),
        (["--url", "localhost:8000", "--dummy", "tiny"], 2, "--dummy is for a model on this machine"),
        (["--url", "localhost:8000", "--api-key-env", "HARMONIUM_NO_KEY"], 11, "HARMONIUM_NO_KEY is not set"),
        (["--url", "ftp://host"], 2, "is no address of a server"),
        (["--url", "127.0.0.1:1"], 12, "`harmonium serve` starts one"),
    ],
)
def test_wrong_options(options: list[str], exit_code: int, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*options, "Hello"]) == exit_code
    assert words in capfd.readouterr().err


def test_what_the_server_decides_is_not_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    with other_server() as server:
        for option in ("--no-constrained", "--no-stop-loops"):
            assert main(["--url", server.url, option, "Hello"]) == 2
            assert "the server decides" in capfd.readouterr().err
        assert server.bodies == []


def test_a_failure_in_a_conversation_is_not_its_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Peru?\nPeru?\n")))
    broken = document({"error": {"message": "Slow down.", "code": None}}, 429)
    with other_server(broken, said("Lima.")) as server:
        assert main(["chat", "--url", server.url, "--json"]) == 8
        failure, answer = map(json.loads, capfd.readouterr().out.splitlines())
        assert failure["error"]["code"] == "rate_limit_exceeded" and answer["text"] == "Lima."
        assert len(server.bodies[1]["messages"]) == 1
