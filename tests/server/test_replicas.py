"""Several servers with one PostgreSQL and one key: whichever a client reaches, it finds what the other made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from harmonium.server import background
from tests.server.conftest import Running, Start
from tests.server.test_response_background import LONG, ended, read, until
from tests.server.test_response_state import QUESTION, ask, call_of, output_for, prompt_ids, ways


@pytest.fixture
def pair(start: Start, weights: Loaded, postgres: str, tmp_path: Path) -> Iterator[tuple[Running, Running]]:
    shared = {"store": postgres, "key_file": tmp_path / "key"}
    with start(**shared) as one, start(llm=LLM(weights), **shared) as other:
        yield one, other


def test_a_turn_goes_on_at_another_replica(pair: tuple[Running, Running]) -> None:
    one, other = pair
    first = ask(one, input=[QUESTION], include=["reasoning.encrypted_content"])
    assert read(other, first["id"]) == first
    result = output_for(call_of(first))
    expected = prompt_ids(one, previous_response_id=first["id"], input=[result])
    assert prompt_ids(other, previous_response_id=first["id"], input=[result]) == expected
    for given in ways(first).values():
        assert prompt_ids(other, input=given) == expected
    conversation = other.post("/conversations")["id"]
    ask(one, conversation=conversation, input="Hello")
    assert len(other.http.get(f"/v1/conversations/{conversation}/items").json()["data"]) >= 2


def test_a_response_is_cancelled_through_another_replica(
    pair: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "BEAT_EVERY_S", 0.05)
    one, other = pair
    begun = one.post("/responses", **LONG, background=True)
    assert read(other, begun["id"])["status"] == "in_progress"
    cancelled = other.http.post(f"/v1/responses/{begun['id']}/cancel").json()
    assert cancelled["status"] == "cancelled" == ended(other, begun["id"])["status"]
    until(lambda: not one.llm.engine.scheduler.running, "the end of the request")
    assert ended(one, begun["id"])["status"] == "cancelled"


def test_what_ended_elsewhere_has_ended_here(pair: tuple[Running, Running]) -> None:
    """Cancelled through the other before the next beat, or deleted there when it was over: one answer at both."""
    one, other = pair
    begun = one.post("/responses", **LONG, max_output_tokens=500, background=True)
    assert other.http.post(f"/v1/responses/{begun['id']}/cancel").json()["status"] == "cancelled"
    with one.http.stream("GET", f"/v1/responses/{begun['id']}?stream=true") as events:
        last = [line for line in events.iter_lines() if line.startswith("event: ")][-1]
    assert last == "event: response.failed"
    assert read(one, begun["id"]) == read(other, begun["id"]) and read(one, begun["id"])["status"] == "cancelled"
    done = one.post("/responses", input="Hello", background=True)
    assert ended(one, done["id"])["status"] == "completed"
    assert other.http.delete(f"/v1/responses/{done['id']}").json()["deleted"]
    for way in ("", "?stream=true"):
        assert one.http.get(f"/v1/responses/{done['id']}{way}").status_code == 404
