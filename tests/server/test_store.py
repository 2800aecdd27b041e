"""The store, on SQLite and on PostgreSQL: what was written is read, by its owner, until it expires."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, text

from harmonium.errors import BadRequest, CannotWrite
from harmonium.harmony.messages import Message
from harmonium.server.exact_messages import from_json, to_json
from harmonium.server.recall import Recall
from harmonium.server.sealing import load_seal
from harmonium.server.store import Database, open_database
from harmonium.server.store_conversations import ConversationStore, page
from harmonium.server.store_responses import STALE_S, Item, ResponseStore, StoredResponse
from harmonium.server.store_tables import VERSION, items, metadata, responses
from harmonium.server.store_tables import store as versions
from tests.server.stored import OTHER, OWNER, item, response


def test_a_response_is_read_as_it_was_written_by_its_owner(database: Database) -> None:
    store, strange = ResponseStore(database), "NUL \x00, half a pair \ud83d, \u2028 and 日本語"

    async def use() -> None:
        await store.add(OWNER, response("resp_1", said=strange))
        found = await store.get(OWNER, "resp_1")
        assert found is not None and found["said"] == strange
        assert [body["id"] for body in await store.input_items(OWNER, "resp_1") or ()] == ["resp_1-in"]
        for id_ in ("resp_2", "resp_1\x00", "x" * 1000, ""):
            assert await store.get(OWNER, id_) is None
            assert await store.input_items(OWNER, id_) is None
            assert not await store.delete(OWNER, id_)
        assert await store.get(OTHER, "resp_1") is None
        assert (await store.chain(OTHER, "resp_1")).missing == "resp_1"
        assert not (await store.known(OTHER, ["resp_1-in"], ())).by_id
        assert not await store.delete(OTHER, "resp_1")
        assert await store.delete(OWNER, "resp_1")
        assert await store.get(OWNER, "resp_1") is None
        assert not (await store.known(OWNER, ["resp_1-in"], ())).by_id

    asyncio.run(use())


def test_a_chain_is_its_items_in_order_and_names_what_is_missing(database: Database) -> None:
    store = ResponseStore(database)

    async def use() -> None:
        for number in range(1, 6):
            await store.add(OWNER, response(f"resp_{number}", f"resp_{number - 1}" if number > 1 else None))
        chain = await store.chain(OWNER, "resp_5")
        expected = [f"resp_{number}-{side}" for number in range(1, 6) for side in ("in", "out")]
        assert chain.missing is None and [it.body["id"] for it in chain.items] == expected
        await store.delete(OWNER, "resp_3")
        assert (await store.chain(OWNER, "resp_5")).missing == "resp_3"
        assert (await store.chain(OWNER, "resp_2")).missing is None

    asyncio.run(use())


def test_what_a_call_followed_is_found_by_its_id_with_its_exact_ids(database: Database) -> None:
    store = ResponseStore(database)
    thought = Item({"id": "rs_1", "type": "reasoning"}, to_json([Message.analysis("a")], "nano"))
    call = Item({"id": "fc_1", "type": "function_call", "call_id": "call_1"}, [{"ids": [1, 2, 3]}])
    replayed = Item({"id": "fc_1", "type": "function_call", "call_id": "call_1", "is": "input"})

    async def use() -> None:
        body = response("resp_1").body
        await store.add(OWNER, StoredResponse(body, (item("msg_1"),), (thought, call)))
        await store.add(OWNER, StoredResponse(response("resp_2").body, (replayed,), (item("msg_2"),)))
        many = [f"none_{number}" for number in range(40_000)]
        known = await store.known(OWNER, [*many, "rs_1", "msg_2", "none"], ["call_1", "call_2"])
        assert known.by_id == {"rs_1": thought, "msg_2": item("msg_2")}
        assert known.by_call == {"call_1": (thought, call)}

    asyncio.run(use())


def test_only_a_running_response_is_finished_cancelled_or_kept_alive(database: Database) -> None:
    store = ResponseStore(database)

    async def use() -> None:
        await store.add(OWNER, response("resp_1", status="in_progress"))
        assert await store.beat(OWNER, "resp_1") and not await store.beat(OTHER, "resp_1")
        assert await store.finish(OWNER, response("resp_1", said="done"))
        found = await store.get(OWNER, "resp_1")
        assert found is not None and (found["status"], found["said"]) == ("completed", "done")
        assert len(await store.input_items(OWNER, "resp_1") or ()) == 1
        assert not await store.cancel(OWNER, "resp_1") and not await store.beat(OWNER, "resp_1")

        await store.add(OWNER, response("resp_2", status="in_progress"))
        assert await store.cancel(OWNER, "resp_2") and not await store.beat(OWNER, "resp_2")
        assert not await store.finish(OWNER, response("resp_2"))
        found = await store.get(OWNER, "resp_2")
        assert found is not None and found["status"] == "cancelled"

        await store.add(OWNER, response("resp_3", status="in_progress"))
        await store.delete(OWNER, "resp_3")
        assert not await store.finish(OWNER, response("resp_3"))
        assert await store.get(OWNER, "resp_3") is None

    asyncio.run(use())


def test_a_response_whose_process_is_silent_has_failed(database: Database) -> None:
    store = ResponseStore(database)

    def age(connection: Connection) -> None:
        connection.execute(responses.update().values(beat_at=time.time() - STALE_S - 1))

    async def use() -> None:
        await store.add(OWNER, response("resp_1", status="in_progress"))
        assert (await store.get(OWNER, "resp_1") or {})["status"] == "in_progress"
        assert (await store.chain(OWNER, "resp_1")).is_running
        await database.run(age)
        found = await store.get(OWNER, "resp_1")
        assert found is not None and found["status"] == "failed" and found["error"]["code"] == "server_error"
        assert not (await store.chain(OWNER, "resp_1")).is_running, "it can be continued"

    asyncio.run(use())


def test_what_expires_is_gone_unless_something_later_needs_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonium.server.store_responses.N_EXPIRED_AT_ONCE", 3)
    short, long = ResponseStore(database, ttl_s=-1.0), ResponseStore(database)

    async def use() -> None:
        await long.add(OWNER, response("resp_1"))
        for number in range(2, 9):
            await short.add(OWNER, response(f"resp_{number}"))
        conversation = await ConversationStore(database).create(OWNER, {}, [])
        await short.add(OWNER, StoredResponse(response("in_conv").body, (), (item("kept"),), conversation["id"]))
        assert await long.get(OWNER, "resp_2") is None
        assert await long.expire() == 8 and await long.expire() == 0
        assert await long.get(OWNER, "resp_1") is not None
        lost = [
            {"id": "lost", "owner": OWNER, "response_id": gone, "is_output": True, "body": {}} for gone in ("x", None)
        ]
        await database.run(lambda connection: connection.execute(insert(items), lost * 4))
        assert await long.expire() == 0
        n_left = await database.run(lambda connection: [*connection.execute(items.select())])
        assert sorted(row.id for row in n_left) == ["kept", "resp_1-in", "resp_1-out"]

        def end_soon(connection: Connection) -> None:
            connection.execute(responses.update().values(expires_at=time.time() + 0.5))

        await database.run(end_soon)
        await long.add(OWNER, response("resp_4", "resp_1"))
        await asyncio.sleep(0.6)
        assert await long.expire() == 0 and (await long.chain(OWNER, "resp_4")).missing is None

    asyncio.run(use())


def test_conversations_keep_their_items_in_order(database: Database) -> None:
    store, made = ConversationStore(database), ResponseStore(database)

    async def use() -> None:
        conversation = await store.create(OWNER, {"topic": "a"}, [item("a")])
        id_ = conversation["id"]
        assert await store.get(OWNER, id_) == conversation and await store.get(OTHER, id_) is None
        assert await store.add(OWNER, id_, [item("b")]) and not await store.add(OTHER, id_, [item("x")])
        both = StoredResponse(response("resp_1").body, (item("c"),), (item("d"),), id_)
        await made.add(OWNER, both)
        assert [it.body["id"] for it in await store.items(OWNER, id_) or ()] == ["a", "b", "c", "d"]
        assert await store.item(OWNER, id_, "b") == item("b").body and await store.item(OTHER, id_, "b") is None
        assert await store.delete_item(OWNER, id_, "b") and not await store.delete_item(OWNER, id_, "b")
        assert await store.delete_item(OWNER, id_, "c")
        assert [body["id"] for body in await made.input_items(OWNER, "resp_1") or ()] == ["c"]
        updated = await store.update(OWNER, id_, {"topic": "b"})
        assert updated == {**conversation, "metadata": {"topic": "b"}} and await store.get(OWNER, id_) == updated
        await made.delete(OWNER, "resp_1")
        assert [it.body["id"] for it in await store.items(OWNER, id_) or ()] == ["a", "d"]
        assert not await store.delete(OTHER, id_) and await store.delete(OWNER, id_)
        assert await store.items(OWNER, id_) is None and not await store.delete(OWNER, id_)
        assert await database.run(lambda connection: [*connection.execute(items.select())]) == []

    asyncio.run(use())


def test_many_writers_at_once_lose_nothing(database: Database) -> None:
    store = ResponseStore(database)

    async def use() -> None:
        await asyncio.gather(*(store.add(OWNER, response(f"resp_{number}")) for number in range(100)))
        found = await asyncio.gather(*(store.get(OWNER, f"resp_{number}") for number in range(100)))
        assert [body and body["id"] for body in found] == [f"resp_{number}" for number in range(100)]

    asyncio.run(use())


def test_servers_that_start_at_once_share_their_tables(database: Database, place: Any) -> None:
    for _ in range(3):
        asyncio.run(database.run(metadata.drop_all))
        with ThreadPoolExecutor(6) as threads:
            opened = list(threads.map(lambda _: open_database(place), range(6)))
        asyncio.run(ResponseStore(opened[0]).add(OWNER, response("resp_1")))
        assert asyncio.run(ResponseStore(opened[-1]).get(OWNER, "resp_1")) is not None
        for one in opened:
            one.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    store = ResponseStore(database)
    broken = StoredResponse(response("resp_1").body, (Item({"type": "message"}),))

    async def use() -> None:
        with pytest.raises(KeyError):
            await store.add(OWNER, broken)
        assert await store.get(OWNER, "resp_1") is None

    asyncio.run(use())


def test_sqlite_keeps_a_log_beside_its_file_and_syncs_every_commit(tmp_path: Path) -> None:
    database = open_database(tmp_path / "folder" / "store.db")

    def pragma(name: str) -> Callable[[Connection], Any]:
        return lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar_one()

    assert asyncio.run(database.run(pragma("journal_mode"))) == "wal"
    assert asyncio.run(database.run(pragma("synchronous"))) == 2
    database.close()


def test_a_store_that_cannot_be_is_said_so(tmp_path: Path) -> None:
    for place in ("mystery://host/name", "sqlite3:///x", "://"):
        with pytest.raises(BadRequest, match="The store is a file, or a URL"):
            open_database(place)
    with pytest.raises(CannotWrite, match="cannot be opened"):
        open_database(f"postgresql://nobody@/none?host={tmp_path}")
    (tmp_path / "taken").mkdir()
    with pytest.raises(CannotWrite, match="cannot be opened"):
        open_database(tmp_path / "taken")


def test_a_file_that_is_no_store_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("No database, but a text that is long enough to be read as the head of one. " * 2)
    with pytest.raises(CannotWrite, match="cannot be opened: file is not a database"):
        open_database(tmp_path / "text")


def test_tables_of_another_version_are_refused_and_those_of_none_are_the_first(place: Any, database: Database) -> None:
    store = ResponseStore(database)

    async def set_to(version: int | None) -> None:
        await database.run(lambda connection: connection.execute(delete(versions)))
        if version is not None:
            await database.run(lambda c: c.execute(insert(versions).values(version=version, checked_at=0.0)))

    asyncio.run(store.add(OWNER, response("resp_1")))
    asyncio.run(set_to(VERSION + 1))
    with pytest.raises(BadRequest, match=f"version {VERSION + 1}, and this Harmonium reads version {VERSION}"):
        open_database(place)
    asyncio.run(database.run(lambda connection: versions.drop(connection)))
    again = open_database(place)
    assert asyncio.run(ResponseStore(again).get(OWNER, "resp_1")) is not None
    again.close()
    open_database(place).close()


@pytest.mark.skipif(os.name != "posix", reason="files have no modes")
def test_what_is_stored_is_its_owners_to_read(tmp_path: Path) -> None:
    database = open_database(tmp_path / "folder" / "store.db")
    asyncio.run(ResponseStore(database).add(OWNER, response("resp_1")))
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == ["store.db", "store.db-shm", "store.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    database.close()


@given(st.lists(st.integers()), st.integers(1, 9), st.booleans())
def test_pages_in_a_row_are_the_list(numbers: list[int], limit: int, is_ascending: bool) -> None:
    bodies = [{"id": str(at), "n": number} for at, number in enumerate(numbers)]
    read: list[Any] = []
    after, has_more = None, True
    while has_more:
        part = page(bodies, after, limit, is_ascending)
        assert len(part.items) <= limit
        read += part.items
        after, has_more = (part.items[-1]["id"] if part.items else None), part.has_more
    assert read == (bodies if is_ascending else bodies[::-1])


def test_sealed_values_open_with_the_same_key_alone(tmp_path: Path) -> None:
    first, again, other = (
        load_seal(tmp_path / "a" / "key"),
        load_seal(tmp_path / "a" / "key"),
        load_seal(tmp_path / "b"),
    )
    secret = "the reasoning, \ud83d half a pair too"
    sealed = first.close({"text": secret})
    assert again.open(sealed) == {"text": secret}
    assert "reasoning" not in sealed and first.close({"text": secret}) != sealed
    assert other.open(sealed) is None
    for foreign in ("", "gAAAAA", sealed[:-4], sealed[:30] + "A" + sealed[31:], "日本", "\ud83d"):
        assert first.open(foreign) is None
    assert stat.S_IMODE(os.stat(tmp_path / "a" / "key").st_mode) == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["key"]


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    with pytest.raises(BadRequest, match="remove its file"):
        load_seal(tmp_path / "key")
    with pytest.raises(CannotWrite, match="key file"):
        load_seal(tmp_path / "key" / "below")


@given(st.text(), st.lists(st.integers(0, 2**31 - 1), min_size=1))
def test_messages_keep_their_ids_for_their_own_model(said: str, ids: list[int]) -> None:
    exact = Message.call("f", said).with_ids(ids)
    [same], [other] = from_json(to_json([exact], "a"), "a"), from_json(to_json([exact], "a"), "b")
    assert (same, same.ids) == (exact, exact.ids)
    assert (other, other.ids) == (exact, None)


def test_what_is_not_stored_is_remembered_in_memory_alone(database: Database) -> None:
    store = ResponseStore(database)
    recall = Recall(store, "nano")
    call = Item({"id": "fc_1", "call_id": "call_1"}, to_json([Message.call("f", "{}")], "nano"))

    async def use() -> None:
        recall.remember(OWNER, "call_1", [item("rs_1"), call])
        assert (await recall.known(OWNER, ["rs_1"], ["call_1"])).by_call == {"call_1": (item("rs_1"), call)}
        assert not (await recall.known(OTHER, ["rs_1"], ["call_1"])).by_call
        assert await database.run(lambda connection: [*connection.execute(items.select())]) == []

    asyncio.run(use())


def test_the_newest_turns_are_remembered_in_bounded_memory(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonium.server.recall.MOST_BYTES", 5000)
    recall = Recall(ResponseStore(database), "nano")
    for number in range(200):
        recall.remember(OWNER, f"call_{number % 150}", [item(f"rs_{number}", text=str(range(number)))])

    async def use() -> None:
        known = await recall.known(OWNER, (), [f"call_{number}" for number in range(150)])
        kept = [f"call_{number % 150}" for number in range(200)][-len(known.by_call) :]
        assert 20 < len(known.by_call) < 100 and set(known.by_call) == set(kept)
        assert known.by_call["call_49"][0].body["id"] == "rs_199"

    asyncio.run(use())
