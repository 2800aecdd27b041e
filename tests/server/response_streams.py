"""What every stream of a response has to be: valid types, numbers without a gap, and items that nest and add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from openai.types.responses import Response, ResponseStreamEvent

EVENTS = {
    get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(ResponseStreamEvent)[0])
}
ENDS = ("response.completed", "response.incomplete", "response.failed")
Event = Mapping[str, Any]


def check_response(response: Mapping[str, Any]) -> None:
    """Every key is there, and each value is of the openai package's type."""
    assert not set(Response.model_fields) - set(response)
    Response.model_validate(response, strict=True)


def check_stream(events: Sequence[Event]) -> dict[str, Any]:
    """Asserts all that holds for any stream; returns the response of its last event."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        EVENTS[event["type"]].model_validate(event, strict=True)
        if "response" in event:
            check_response(event["response"])
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in ENDS and not any(event["type"] in ENDS for event in events[:-1])
    assert all(event["response"]["status"] == "in_progress" and not event["response"]["output"] for event in events[:2])
    response: dict[str, Any] = events[-1]["response"]
    assert all(event["response"]["id"] == response["id"] for event in events[:2])
    assert _items(events[2:-1]) == response["output"]
    if response["status"] in ("completed", "incomplete", "failed"):
        assert events[-1]["type"] == f"response.{response['status']}"
    return response


def _items(events: Sequence[Event]) -> list[Any]:
    """The items that events tell, one after the other, each with the events of its kind in their order."""
    items: list[Any] = []
    rest = list(events)
    while rest:
        assert rest[0]["type"] == "response.output_item.added"
        end = next(n for n, event in enumerate(rest) if event["type"] == "response.output_item.done")
        whole, rest = rest[: end + 1], rest[end + 1 :]
        assert {event["output_index"] for event in whole} == {len(items)}
        added, *inner, done = whole
        item = done["item"]
        assert added["item"]["id"] == item["id"] and added["item"]["status"] == "in_progress"
        assert item["status"] in ("completed", "incomplete")
        assert all(event["item_id"] == item["id"] for event in inner)
        _INSIDE[item["type"]](item, inner)
        items.append(item)
    return items


def _message(item: Any, inner: Sequence[Event]) -> None:
    first, *deltas, done, last = inner
    _in_order(first, deltas, done, last, "output_text")
    [part] = item["content"]
    assert part == last["part"] and part["text"] == done["text"] == "".join(event["delta"] for event in deltas)
    assert part["logprobs"] == done["logprobs"] == [one for event in deltas for one in event["logprobs"]]


def _reasoning(item: Any, inner: Sequence[Event]) -> None:
    if not inner:  # it is hidden
        assert item["content"] == item["summary"] == []
        return
    summary = [event for event in inner if "summary" in event["type"]]
    first, *deltas, done, last = [event for event in inner if "summary" not in event["type"]]
    _in_order(first, deltas, done, last, "reasoning_text")
    [part] = item["content"]
    assert part == last["part"] and part["text"] == done["text"] == "".join(event["delta"] for event in deltas)
    if not summary:
        assert item["summary"] == []
        return
    first, *deltas, done, last = summary
    names = [event["type"].removeprefix("response.reasoning_summary_") for event in summary]
    assert names == ["part.added", *["text.delta"] * len(deltas), "text.done", "part.done"]
    [told] = item["summary"]
    assert told == last["part"] and told["text"] == done["text"] == "".join(event["delta"] for event in deltas)


def _call(item: Any, inner: Sequence[Event]) -> None:
    *deltas, done = inner
    names = [event["type"].removeprefix("response.function_call_arguments.") for event in inner]
    assert names == [*["delta"] * len(deltas), "done"]
    assert item["arguments"] == done["arguments"] == "".join(event["delta"] for event in deltas)


def _in_order(first: Event, deltas: Sequence[Event], done: Event, last: Event, kind: str) -> None:
    names = [event["type"] for event in (first, *deltas, done, last)]
    delta, text = f"response.{kind}.delta", f"response.{kind}.done"
    assert names == ["response.content_part.added", *[delta] * len(deltas), text, "response.content_part.done"]
    assert first["part"]["text"] == "" and all(event["content_index"] == 0 for event in (first, *deltas, done, last))


_INSIDE = {"message": _message, "reasoning": _reasoning, "function_call": _call}
