"""No body, however broken, is the server's failure: each is a 4xx that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server.settings import Settings
from tests.server.conftest import Running, running
from tests.server.malformed import malformed


@pytest.fixture(scope="module")
def small(weights: Loaded) -> Iterator[Running]:
    """A server whose answers are short, whatever is asked."""
    with running(Settings(), LLM(weights, context=256)) as one:
        yield one


def refused(server: Running, seeds: range) -> None:
    wrong = []
    for seed in seeds:
        path, body = malformed(seed)
        answer = server.http.post(path, content=body)
        said = (answer.json().get("error") or {}) if answer.headers["content-type"] == "application/json" else {}
        is_useful = len(said.get("message", "")) > 15 and set(said) == {"message", "type", "param", "code"}
        if not 400 <= answer.status_code < 500 or not is_useful:
            wrong.append((seed, path, body[:300], answer.status_code, answer.text[:300]))
    assert wrong == []


def test_broken_bodies_are_refused(small: Running) -> None:
    refused(small, range(400))


@pytest.mark.deep
def test_ten_thousand_broken_bodies_are_refused(small: Running) -> None:
    refused(small, range(10_000))
