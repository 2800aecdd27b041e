"""The store when many use the same rows at once: turns stand together, nothing fails, nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from harmonium.errors import Unavailable
from harmonium.server import store as store_module
from harmonium.server.store import Database, open_database
from harmonium.server.store_conversations import ConversationStore
from harmonium.server.store_responses import RENEWED_BY_S, ResponseStore
from harmonium.server.store_tables import items, metadata, responses
from tests.server.stored import OWNER, item, response

N_AT_ONCE = 16


def ids_of(body_ids: list[str]) -> list[str]:
    """The responses of items in their order, each once for its two items."""
    assert len(body_ids) % 2 == 0
    pairs = zip(body_ids[::2], body_ids[1::2], strict=True)
    assert all(one.removesuffix("-in") == other.removesuffix("-out") for one, other in pairs), body_ids
    return [one.removesuffix("-in") for one in body_ids[::2]]


def test_turns_at_once_in_a_conversation_stand_together(database: Database) -> None:
    made, conversations = ResponseStore(database), ConversationStore(database)

    async def use() -> None:
        id_ = (await conversations.create(OWNER, {}, []))["id"]
        names = [f"resp_{number}" for number in range(N_AT_ONCE)]
        others = [f"other_{number}" for number in range(N_AT_ONCE)]
        await asyncio.gather(
            *(made.add(OWNER, response(name, conversation=id_)) for name in names),
            *(conversations.add(OWNER, id_, [item(f"{name}-in"), item(f"{name}-out")]) for name in others),
        )
        listed = await conversations.items(OWNER, id_) or []
        assert sorted(ids_of([one.body["id"] for one in listed])) == sorted([*names, *others])

    asyncio.run(use())


def test_a_chain_is_continued_by_many_at_once(database: Database) -> None:
    made = ResponseStore(database)

    async def use() -> None:
        chain = [f"resp_{number}" for number in range(20)]
        for name, previous in zip(chain, [None, *chain], strict=False):
            await made.add(OWNER, response(name, previous))
        soon = update(responses).values(expires_at=time.time() + 60)
        await database.run(lambda connection: connection.execute(soon))
        later = [response(f"later_{n}", chain[-1 - n % 5]) for n in range(2 * N_AT_ONCE)]
        await asyncio.gather(*(made.add(OWNER, one) for one in later))
        for one in later:
            assert (await made.chain(OWNER, one.body["id"])).missing is None

    asyncio.run(use())


def test_what_a_response_continues_is_kept_as_long_and_seldom_written(database: Database) -> None:
    made = ResponseStore(database)

    def expiry(connection: Connection) -> dict[str, float]:
        return {row.id: row.expires_at for row in connection.execute(responses.select())}

    async def use() -> None:
        await made.add(OWNER, response("resp_1"))
        await made.add(OWNER, response("resp_2", "resp_1"))
        first = await database.run(expiry)
        assert 0 <= first["resp_1"] - first["resp_2"] - RENEWED_BY_S < 60
        await made.add(OWNER, response("resp_3", "resp_2"))
        second = await database.run(expiry)
        assert second["resp_1"] == first["resp_1"] and min(second, key=lambda id_: second[id_]) == "resp_3"

    asyncio.run(use())


def test_nothing_is_left_of_a_conversation_that_was_deleted_meanwhile(database: Database) -> None:
    made, conversations = ResponseStore(database), ConversationStore(database)

    async def use() -> None:
        id_ = (await conversations.create(OWNER, {}, []))["id"]
        await made.add(OWNER, response("resp_1", status="in_progress", conversation=id_))
        await conversations.delete(OWNER, id_)
        assert await made.finish(OWNER, response("resp_1", conversation=id_))
        await made.add(OWNER, response("resp_2", conversation=id_))
        chain = await made.chain(OWNER, "resp_2")
        assert [one.body["id"] for one in chain.items] == ["resp_2-in", "resp_2-out"]
        for name in ("resp_1", "resp_2"):
            await made.delete(OWNER, name)
        assert await database.run(lambda connection: [*connection.execute(items.select())]) == []

    asyncio.run(use())


@pytest.mark.parametrize("n_tries", [1, 6])
def test_a_deadlock_is_tried_again(postgres: str, n_tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transactions that lock the same two rows, one from either side."""
    monkeypatch.setattr(store_module, "N_TRIES", n_tries)
    both_have_one = Barrier(2)

    def lock(first: str, second: str, met: list[bool]) -> Any:
        def lock_both(connection: Connection) -> None:
            connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            for name in (first, second):
                connection.execute(update(responses).where(responses.c.id == name).values(status="failed"))
                if not met:
                    met.append(True)
                    both_have_one.wait()

        return lock_both

    database = open_database(postgres)

    async def use() -> None:
        made = ResponseStore(database)
        await asyncio.gather(made.add(OWNER, response("resp_1")), made.add(OWNER, response("resp_2")))
        two = [database.run(lock("resp_1", "resp_2", [])), database.run(lock("resp_2", "resp_1", []))]
        ended = await asyncio.gather(*two, return_exceptions=True)
        assert sorted(type(one) for one in ended if one is not None) == ([Unavailable] if n_tries == 1 else [])

    asyncio.run(use())
    asyncio.run(database.run(metadata.drop_all))
    database.close()
