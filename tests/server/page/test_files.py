"""What the page is made of, and how it is served. Needs no browser."""

from __future__ import annotations

import re

import pytest

from harmonium.server.routes.page import VERSION, WEB
from tests.server.conftest import Running

FILES = sorted(path for path in WEB.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def test_it_is_small_and_says_what_each_module_does() -> None:
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400} == {}
    assert [path.name for path in SCRIPTS if max(map(len, path.read_text().splitlines())) > 120] == []
    assert [path.name for path in SCRIPTS if not re.match(r"// [A-Z][^\n]+\n", path.read_text())] == []


def test_it_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    markup = (WEB / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)|javascript:", markup) == []
    loaded = [
        text for path in FILES for text in re.findall(r"(?:src|href|from|url)\W{1,3}https?:[^\s\"']*", path.read_text())
    ]
    assert loaded == []


def test_no_script_writes_markup() -> None:
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    assert {path.name: found for path in SCRIPTS if (found := re.findall(dangerous, path.read_text()))} == {}


def test_every_import_and_every_part_is_there(server: Running) -> None:
    for path in SCRIPTS:
        for name in re.findall(r"from \"(.+?)\"", path.read_text()):
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"
    parts = re.findall(r"(?:src|href)=\"(web/.+?)\"", server.http.get("/").text)
    # Modules are named there, too, so that none waits until another is read.
    assert sorted(parts) == sorted(f"web/{VERSION}/{path.relative_to(WEB)}" for path in FILES if path.suffix != ".html")
    for part in parts:
        assert server.http.get(f"/{part}").content == (WEB / part.split("/", 2)[2]).read_bytes()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        (f"/web/{VERSION}/app.js", "text/javascript; charset=utf-8"),
        (f"/web/{VERSION}/style/base.css", "text/css; charset=utf-8"),
        (f"/web/{VERSION}/icon.svg", "image/svg+xml"),
    ],
)
def test_headers(server: Running, path: str, media_type: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) <= {"'self'", "'none'"}
    assert server.http.head(path).headers["content-length"] == str(len(answer.content))


def test_browsers_keep_the_parts_and_ask_about_the_page(server: Running) -> None:
    page = server.http.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = server.http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert "immutable" in server.http.get(f"/web/{VERSION}/app.js").headers["cache-control"]


@pytest.mark.parametrize("path", ["", "nothing.js", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd"])
def test_nothing_else_is_served(server: Running, path: str) -> None:
    answer = server.http.get(f"/web/{VERSION}/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]
    assert server.http.get("/web/0/app.js").status_code == 404


def test_it_needs_no_key_though_the_server_does(start) -> None:
    with start(api_keys={"me": "sk-secret-1"}) as one:
        assert one.http.get("/").status_code == 200
        assert one.http.get("/v1/models").status_code == 401
