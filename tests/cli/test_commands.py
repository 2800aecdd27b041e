"""The program as people run it: real processes, their two streams and their exit codes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harmonium.cli.main import main

HARMONIUM = [sys.executable, "-m", "harmonium"]
QUESTION = "How many r's are in the word 'strawberry'?"


@pytest.fixture(autouse=True)
def nothing_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


def run(*arguments: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*HARMONIUM, *arguments], input=stdin, capture_output=True, timeout=timeout)


def test_help_is_quick_and_imports_no_torch() -> None:
    """In seconds of a core, of which a busy machine takes none away: waiting for one is not the program's doing."""
    seconds = []
    for _ in range(3):
        before = os.times()
        done = run("--help")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert b"harmonium \"How many r's" in done.stdout
    assert min(seconds) < 0.5
    code = "import sys; from harmonium.cli.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "There is no question"),
        (("  ",), 2, "There is no question"),
        (("--modle", "nano", "hello"), 2, "Did you mean --model?"),
        (("chat", "--efort", "low"), 2, "Did you mean --effort?"),
        (("--effort", "hgih", "hello"), 2, 'Did you mean "high"?'),
        (("chta",), 2, 'did you mean "chat"?'),
        (("hello", "--temperature"), 2, "requires an argument"),
        (("hello", "--temperature", "warm"), 2, 'unable to convert "warm"'),
        (("hello", "--tools", "none.py"), 2, "There is no file none.py"),
        (("hello", "--layers", "2"), 2, "--layers needs --dummy"),
        (("hello", "--dummy", "tiny", "--model", "nano"), 2, "exclude each other"),
        (("hello", "--dummy", "naon"), 2, 'Did you mean "nano"?'),
        (("caf\udce9",), 2, '"caf?" is not UTF-8 text; check'),
        (("hello", "--system", "caf\udce9"), 2, "not UTF-8 text"),
        (("tokens", "caf\udce9"), 2, "not UTF-8 text"),
        (("tokens", "--messages", "none.json"), 2, "none.json cannot be read"),
        (("hello", "--model", ""), 2, "--model is empty"),
        (("hello", "--response-format", "none.json"), 2, "none.json cannot be read"),
        (("hello", "--tool-choice", "required"), 2, "there are no tools"),
        (("examples", "x"), 2, '"x" has no meaning here'),
        (("hello", "--model", "gpt-oss-20"), 5, "gpt-oss-20b"),
        (("hello", "--model", "./no/folder"), 5, "no/folder"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], code: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("harmonium: ")
    assert len(err.splitlines()) == 1
    assert says in err


