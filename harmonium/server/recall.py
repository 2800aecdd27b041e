"""What clients lose between two requests, found again: items by their ids, and what led to a call by the call's id.

Stored responses are looked up in the store. Responses that are not to be stored, and the turns of the stateless APIs,
are remembered in this process's memory alone, the newest of them, and only those that wait for a tool's result.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmonium.chat.events import ToolCall
from harmonium.errors import Unavailable
from harmonium.harmony.contents import result_parts
from harmonium.harmony.messages import Message
from harmonium.server import exact_messages
from harmonium.server.plain_json import is_same
from harmonium.server.store_responses import Item, Known, ResponseStore

ChatMessage = Mapping[str, Any]
MOST_BYTES = 16 << 20
"""Of what is remembered, packed."""


class Recall:
    """model: whose exact ids are told."""

    def __init__(self, store: ResponseStore, model: str) -> None:
        self.model = model
        self._store = store
        self._recent: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._n_bytes = 0

    def remember(self, owner: str, call_id: str, output: Sequence[Item]) -> None:
        """output: what was said up to the call, which is the last item; in memory only."""
        packed = zlib.compress(json.dumps([(item.body, item.said) for item in output]).encode(), level=1)
        self._n_bytes += len(packed) - len(self._recent.pop((owner, call_id), b""))
        self._recent[owner, call_id] = packed
        while self._n_bytes > MOST_BYTES:
            _, oldest = self._recent.popitem(last=False)
            self._n_bytes -= len(oldest)

    async def known(
        self, owner: str, ids: Collection[str], call_ids: Collection[str], *, is_needed: bool = True
    ) -> Known:
        """What is known of these items and calls.

        is_needed: a store that fails raises Unavailable; else it knows nothing, which its log says.
        """
        packed = {id_: self._recent[owner, id_] for id_ in call_ids if (owner, id_) in self._recent}
        recent = {id_: _unpacked(output) for id_, output in packed.items()}
        try:
            stored = await self._store.known(owner, ids, [id_ for id_ in call_ids if id_ not in recent])
        except Unavailable:
            if is_needed:
                raise
            stored = Known({}, {})
        by_id = {item.body["id"]: item for output in recent.values() for item in output}
        return Known({**by_id, **stored.by_id}, {**recent, **stored.by_call})

    def remember_turn(self, owner: str, call: ToolCall, messages: Sequence[Message]) -> None:
        """The same for an API without items. messages: the turn's, up to the call."""
        body = {"id": call.id, "type": "function_call", "name": call.name, "arguments": call.arguments}
        self.remember(owner, call.id, [Item(body, exact_messages.to_json(messages, self.model))])

    async def restored(self, owner: str, messages: Sequence[ChatMessage]) -> list[ChatMessage | Message]:
        """A history of the chat API in which turns that this server said are as they were said, with their reasoning,
        where the client sends the call back as it was.
        """
        calls = [call for message in messages if (call := _only_call(message)) is not None]
        found = (await self.known(owner, (), [call["id"] for call in calls], is_needed=False)).by_call
        restored: list[ChatMessage | Message] = []
        recipients: dict[str, str] = {}  # of calls that were restored
        for message in messages:
            call = _only_call(message)
            output = found.get(call["id"], ()) if call is not None else ()
            answered = message.get("tool_call_id")
            if call is not None and output and _is_said(call["function"], output[-1].body):
                said = [one for item in output for one in exact_messages.from_json(item.said or (), self.model)]
                recipients[call["id"]] = said[-1].recipient or ""
                restored += said
            elif message.get("role") == "tool" and answered in recipients:
                parts = result_parts(message.get("content"))
                restored.append(replace(Message.tool(recipients[answered], ""), content=parts))
            else:
                restored.append(message)
        return restored


def _unpacked(packed: bytes) -> tuple[Item, ...]:
    return tuple(Item(body, said) for body, said in json.loads(zlib.decompress(packed)))


def _only_call(message: ChatMessage) -> ChatMessage | None:
    """The call of a message that makes one; this server's never make several."""
    calls = message.get("tool_calls")
    if message.get("role") != "assistant" or not isinstance(calls, list) or len(calls) != 1:
        return None
    [call] = calls
    is_whole = isinstance(call, Mapping) and isinstance(call.get("id"), str)
    return call if is_whole and isinstance(call.get("function"), Mapping) else None


def _is_said(function: ChatMessage, stored: ChatMessage) -> bool:
    """What was said, though the client may have written the arguments anew."""
    return bool(function.get("name") == stored["name"]) and is_same(function.get("arguments"), stored["arguments"])
