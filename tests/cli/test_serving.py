"""`harmonium serve`, `keys` and `batch` as people run them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harmonium.cli.main import main


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1: it is not JSON"),
        ("\n[]", "line 1: it is no object"),
        (line("a", "x") + line("a", "y"), "line 2: it needs a custom_id of its own"),
        (line("a", "x", "/metrics"), "its url has to be one of /v1/"),
        (line("a", "x", stream=True), "leave out stream"),
    ],
)
def test_what_is_no_batch_is_said_before_anything_is_done(
    text: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(text)
    assert main(["batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]) == 2
    assert says in capfd.readouterr().err and not (tmp_path / "out.jsonl").exists()


def test_keys_are_made_listed_and_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["keys"]) == 0 and "There are no keys" in capfd.readouterr().out
    assert main(["keys", "add", "team"]) == 0
    key = capfd.readouterr().out.strip()
    assert key.startswith("sk-harmonium-") and key not in (tmp_path / "harmonium" / "keys.json").read_text()
    assert main(["keys", "revoke", "team"]) == 0 and main(["keys"]) == 0
    assert re.search(r"team +made \d{4}-\d\d-\d\d, revoked \d{4}", capfd.readouterr().out)
    assert main(["keys", "revoke", "team"]) == main(["keys", "add"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "has no API key"),
        (("--api-key", "short"), "fewer than 8 characters"),
        (("--upstream", "x"), "is not NAME=URL"),
        (("--queue", "0"), "give a positive number"),
        (("--port", "99999"), "give one from 1 to 65535"),
        (("--host", "192.0.2.1", "--api-key", "sk-of-mine"), "Cannot listen on 192.0.2.1"),
        (("nano", "--model", "nano"), "both name a model"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    arguments: tuple[str, ...], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    assert says in capfd.readouterr().err


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from harmonium.cli.main import main; sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 14
    assert "needs the package fastapi" in done.stderr and "pip install 'harmonium[serve]'" in done.stderr


def test_a_server_logs_requests_without_what_they_say(nano: Path) -> None:
    command = [sys.executable, "-m", "harmonium", "serve", "--port", "0", "--api-key", "me=sk-of-mine"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
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
