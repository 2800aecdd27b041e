"""Input items of the Responses API, of every kind and in every state that clients send them, in one form.

`input_items` reads the `input` (or `messages`, in the chat API's form) of a request. Each item comes out as the API
lists it: with a type, an id, a status, and contents as lists of parts. What they mean is for responses_history.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harmonium.errors import BadRequest
from harmonium.harmony.contents import result_parts, text_parts, unread_kinds
from harmonium.harmony.convert import REASONING_KEYS
from harmonium.harmony.schema import compact_json
from harmonium.server.store import is_id

Body = dict[str, Any]
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
ROLES = ("user", "assistant", "system", "developer")
TOOL_ROLES = ("tool", "function")
"""Of the chat API's messages, those of tools."""


def new_id(kind: str) -> str:
    """A new id for an item of a type."""
    return f"{PREFIXES.get(kind, 'item')}_{secrets.token_hex(24)}"


def input_items(given: Any, field: str = "input") -> list[Body]:
    """The items of a text, of a list, of one item alone, or of nothing. Raises BadRequest for what is none of these."""
    if given is None:
        return []
    if isinstance(given, str):
        return [_message("user", [_text_part("user", given)], None)]
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, Sequence):
        raise BadRequest(f"{field} is a text or a list of items, not {type(given).__name__}.", param=field)
    items: list[Body] = []
    for number, item in enumerate(given):
        try:
            items += _items(item)
        except BadRequest as error:
            raise BadRequest(f"{field}[{number}]: {error}", param=f"{field}[{number}]") from None
    return items


def left_out(given: Any) -> list[str]:
    """What tools gave that is no text, as "input_image in function_call_output". given: items, or messages of chat."""
    found: list[str] = []
    for item in given if isinstance(given, Sequence) else ():
        if not isinstance(item, Mapping):
            continue
        where = item["role"] if item.get("role") in TOOL_ROLES else str(item.get("type"))
        if where in TOOL_ROLES or where.endswith("_call_output"):
            found += [f"{kind} in {where}" for kind in unread_kinds(item.get("output", item.get("content")))]
    return list(dict.fromkeys(found))


def _items(item: Any) -> Iterator[Body]:
    if isinstance(item, str):
        item = {"role": "user", "content": item}
    if not isinstance(item, Mapping):
        raise BadRequest(f"An item is an object with a type or a role, not {type(item).__name__}.")
    kind = item.get("type")
    if kind is None and "role" in item:
        kind = "message"
    if kind is None and item.keys() == {"id"}:
        kind = "item_reference"
    if not isinstance(kind, str):
        raise BadRequest("An item has a type, such as message, or a role.")
    if kind == "message":
        yield from _of_message(item)
    elif kind == "reasoning":
        yield _reasoning(item)
    elif kind == "function_call":
        yield _call(item, item.get("call_id") or item.get("id"), item.get("name"), item.get("arguments"))
    elif kind == "function_call_output":
        yield _output(item, item.get("call_id"), item.get("output"))
    elif kind == "item_reference":
        if not isinstance(item.get("id"), str):
            raise BadRequest("An item_reference has the id of a stored item.")
        yield {"type": kind, "id": item["id"]}
    else:
        yield {**item, "id": _id(item, kind)}


def _of_message(item: Mapping[str, Any]) -> Iterator[Body]:
    """A message of this API, or one of the chat API, with what it has besides text."""
    role = item.get("role")
    if role in TOOL_ROLES:
        yield _output(item, item.get("tool_call_id"), item.get("content"))
        return
    if role not in ROLES:
        raise BadRequest(f"{role!r} is no role; it is one of {', '.join(ROLES)}.")
    reasoning = next((item[key] for key in REASONING_KEYS if item.get(key)), None) if role == "assistant" else None
    if reasoning is not None:
        yield _reasoning({"content": reasoning})
    calls = item.get("tool_calls") or () if role == "assistant" else ()
    parts = [_text_part(role, text) for text in text_parts(item.get("content"))]
    if parts or not (calls or reasoning):
        yield _message(role, parts or [_text_part(role, "")], item)
    for call in calls if isinstance(calls, Sequence) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRequest('A tool call is {"id": ..., "function": {"name": ..., "arguments": ...}}.')
        yield _call({}, call.get("id"), function.get("name"), function.get("arguments"))


def _message(role: str, parts: list[Body], item: Mapping[str, Any] | None) -> Body:
    item = item or {}
    message = {"id": _id(item, "message"), "type": "message", "status": _status(item), "role": role, "content": parts}
    return {**message, "phase": item["phase"]} if item.get("phase") in ("commentary", "final_answer") else message


def _text_part(role: str, text: str) -> Body:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _reasoning(item: Mapping[str, Any]) -> Body:
    """A reasoning item; without content it stays without."""
    body: Body = {"id": _id(item, "reasoning"), "type": "reasoning", "summary": _texts(item, "summary", "summary_text")}
    if content := _texts(item, "content", "reasoning_text"):
        body["content"] = content
    sealed = item.get("encrypted_content")
    if not isinstance(sealed, str | None):
        raise BadRequest("encrypted_content is the text that this server gave.")
    return {**body, "status": _status(item), **({"encrypted_content": sealed} if sealed else {})}


def _texts(item: Mapping[str, Any], key: str, kind: str) -> list[Body]:
    return [{"type": kind, "text": text} for text in text_parts(item.get(key)) if text]


def _call(item: Mapping[str, Any], call_id: Any, name: Any, arguments: Any) -> Body:
    if not isinstance(name, str) or not name:
        raise BadRequest("A function_call has the name of its function.")
    if not isinstance(call_id, str | None):
        raise BadRequest("The call_id of a function_call is text.")
    if not isinstance(arguments, str):
        arguments = compact_json({} if arguments is None else arguments)
    body = {
        "id": _id(item, "function_call"),
        "type": "function_call",
        "status": _status(item),
        "call_id": call_id or f"call_{secrets.token_hex(12)}",
        "name": name,
        "arguments": arguments,
    }
    return {**body, "namespace": item["namespace"]} if isinstance(item.get("namespace"), str) else body


def _output(item: Mapping[str, Any], call_id: Any, output: Any) -> Body:
    if not (isinstance(call_id, str) and call_id):
        raise BadRequest("A tool's output has the call_id of the call that it answers.")
    if not isinstance(output, str):
        output = [{"type": "input_text", "text": text} for text in result_parts(output)]
    return {
        "id": _id(item, "function_call_output"),
        "type": "function_call_output",
        "status": _status(item),
        "call_id": call_id,
        "output": output,
    }


def _id(item: Mapping[str, Any], kind: str) -> str:
    """The item's own id, if it is one that the store can hold."""
    return item["id"] if is_id(item.get("id")) else new_id(kind)


def _status(item: Mapping[str, Any]) -> str:
    status = item.get("status")
    return status if status in ("in_progress", "completed", "incomplete") else "completed"