@pytest.mark.parametrize("command", [["hello"], ["chat"]])
def test_a_failure_is_json_where_that_was_asked_for(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--json", "--model", "gpt-oss-20"]) == 5
    out, err = capfd.readouterr()
    error = json.loads(out)["error"]
    assert error["code"] == "model_not_found"
    assert err == f"harmonium: {error['message']}\n"


def test_text_that_is_no_text_is_refused() -> None:
    done = run("Summarize this", stdin=b"abc\xff\xfe")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not UTF-8 text (byte 0xff at 3); convert it" in done.stderr


def test_a_path_may_be_any_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = os.path.join(tmp_path, "caf\udce9.json")
    try:
        Path(path).write_text('[{"role": "user", "content": "Hello"}]')
    except OSError:
        pytest.skip("needs a file system that takes any bytes for a name, as Linux's do")
    assert main(["tokens", "--messages", path]) == 0
    assert "Hello" in capfd.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: run it on Linux")
@pytest.mark.parametrize("arguments", [["chat", "--quiet"], ["tokens"], ["tokens", "--json"]])
def test_a_full_disk_is_one_sentence_that_says_what_is_full(nano: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*HARMONIUM, *arguments], input=b"hi\n", stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 10
        assert done.stderr.startswith(b"harmonium: The output cannot be written to stdout: No space left on device")
        assert len(done.stderr.splitlines()) == 1
        if arguments == ["tokens"]:
            done = subprocess.run([*HARMONIUM, "tokens", "--nonsense"], stderr=full, stdin=subprocess.DEVNULL)
            assert done.returncode == 2, "nobody can be told, but for the exit code"


def test_the_dummies_are_the_same_everywhere() -> None:
    from typing import get_args, get_type_hints

    from harmonium.cli.options import ModelOptions
    from harmonium.model.dummy import CONFIGS

    [words, _] = get_args(get_type_hints(ModelOptions)["dummy"])
    assert set(get_args(words)) == set(CONFIGS)


def test_what_takes_long_is_said_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from harmonium import LLM
    from harmonium.cli import session

    make = LLM.dummy

    def slowly(*arguments: Any, **options: Any) -> LLM:
        time.sleep(0.3)
        return make(*arguments, **options)

    monkeypatch.setattr(LLM, "dummy", slowly)
    ask = ["hello", "--dummy", "tiny", "--max-tokens", "1"]
    assert main(ask) == 0
    assert "Making" not in capfd.readouterr().err, "it was quick"
    monkeypatch.setattr(session, "PATIENCE_S", 0.01)
    assert main(ask) == 0
    assert capfd.readouterr().err.count("Making random weights for tiny ...\n") == 1
    assert main([*ask, "--json"]) == 0
    assert capfd.readouterr().err == ""


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Random weights, greedy, would go on to the context's end."""
    from harmonium.cli import session

    monkeypatch.setattr(session, "LIMITS", {"low": 20, "medium": 30, "high": 40})
    endless = ["hello", "--dummy", "tiny", "--temperature", "0", "--json", "--context"]
    for options, length in (
        (["4096"], 30),
        (["4096", "--effort", "low"], 20),
        (["4096", "--effort", "high"], 40),
        (["4096", "--max-tokens", "50"], 50),
    ):
        assert main([*endless, *options]) == 0
        said = json.loads(capfd.readouterr().out)
        assert (said["usage"]["completion"], said["finish_reason"]) == (length, "length")
    for options in (["110"], ["192", "--max-tokens", "0"]):
        assert main([*endless, *options]) == 0
        usage = json.loads(capfd.readouterr().out)["usage"]
        assert usage["prompt"] + usage["completion"] == int(options[0]), "the context ends it"


@pytest.mark.skipif(sys.platform == "win32", reason="closes a pipe as POSIX shells do")
def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    for arguments in (["examples"], ["--help"], ["--version"], ["tokens", "hello"]):
        done = subprocess.run([*HARMONIUM, *arguments], stdout=write, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (141, b""), arguments
    os.close(write)


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as POSIX shells do")
def test_a_closed_stream_is_an_empty_one(nano: Path) -> None:
    both = '"$0" -m harmonium chat <&- >&- & "$0" -m harmonium hi --quiet 2>&- && wait $!'
    done = subprocess.run(["sh", "-c", both, sys.executable], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as POSIX shells do")
@pytest.mark.parametrize(
    ("closing", "arguments"), [(">&-", ["hi", "--quiet"]), ("<&- >&-", ["tokens", "hi"]), (">&-", ["--version"])]
)
def test_what_is_said_to_a_closed_stdout_is_an_error(nano: Path, closing: str, arguments: list[str]) -> None:
    shell = ["sh", "-c", f'"$0" -m harmonium "$@" {closing}', sys.executable, *arguments]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.stderr == b"harmonium: The output cannot be written to stdout, which is closed; send it elsewhere.\n"
    assert done.returncode == 10


def test_examples_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    from harmonium.cli.examples import EXAMPLES

    assert main(["examples"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("#")]
    assert lines == [example.command for example in EXAMPLES]
    echo = "harmonium() { printf '%s|' \"$@\"; }; "
    for example in EXAMPLES:
        if not example.follow_up:
            words = subprocess.check_output(["sh", "-c", echo + example.command], text=True).split("|")
            assert words[0] == example.prompt
            assert example.system is None or words[words.index("--system") + 1] == example.system


def test_the_first_question(nano: Path) -> None:
    """make run's question in a process of its own: the answer alone on stdout, the rest on stderr."""
    done = run(QUESTION, "--temperature", "0")
    assert done.returncode == 0, done.stderr
    assert re.search(rb"\b3\b", done.stdout)
    assert b"This is nano" in done.stderr
    assert len(done.stderr.splitlines()) >= 2, "the reasoning is shown"


def test_json_quiet_and_pipes(nano: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([QUESTION, "--json", "--temperature", "0"]) == 0
    out, err = capfd.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert answer["model"] == "nano"
    assert answer["finish_reason"] == "stop"
    assert answer["reasoning"]
    assert answer["usage"]["completion"] == len(answer["token_ids"])
    assert main([QUESTION, "--quiet", "--temperature", "0"]) == 0
    assert capfd.readouterr() == (answer["text"] + "\n", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(QUESTION.encode())))
    assert main(["--quiet", "--temperature", "0"]) == 0
    assert capfd.readouterr() == (answer["text"] + "\n", "")


def test_rules(nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "three.json").write_text('{"enum": [{"n": 3}]}')
    answer = ("--response-format", str(tmp_path / "three.json"), "--reasoning-budget", "4", "--json")
    assert main([QUESTION, "--temperature", "0", *answer]) == 0
    said = json.loads(capfd.readouterr().out)
    assert json.loads(said["text"]) == {"n": 3} and said["is_reasoning_cut"] and not said["is_reasoning_loop"]
    call = ("--tools", "demo", "--tool-choice", "get_price", "--max-tokens", "200")
    assert main(["What is 2 + 2?", "--temperature", "0", *call]) == 0
    assert "→ get_price(" in capfd.readouterr().err
    assert main([QUESTION, "--temperature", "0", "--no-constrained", "--reasoning-budget", "4"]) == 2
    assert "--no-constrained" in capfd.readouterr().err


def test_a_cut_answer_and_a_prompt_past_the_context(nano: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([QUESTION, "--max-tokens", "3", "--temperature", "0"]) == 0
    assert "cut after 3 tokens" in capfd.readouterr().err
    assert main(["word " * 150, "--context", "128"]) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert "128" in err


def test_tools_can_neither_write_to_stdout_nor_end_the_program(
    nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = 'def get_current_weather(city: str) -> str:\n    """Get the current weather in a city."""\n'
    (tmp_path / "tools.py").write_text(f"print('loaded')\n{body}    print('called')\n    raise SystemExit(5)\n")
    options = ["--tools", str(tmp_path / "tools.py"), "--json", "--temperature", "0"]
    assert main(["What is the weather like in Madrid?", *options]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["tool_calls"]
    assert err.splitlines()[:2] == ["loaded", "called"]
    (tmp_path / "tools.py").write_text("import sys\nsys.exit(5)\n")
    assert main(["hello", *options]) == 2
    assert "cannot be used as --tools: SystemExit: 5." in capfd.readouterr().err


def test_damaged_checkpoints(nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("cut", "foreign", "incomplete"):
        shutil.copytree(nano, tmp_path / name)
    weights = next((tmp_path / "cut").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    (tmp_path / "foreign" / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')
    (tmp_path / "incomplete" / "tokenizer.json").unlink()
    for name, says in (("cut", "safetensors"), ("foreign", "llama"), ("incomplete", "tokenizer.json")):
        code = main(["hello", "--model", str(tmp_path / name)])
        out, err = capfd.readouterr()
        assert code in (5, 6), err
        assert (out, says in err, len(err.splitlines())) == ("", True, 1), err


def test_tokens(nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harmonium.harmony.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_file(nano / "tokenizer.json")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say <|end|> twice."}]
    (tmp_path / "talk.json").write_text(json.dumps(messages))
    assert main(["tokens", "--messages", str(tmp_path / "talk.json"), "--effort", "low", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert vocabulary.decode(shown["ids"]) == shown["text"]
    assert [token["id"] for message in shown["messages"] for token in message["tokens"]] == shown["ids"]
    assert shown["ids"].count(vocabulary.special("<|end|>")) == 3, "typed by the user, it is text"
    assert "Reasoning: low" in shown["text"]
    assert [message["role"] for message in shown["messages"]] == ["system", "developer", "user", "assistant"]
    assert main(["tokens", "hello"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^system +\d+ tokens\n +0 +\d+  <\|start\|>$", table, flags=re.MULTILINE)
    assert re.search(r"^\d+ tokens, 3 messages$", table, flags=re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("at", ["harmonium.cli.commands", "torch"])
def test_ctrl_c_ends_a_question_without_a_word(at: str) -> None:
    """At the moment when a module is being imported."""
    code = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from harmonium.cli.main import main
sys.exit(main(["hello", "--dummy", "tiny"]))
"""
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, b"", b"")
