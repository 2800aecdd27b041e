"""What clients lose between two requests, found again: items by their ids, and what led to a call by the call's id.

Stored responses are looked up in the store. Responses that are not to be stored, and the turns of the stateless APIs,
are remembered in this process's memory alone, the newest of them, and only those that wait for a tool's result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

from harmonium.harmony.messages import Message
from harmonium.server import exact_messages
from harmonium.server.store_responses import Item, Known, ResponseStore

MOST_REMEMBERED = 10_000


class Recall:
    """model: whose exact ids are told."""

    def __init__(self, store: ResponseStore, model: str) -> None:
        self.model = model
        self._store = store
        self._recent: OrderedDict[tuple[str, str], tuple[Item, ...]] = OrderedDict()

    def remember(self, owner: str, call_id: str, output: Sequence[Item]) -> None:
        """output: what was said up to the call, which is the last item; in memory only."""
        self._recent[owner, call_id] = tuple(output)
        while len(self._recent) > MOST_REMEMBERED:
            self._recent.popitem(last=False)

    async def known(self, owner: str, ids: Collection[str], call_ids: Collection[str]) -> Known:
        """What is known of these items and calls."""
        recent = {id_: self._recent[owner, id_] for id_ in call_ids if (owner, id_) in self._recent}
        stored = await self._store.known(owner, ids, [id_ for id_ in call_ids if id_ not in recent])
        by_id = {item.body["id"]: item for output in recent.values() for item in output}
        return Known({**by_id, **stored.by_id}, {**recent, **stored.by_call})

    async def turn(self, owner: str, call_id: str) -> tuple[Message, ...]:
        """The messages of the turn up to a call, the call the last; none where the call is not known."""
        output = (await self.known(owner, (), (call_id,))).by_call.get(call_id, ())
        return tuple(message for item in output for message in exact_messages.from_json(item.said or (), self.model))
