"""/v1/responses: made whole, as a stream or in the background; read, watched, listed, cancelled, deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from harmonium.errors import BadRequest, NotFound
from harmonium.server import sse
from harmonium.server.calls import Call
from harmonium.server.guarded import Guarded
from harmonium.server.plain_json import Json
from harmonium.server.responding import PROMPT_OPTIONS, Responding, prompt_of
from harmonium.server.serving import Admitted, Known, Server, Serving
from harmonium.server.store_conversations import page
from harmonium.server.store_responses import RUNNING
from harmonium.server.wire.fields import RESPONSES, told_of
from harmonium.server.wire.response_object import listed
from harmonium.server.wire.response_output import Fields
from harmonium.server.wire.response_request import ResponseRequest

router = APIRouter(prefix="/v1/responses", tags=["responses"], route_class=Guarded)

Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]


@router.post("", response_model=None)
async def create_response(asked: ResponseRequest, request: Request, server: Server, call: Admitted) -> Response:
    """A model's response: whole, with `stream` as server-sent events, with `background` to be asked for later."""
    if (upstream := server.upstream(asked.model)) is not None:
        return await upstream.forward(request, "/responses")
    responding = await Responding.prepare(asked, server, owner_of(call))
    if asked.background:
        run = await sse.while_connected(request, server.state.background.begin(responding, call))
        if asked.stream:
            return await sse.EventStream.begin(_written(run.watch()))
        return Json(await run.response())
    if asked.stream:
        return await sse.EventStream.begin(_stream(responding, server, call), request if asked.has_grammars else None)
    return Json(await sse.while_connected(request, _whole(responding, server, call)))


@router.post("/input_tokens")
async def count_input_tokens(asked: ResponseRequest, server: Server, call: Admitted) -> dict[str, Any]:
    """How many tokens the model would be given, without asking it."""
    server.check_model(asked.model)
    prompt = await prompt_of(asked, server, owner_of(call))
    shown = {name: prompt.options[name] for name in PROMPT_OPTIONS}  # type: ignore[literal-required]
    with told_of(RESPONSES):
        ids = await server.llm.render(prompt.messages, **shown)
    return {"object": "response.input_tokens", "input_tokens": len(ids)}


@router.post("/compact")
async def compact(_: Known) -> None:
    """There is no compaction here. Raises NotFound, which says what does its work."""
    raise NotFound(
        "Conversations are not compacted here. Send truncation: auto to leave out the oldest turns where they do not "
        "fit any more, or ask the model for a summary and go on from that."
    )


@router.get("/{response_id}", response_model=None)
async def retrieve_response(
    response_id: str,
    server: Server,
    call: Known,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=-1)] = -1,
) -> Response:
    """A stored response; with `stream` the events of one in the background, behind the one of the given number."""
    run = server.state.background.find(owner_of(call), response_id)
    if run is not None and run.is_stored:  # what became of it is in the store: another server may have deleted it
        found = await _found(server, call, response_id)
    else:
        found = await _found(server, call, response_id) if run is None else await run.response()
    if not stream:
        return Json(found)
    if run is None:
        raise BadRequest(
            f"The events of {response_id} are not kept here: only a response in the background has them, for a while. "
            "Leave out stream to read the response.",
            param="stream",
        )
    events = _written(run.watch(starting_after))
    return sse.EventStream(await anext(events, b": nothing came after that\n\n"), events)


@router.delete("/{response_id}")
async def delete_response(response_id: str, server: Server, call: Known) -> dict[str, Any]:
    """What continues the response can no longer be continued itself."""
    if not await server.state.responses.delete(owner_of(call), response_id):
        raise _not_found(response_id)
    server.state.background.forget(owner_of(call), response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/{response_id}/cancel", response_model=None)
async def cancel_response(response_id: str, server: Server, call: Known) -> Response:
    """Ends a response in the background; one that is cancelled already stays so."""
    state, owner = server.state, owner_of(call)
    run = state.background.find(owner, response_id)
    if run is not None and not run.is_over:
        await state.background.cancel(run)
    found = await _found(server, call, response_id)
    if not found.get("background"):
        raise BadRequest("Only a response in the background can be cancelled; end others by closing the connection.")
    if found["status"] in RUNNING and await state.responses.cancel(owner, response_id):
        found = await _found(server, call, response_id)  # another server of this store computes it, and will hear
    if found["status"] != "cancelled":
        raise BadRequest(f"{response_id} is {found['status']} and cannot be cancelled any more.")
    return Json(found)


@router.get("/{response_id}/input_items", response_model=None)
async def list_input_items(
    response_id: str,
    server: Server,
    call: Known,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "desc",
) -> Response:
    """What the response was given, without what it continues."""
    bodies = await server.state.responses.input_items(owner_of(call), response_id)
    if bodies is None:
        raise _not_found(response_id)
    return Json(listed(page(bodies, after, limit, order == "asc")))


def owner_of(call: Call) -> str:
    """Whose responses and conversations a request can reach."""
    assert call.key is not None, "the request was let in"
    return call.key


async def _whole(responding: Responding, server: Serving, call: Call) -> Mapping[str, Any]:
    """The response object. Raises what made it fail."""
    async with aclosing(_kept(responding, server, call)) as events:
        async for _ in events:
            pass
    if responding.error is not None:
        raise responding.error
    return responding.writer.response


async def _stream(responding: Responding, server: Serving, call: Call) -> AsyncGenerator[bytes, None]:
    async with aclosing(_kept(responding, server, call)) as events:
        async for event in events:
            yield sse.event(event["type"], event)


async def _kept(responding: Responding, server: Serving, call: Call) -> AsyncGenerator[Fields, None]:
    """The events; where the client goes away before the last, the response is cancelled."""
    try:
        async with aclosing(responding.events(call)) as events:
            async for event in events:
                yield event
    finally:
        if responding.writer.has_begun and not responding.is_over:
            server.state.surely(responding.abandon())


async def _written(events: AsyncGenerator[Fields, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield sse.event(event["type"], event)


async def _found(server: Serving, call: Call, response_id: str) -> Mapping[str, Any]:
    found = await server.state.responses.get(owner_of(call), response_id)
    if found is None:
        raise _not_found(response_id)
    return found


def _not_found(response_id: str) -> NotFound:
    return NotFound(
        f"There is no response {response_id!r}: it was not stored, was deleted, or has expired.", param="response_id"
    )
