"""Input items to the messages that the model reads, with what clients lost on the way put back.

`recollect` replaces references, opens sealed reasoning and gives what this server said before its exact ids again, so
that a turn that goes on is rendered as it was said, whichever way a client carries it: by previous_response_id, by
replaying all items, or by replaying calls and their outputs alone. `messages` makes messages of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmonium.errors import BadRequest, NotFound
from harmonium.harmony.contents import result_parts, text_parts
from harmonium.harmony.messages import Author, Channel, DeveloperContent, Message, Role
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.harmony.schema import compact_json
from harmonium.server import exact_messages
from harmonium.server.plain_json import is_same
from harmonium.server.sealing import Seal
from harmonium.server.store_responses import Item, Known
from harmonium.server.wire.tools import full_name

CALL_PAYLOADS = ("arguments", "input", "action", "operation", "code", "queries", "query")
"""Where calls of tools that are no functions have what was asked for."""
CALL_RESULTS = ("output", "outputs", "results", "result", "error")


def ids_of(bodies: Iterable[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """The ids of items, and of calls, that a store may know something of."""
    bodies = list(bodies)
    said = [body for body in bodies if body["type"] != "message" or body["role"] == "assistant"]
    own = {body["id"] for body in said if body["type"] in ("item_reference", "reasoning", "message")}
    calls = {body["call_id"] for body in bodies if body["type"] in ("function_call", "function_call_output")}
    return own, calls


def recollect(bodies: Sequence[Mapping[str, Any]], earlier: Sequence[Item], known: Known, seal: Seal) -> list[Item]:
    """The items of `bodies`, which stand behind those of `earlier`; what was lost among them is there again.

    Raises NotFound for a reference to nothing, and BadRequest for the output of a call that nobody made.
    """
    made = {item.body.get("call_id") for item in earlier}
    items: list[Item] = []
    for body in bodies:
        kind = body["type"]
        if kind == "item_reference":
            if body["id"] not in known.by_id:
                raise NotFound(
                    f"There is no stored item {body['id']!r}; send the item itself, or store the responses.",
                    param="input",
                )
            stored = known.by_id[body["id"]]
            call_id = stored.body.get("call_id")
            is_call = stored.body["type"] == "function_call" and call_id in known.by_call
            items = _with_call(items, stored.body, known) if is_call else [*items, stored]
            made.add(call_id)
        elif kind == "reasoning":
            items.append(_reasoning(body, known, seal))
        elif kind == "message" and body["role"] == "assistant":
            items.append(_same(body, known.by_id.get(body["id"])))
        elif kind == "function_call":
            items = _with_call(items, body, known)
            made.add(body["call_id"])
        else:
            if kind == "function_call_output" and body["call_id"] not in made:
                items += _lost_call(body, known)
                made.add(body["call_id"])
            items.append(Item(body))
    return items


def messages(items: Sequence[Item], model: str) -> list[Message]:
    """What the model reads. model: whose exact ids are used. Raises BadRequest for images and the like."""
    reader = _Reader(items, model)
    for number, item in enumerate(items):
        try:
            reader.read(number)
        except BadRequest as error:
            raise BadRequest(f"The item {item.body.get('id')}: {error}", param="input") from None
    reader.release()
    return reader.messages


def unread(items: Iterable[Item]) -> list[str]:
    """The types of items that say nothing to the model."""
    kinds = [item.body["type"] for item in items if item.said is None and not _is_read(item.body)]
    return list(dict.fromkeys(kinds))


def text_of(body: Mapping[str, Any]) -> str:
    """What a reasoning item or a message says, empty where it does not tell."""
    if body["type"] == "reasoning":
        return "\n".join(part["text"] for part in body.get("content") or body.get("summary") or ())
    return "".join(text_parts(body.get("content")))


def _reasoning(body: Mapping[str, Any], known: Known, seal: Seal) -> Item:
    """A reasoning item with its text, from wherever it still is."""
    item = known.by_id.get(body["id"])
    if item is not None and item.body["type"] == "reasoning":
        is_same = not body.get("content") or text_of(body) == text_of(item.body)
        if is_same:
            return item
    if body.get("content") or not body.get("encrypted_content"):
        return Item(body)
    opened = seal.open(body["encrypted_content"])
    if not isinstance(opened, str):
        return Item(body)  # sealed elsewhere; a summary may say something
    return Item({**body, "content": [{"type": "reasoning_text", "text": opened}]})


def _same(body: Mapping[str, Any], stored: Item | None) -> Item:
    """The stored item where it says the same, the given one else."""
    is_same = stored is not None and stored.body["type"] == "message" and text_of(stored.body) == text_of(body)
    return stored if stored is not None and is_same else Item(body)


def _with_call(items: list[Item], call: Mapping[str, Any], known: Known) -> list[Item]:
    """The items with a call behind them, and before it what led to it, where the client has lost that."""
    *before, stored = known.by_call.get(call["call_id"], (Item(call),))
    if stored.body["name"] != call["name"] or not is_same(stored.body["arguments"], call["arguments"]):
        return [*items, Item(call)]
    start = len(items)
    while start and _is_thought(items[start - 1]):
        start -= 1
    run = items[start:]
    thoughts, told = _texts(run, "reasoning"), _texts(run, "message")
    if thoughts in ([], _texts(before, "reasoning")) and told in ([], _texts(before, "message")):
        run = list(before) or run
    elif not thoughts:
        run = [*(item for item in before if item.body["type"] == "reasoning"), *run]
    return [*items[:start], *run, stored]


def _lost_call(output: Mapping[str, Any], known: Known) -> Sequence[Item]:
    """The call of an output whose client sends nothing else of it."""
    found = known.by_call.get(output["call_id"])
    if found is None:
        raise BadRequest(
            f"There is no function call with the call_id {output['call_id']!r} before its output; send the call, too, "
            "or previous_response_id.",
            param="input",
        )
    return found


def _is_thought(item: Item) -> bool:
    """May stand between what was asked and a call: reasoning, or a message of the assistant."""
    return item.body["type"] == "reasoning" or (item.body["type"] == "message" and item.body.get("role") == "assistant")


def _texts(items: Iterable[Item], kind: str) -> list[str]:
    return [text for item in items if item.body["type"] == kind and (text := text_of(item.body))]


def _is_read(body: Mapping[str, Any]) -> bool:
    kind = body["type"]
    if kind == "reasoning":
        return bool(text_of(body))
    return kind in ("message", "function_call", "function_call_output") or kind.endswith(("_call", "_call_output"))


class _Reader:
    """Reads items in order. Calls wait for their outputs, so that each is set right before its own."""

    def __init__(self, items: Sequence[Item], model: str) -> None:
        self.messages: list[Message] = []
        self._items, self._model = items, model
        self._waiting: dict[str, tuple[Message, ...]] = {}
        self._recipients: dict[str, str] = {}

    def read(self, number: int) -> None:
        """The item of that number, the next one."""
        body = self._items[number].body
        if body["type"].endswith("_call_output"):
            self._answer(str(body.get("call_id")), result_parts(body.get("output")), body["type"])
        elif body["type"].endswith("_call"):
            self._call(self._items[number])
        else:
            self.release()
            self.messages += self._said(number)

    def release(self) -> None:
        """Calls that nobody answered."""
        self.messages += [message for said in self._waiting.values() for message in said]
        self._waiting.clear()

    def _said(self, number: int) -> Iterable[Message]:
        item = self._items[number]
        body, kind = item.body, item.body["type"]
        if item.said is not None:
            return exact_messages.from_json(item.said, self._model)
        if kind == "reasoning":
            return [Message.analysis(text)] if (text := text_of(body)) else []
        if kind != "message":
            return []
        parts = text_parts(body.get("content"))
        if body["role"] == "user":
            return [Message(Author(Role.USER), parts)]
        if body["role"] in ("system", "developer"):
            return [Message.developer(DeveloperContent(instructions="".join(parts)))]
        phase = body.get("phase")
        is_commentary = phase == "commentary" or (phase is None and self._is_before_call(number + 1))
        channel = Channel.COMMENTARY if is_commentary else Channel.FINAL
        return [Message(Author(Role.ASSISTANT), parts, channel)]

    def _is_before_call(self, number: int) -> bool:
        """Does a call come before anybody else speaks? Then what stands before is a preamble."""
        while number < len(self._items) and _is_thought(self._items[number]):
            number += 1
        return number < len(self._items) and self._items[number].body["type"].endswith("_call")

    def _call(self, item: Item) -> None:
        body = item.body
        call_id = str(body.get("call_id") or body["id"])
        if item.said is not None:
            said = exact_messages.from_json(item.said, self._model)
        elif body["type"] == "function_call":
            namespace = body.get("namespace")
            name = body["name"] if namespace is None else full_name(namespace, body["name"])
            said = (Message.call(name, body["arguments"]),)
        else:
            said = (Message.call(_tool_name(body), _payload(body)),)
        self._recipients[call_id] = said[-1].recipient or ""
        self._waiting[call_id] = said
        results = [body[key] for key in CALL_RESULTS if body.get(key) is not None]
        if body["type"] != "function_call" and results:
            self._answer(call_id, result_parts(results[0]), body["type"])

    def _answer(self, call_id: str, parts: tuple[str, ...], kind: str) -> None:
        """kind: of the item, which names the tool where the call is not there."""
        self.messages += self._waiting.pop(call_id, ())
        recipient = self._recipients.get(call_id) or f"{FUNCTIONS}.{kind.removesuffix('_call_output')}"
        self.messages.append(replace(Message.tool(recipient, ""), content=parts))


def _tool_name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    return name if isinstance(name, str) and name else str(body["type"]).removesuffix("_call")


def _payload(body: Mapping[str, Any]) -> str:
    """What a call of a tool that is no function asked for, as JSON."""
    given = {key: body[key] for key in CALL_PAYLOADS if body.get(key) is not None}
    if set(given) == {"arguments"}:
        arguments = given["arguments"]
        return arguments if isinstance(arguments, str) else compact_json(arguments)
    return compact_json(given)
