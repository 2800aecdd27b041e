"""`harmonium serve`, `keys` and `batch` as people run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harmonium.cli import session
from harmonium.cli.batch import keep_answers
from harmonium.cli.main import main
from harmonium.cli.serve import ServeOptions, settings_of
from harmonium.server.run import listen


def line(id_: str, text: str, url: str = "/v1/chat/completions", **more: Any) -> str:
    messages = {"messages": [{"role": "user", "content": text}]} if url.endswith("completions") else {"input": text}
    return json.dumps({"custom_id": id_, "method": "POST", "url": url, "body": messages | more}) + "\n"


def answers(path: Path) -> dict[str, Any]:
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({answer["custom_id"] for answer in told}) == len(told)
    return {answer["custom_id"]: answer["response"] for answer in told}


def test_a_batch_goes_on_where_it_was_stopped(nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    requests, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    first = line("a", "What is 12 + 30?") + line("b", "What is 2 + 2?", model="gpt-4")
    requests.write_text(first)
    assert main(["batch", str(requests), str(out), "--quiet"]) == 1
    told = answers(out)
    assert told["a"]["body"]["choices"][0]["message"]["content"] == "12 + 30 = 42"
    assert (told["b"]["status_code"], told["b"]["body"]["error"]["code"]) == (404, "model_not_found")
    kept = out.read_text()
    passing = json.dumps({"custom_id": "c", "response": {"status_code": 503, "body": {}}})
    out.write_text(f'{kept}{passing}\n{{"custom_id": "d", "resp')
    requests.write_text(first + line("c", "What is 2 + 2?") + "\n" + line("d", "What is 3 + 3?", "/v1/responses"))
    assert main(["batch", str(requests), str(out), "--concurrency", "1"]) == 1
    assert out.read_text().startswith(kept)
    told = answers(out)
    assert {id_: answer["status_code"] for id_, answer in told.items()} == {"a": 200, "b": 404, "c": 200, "d": 200}
    assert "2 of 4 are answered already" in capfd.readouterr().err
    before = out.read_text()
    assert main(["batch", str(requests), str(out)]) == 1 and out.read_text() == before


NO_REQUESTS = (
    ("{", None, "line 1: it is not JSON"),
    ("\n[]", None, "line 3: it is no object"),
    (line("a", "x", "/metrics"), "a", "line 4: its url has to be one of /v1/"),
    (line("b", "x", stream=True), "b", "line 5: a batch waits for whole answers; leave out stream"),
    (line("c", "x", "/v1/responses", background=True), "c", "line 6: a batch waits for whole answers; leave out back"),
    (line("d", "What is 2 + 2? \ud800"), None, ""),
    (line("d", "y"), None, "line 8: it needs a custom_id of its own"),
    ('{"custom_id": "e", "url": "/v1/responses"}', "e", 'line 9: its "body" is no object'),
    (line("f", "x", temperature=float("nan")), "f", "line 10: The body has a nan"),
    (line("g", "x", "/v1/\0"), "g", "line 11: its url has to be one of /v1/"),
)


def test_lines_that_are_no_requests_stop_no_others(nano: Path, tmp_path: Path) -> None:
    requests, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text("".join(text.rstrip("\n") + "\n" for text, _, _ in NO_REQUESTS))
    for _ in range(2):  # the second time it is asked again, and nothing is there twice
        assert main(["batch", str(requests), str(out), "--quiet"]) == 1
        *refused, answered = sorted(map(json.loads, out.read_text().splitlines()), key=lambda one: one["error"] is None)
        assert (answered["custom_id"], answered["response"]["status_code"]) == ("d", 200)
        for answer, (_, id_, says) in zip(refused, [one for one in NO_REQUESTS if one[2]], strict=True):
            assert (answer["custom_id"], answer["response"]) == (id_, None)
            assert says in answer["error"]["message"] and answer["error"]["code"] == "invalid_request_error"


def test_lines_are_all_counted(nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    requests, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(line("a", "2 + 2 = ?") + "x\n" + line("b", "x", temperature=-1))
    for already in ("", "2 of 3 are answered already."):
        assert main(["batch", str(requests), str(out)]) == 1
        told = capfd.readouterr().err
        assert "1 of 3 answered, 2 failed." in told and already in told


@pytest.mark.parametrize("name", ["nowhere/out.jsonl", "."])
def test_answers_that_cannot_be_written_are_told_first(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "open_llm", None)
    requests = tmp_path / "in.jsonl"
    requests.write_text(line("a", "2 + 2 = ?"))
    assert main(["batch", str(requests), str(tmp_path / name)]) == 10
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_ends_a_batch(nano: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    requests, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(line("a", "2 + 2 = ?"))
    out.symlink_to("/dev/full")
    assert main(["batch", str(requests), str(out)]) == 10
    assert "No space left on device" in capfd.readouterr().err


def test_answers_are_one_a_line_whatever_they_say(tmp_path: Path) -> None:
    """Unicode has more ends of lines than a file of answers."""
    path = tmp_path / "out.jsonl"
    body = {"choices": [{"message": {"content": "a\u2028b\x85c"}}]}
    answer = {"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}
    path.write_text(json.dumps(answer, ensure_ascii=False) + "\n", encoding="utf-8")
    assert keep_answers(path) == {"a": True}


def test_keys_are_made_listed_and_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["keys"]) == 0 and "There are no keys" in capfd.readouterr().out
    assert main(["keys", "add", "team"]) == 0
    made = capfd.readouterr()
    key = made.out.strip()
    assert "need no key yet ask for one from now on" in made.err
    assert key.startswith("sk-harmonium-") and key not in (tmp_path / "harmonium" / "keys.json").read_text()
    assert main(["keys", "revoke", "team"]) == 0 and main(["keys"]) == 0
    assert re.search(r"team +made \d{4}-\d\d-\d\d, revoked \d{4}", capfd.readouterr().out)
    assert main(["keys", "revoke", "team"]) == main(["keys", "add"]) == 2


def test_keys_without_names_are_called_the_same_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in {"FIRST": "sk-first", "SECOND": "sk-second", "NAMED": "me=sk-first"}.items():
        monkeypatch.setenv(name, key)
    both = settings_of(ServeOptions(api_key_env=("FIRST", "SECOND"))).api_keys
    [(name, key)] = settings_of(ServeOptions(api_key_env=("SECOND",))).api_keys.items()
    assert both[name] == key == "sk-second"
    assert settings_of(ServeOptions(api_key_env=("NAMED",))).api_keys == {"me": "sk-first"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["short"], "fewer than 8 characters"),
        (["sk-of mine"], "no header can carry"),
        (["me=sk-of-mine", "me=sk-of-yours"], "have keys named 'me'"),
        ([""], "The environment variable KEY_0 is not set"),
    ],
)
def test_mistaken_keys_are_told_without_being_shown(
    keys: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, key in enumerate(keys):
        monkeypatch.setenv(f"KEY_{number}", key)
    options = [word for number in range(len(keys)) for word in ("--api-key-env", f"KEY_{number}")]
    assert main(["serve", *options]) == 2
    told = capfd.readouterr().err
    assert says in told and not any(key in told for key in keys if key)


def test_keys_that_are_all_revoked_are_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["keys", "add", "team"]) == main(["keys", "revoke", "team"]) == 0
    assert f"remove {tmp_path}" in capfd.readouterr().err
    assert main(["serve"]) == 2
    assert "Every key of" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "has no API key"),
        (("--upstream", "x"), "is not NAME=URL"),
        (("--queue", "0"), "--queue is 0; give a positive number"),
        (("--timeout", "0"), "--timeout is 0; give a positive number"),
        (("--timeout", "nan"), "--timeout is nan"),
        (("--max-body-mb", "0"), "--max-body-mb is 0; give a positive number"),
        (("--max-body-mb", "inf"), "--max-body-mb is inf"),
        (("--store-days", "nan"), "--store-days is nan"),
        (("--max-tokens", "0"), "--max-tokens is 0"),
        (("--served-model-name", ""), "--served-model-name is empty"),
        (("--upstream", "x=http://"), "is not NAME=URL"),
        (("--cors-origin", "https://example.com/"), "https://example.com/ is no origin; give scheme and host alone"),
        (("--port", "99999"), "give one from 1 to 65535"),
        (("--host", "192.0.2.1", "--api-key-env", "OF_MINE"), "Cannot listen on 192.0.2.1"),
        (("--store", "nothing://nowhere"), "The store is a file, or a URL"),
        (("nano", "--model", "nano"), "both name a model"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OF_MINE", "sk-of-mine")
    monkeypatch.setattr(session, "open_llm", None)
    port = () if "--port" in arguments else ("--port", "0")
    assert main(["serve", *arguments, *port]) == 2
    assert says in capfd.readouterr().err


def test_what_may_be_otherwise_in_a_minute_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A service is started again after these; and neither costs the time that a model takes to load."""
    monkeypatch.setattr(session, "open_llm", None)
    with listen("127.0.0.1", 0) as taken:
        busy = main(["serve", "--port", str(taken.getsockname()[1])])
    assert "Another program listens" in capfd.readouterr().err
    away = main(["serve", "--port", "0", "--store", "postgresql://nobody@127.0.0.1:9/none"])
    assert "cannot be opened" in capfd.readouterr().err
    assert not {busy, away} & {0, 1, 2, 5, 14}


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from harmonium.cli.main import main; sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 14
    assert "needs the package fastapi" in done.stderr and "pip install 'harmonium[serve]'" in done.stderr


def test_a_server_logs_requests_without_what_they_say(nano: Path) -> None:
    command = [sys.executable, "-m", "harmonium", "serve", "--port", "0", "--api-key-env", "MINE"]
    environment = os.environ | {"MINE": "me=sk-of-mine"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = next(found[1] for text in process.stderr if (found := re.search(r" at (http://\S+:\d+)", text)))
        headers = {"Authorization": "Bearer sk-of-mine", "X-Request-Id": "mine-1"}
        body = {"messages": [{"role": "user", "content": "What is 12 + 30?"}]}
        answer = httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    seen = json.loads(told)
    assert (seen["request_id"], seen["key"], seen["status"]) == ("mine-1", "me", 200)
    assert seen["usage"]["completion"] > 10 and "12 + 30" not in told
