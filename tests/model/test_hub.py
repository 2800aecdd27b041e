"""Names and paths to folders, with a hub on the loopback that speaks the real one's HTTP."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest

from harmonium.errors import BadCheckpoint, CannotWrite, ModelNotFound
from harmonium.model import checkpoint, config_file, hub
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves folders as repositories. Cuts the connection once, after `cut` bytes of a file, where that is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Path] = {}
        self.requests: list[str] = []
        self.cut: int | None = None
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append(f"{self.command} {path}")
        parts = path.removeprefix("api/models/").split("/")
        repository = self.server.repositories.get("/".join(parts[:2]))
        if self.server.status != 200:
            self.answer(self.server.status, b"{}", {"X-Error-Code": "GatedRepo"} if self.server.status == 403 else {})
        elif repository is None:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif parts[2] == "resolve":
            self.answer_file(repository / "/".join(parts[4:]))
        else:
            files = [file for file in sorted(repository.rglob("*")) if file.is_file()]
            tree = [
                {
                    "type": "file",
                    "path": str(file.relative_to(repository)),
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                }
                for file in files
            ]
            info = {"id": "/".join(parts[:2]), "sha": COMMIT, "siblings": [{"rfilename": f["path"]} for f in tree]}
            self.answer(200, json.dumps(tree if parts[2] == "tree" else info).encode(), {})

    def answer_file(self, file: Path) -> None:
        data = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if start else 200, data[start:], headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body)), "Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and self.server.cut is not None and len(body) > self.server.cut:
            body, self.server.cut = body[: self.server.cut], None
            self.close_connection = True
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has some/gpt-oss, with a published repository's other files and a second copy of the weights."""
    folder = tmp_path / "repository"
    checkpoint.save(folder, TINY.with_layers(1), Dummy(TINY.with_layers(1)).tensors(), max_shard_bytes=300_000)
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja", "README.md"):
        (folder / name).write_text("{}")
    shutil.copytree(folder, folder / "original")
    (folder / "metal").mkdir()
    (folder / "metal" / "model.bin").write_bytes(b"metal")
    server = Hub()
    server.repositories["some/gpt-oss"] = server.repositories["openai/gpt-oss-20b"] = folder
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def test_folders_and_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.resolve(tmp_path) == tmp_path == hub.resolve(str(tmp_path))
    assert hub.NANO_FOLDER.parts[-3:] == ("harmonium", "assets", "nano")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("model", "nano"):
        (tmp_path / name).mkdir()
    assert hub.resolve("~/model") == tmp_path / "model"
    assert hub.resolve("nano") == hub.NANO_FOLDER and hub.resolve("./nano") == Path("nano")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nanno", "did you mean nano?"),
        ("gpt-os-20b", "did you mean gpt-oss-20b?"),
        ("llama", r"'llama'\. Give nano"),
        ("./missing", "Give nano, 20b, 120b, a folder"),
        ("/no/such/folder", "a folder"),
        ("", "There is no model ''"),
        ("~nobody/model", "There is no model"),
        (Path("some/folder"), "a folder"),
        (__file__, "is a file; give the folder"),
    ],
)
def test_what_is_no_model(name: str | Path, words: str) -> None:
    with pytest.raises(ModelNotFound, match=words):
        hub.resolve(name)


@pytest.mark.parametrize("name", ["some/gpt-oss", "gpt-oss-20b", "20b"])
def test_a_download_takes_what_is_needed_once(server: Hub, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hub.resolve(name)
    source = next(iter(server.repositories.values()))
    skipped = {"README.md", "original", "metal"}
    assert {path.name for path in folder.iterdir()} == {path.name for path in source.iterdir()} - skipped
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in folder.iterdir())
    assert checkpoint.open(folder).config == TINY.with_layers(1)
    server.requests.clear()
    assert hub.resolve(name) == folder and not server.requests
    captured = capsys.readouterr()
    assert captured.out == "" and "Fetching" in captured.err


def test_a_cut_download_goes_on(server: Hub) -> None:
    server.cut = 5000
    assert checkpoint.open(hub.resolve("some/gpt-oss")).config == TINY.with_layers(1)
    assert server.cut is None


def test_an_incomplete_download_is_completed(server: Hub) -> None:
    folder = hub.resolve("some/gpt-oss")
    min(folder.glob("*.safetensors")).unlink()
    server.requests.clear()
    assert checkpoint.open(hub.resolve("some/gpt-oss")).config == TINY.with_layers(1)
    assert any("model-00001" in request for request in server.requests)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("openai/gpt-oss-21b", 200, "did you mean openai/gpt-oss-20b"),
        ("nobody/nothing", 200, "hf auth login"),
        ("bad name/x", 200, "There is no 'bad name/x'"),
        ("some/gpt-oss", 403, "owner's leave"),
        ("some/gpt-oss", 400, "cannot be fetched"),
    ],
)
def test_what_the_hub_does_not_give(server: Hub, name: str, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(ModelNotFound, match=words) as raised:
        hub.resolve(name)
    assert "\n" not in str(raised.value)


def test_without_a_network(server: Hub) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelNotFound, match=r"not on this machine and cannot be fetched .*Try again with a network"):
        hub.resolve("some/gpt-oss")


def test_offline_by_wish(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound, match="HF_HUB_OFFLINE"):
        hub.resolve("some/gpt-oss")
    assert not server.requests


def test_no_room_for_it(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(CannotWrite, match="set HF_HOME"):
        hub.resolve("some/gpt-oss")


def test_another_architecture_is_refused_before_its_weights_are_fetched(server: Hub) -> None:
    path = server.repositories["some/gpt-oss"] / "config.json"
    path.write_text(json.dumps(config_file.to_json(TINY, is_packed=True) | {"model_type": "llama"}))
    with pytest.raises(BadCheckpoint, match="model_type is 'llama'"):
        hub.resolve("some/gpt-oss")
    assert not any("safetensors" in request for request in server.requests)


def test_resolving_needs_no_torch() -> None:
    code = "import sys; from harmonium.model import hub; hub.resolve('nano'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
