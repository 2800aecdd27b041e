"""POST /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from openai.types import CompletionUsage

from harmonium.chat.events import Done, Event, FinishReason, ToolCall
from harmonium.chat.options import ChatOptions
from harmonium.errors import BadRequest, RequestFailed
from harmonium.harmony.messages import DeveloperContent
from harmonium.harmony.messages import Message as HarmonyMessage
from harmonium.server import sse
from harmonium.server.calls import Call, new_id
from harmonium.server.errors import error_body
from harmonium.server.guarded import Guarded
from harmonium.server.merging import merged
from harmonium.server.serving import Admitted, Server, Serving, warnings
from harmonium.server.wire.chat_answer import Choice, Chunks, Head, Message, Piece
from harmonium.server.wire.chat_request import ChatRequest
from harmonium.server.wire.fields import CHAT, told_of
from harmonium.server.wire.response_history import ids_of, recollect
from harmonium.server.wire.response_history import messages as read_messages
from harmonium.server.wire.response_items import input_items, left_out
from harmonium.server.wire.tools import Offered, name_of
from harmonium.server.wire.usage import completion_usage

router = APIRouter(prefix="/v1", tags=["chat"], route_class=Guarded)


@router.post("/chat/completions", response_model=None)
async def create_chat_completion(asked: ChatRequest, request: Request, server: Server, call: Admitted) -> Response:
    """An answer to a conversation: whole, or with `stream` as server-sent events."""
    if (upstream := server.upstream(asked.model)) is not None:
        return await upstream.forward(request, "/chat/completions")
    answer = _Answer(asked, server, call)
    if asked.stream:
        return await sse.EventStream.begin(answer.stream(), request if asked.has_grammars else None)
    return JSONResponse(await sse.while_connected(request, answer.whole()))


class _Answer:
    """What one request gets."""

    def __init__(self, asked: ChatRequest, server: Serving, call: Call) -> None:
        """Raises BadRequest for what cannot be."""
        if (asked.messages is None) == (asked.input is None):
            what = "Field required" if asked.input is None else "Leave out input, which is another way to say the same"
            raise BadRequest(f"messages: {what}.", param="messages")
        self._asked, self._server, self._call = asked, server, call
        self._owner = call.key or ""
        self._tools, choice = asked.offered
        self._options = asked.options(self._tools, choice, server.settings)
        self._head = Head(new_id("chatcmpl-"), int(time.time()), server.name)
        self._choices = [self._choice(self._tools) for _ in range(asked.n or 1)]
        self._made: dict[int, ToolCall] = {}  # each choice's last call

    async def whole(self) -> dict[str, Any]:
        messages = [Message() for _ in self._choices]
        async for index, piece in self._pieces():
            if piece is not None:
                messages[index].add(piece)
        return self._head.completion(list(zip(self._choices, messages, strict=True)), self._usage(), self._extra())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Events; the first comes when the request is queued."""
        chunks = Chunks(self._head, has_usage=self._asked.wants_usage)
        n_open = len(self._choices)
        async for index, piece in self._pieces():
            if piece is None:
                n_open -= 1
                yield sse.data(chunks.finish(index, self._choices[index], {} if n_open else self._extra()))
            else:
                yield sse.data(chunks.piece(index, piece))
        if self._asked.wants_usage:
            yield sse.data(chunks.usage(self._usage()))
        yield sse.DONE

    def _choice(self, tools: Offered) -> Choice:
        return Choice(
            frozenset(map(name_of, tools.functions)),
            shows_reasoning=self._asked.shows_reasoning(self._server.settings),
            has_format=self._options.get("response_format") is not None,
            is_legacy=bool(self._asked.functions) and not self._asked.tools,
        )

    async def _pieces(self) -> AsyncIterator[tuple[int, Piece | None]]:
        """What each choice says next, with its number; None is its end."""
        async with AsyncExitStack() as stack:
            messages = await self._messages()
            begun = [await self._begin(stack, messages, number) for number in range(len(self._choices))]
            for number in range(len(begun)):
                yield number, Piece({"role": "assistant", "content": ""})
            if len(begun) == 1:
                async for event in begun[0]:
                    for piece in self._take(0, event):
                        yield 0, piece
                yield 0, None
                return
            async for number, one in merged([self._apart(number, events) for number, events in enumerate(begun)]):
                if one is None:
                    yield number, None
                else:
                    for piece in self._take(number, one):
                        yield number, piece

    async def _apart(self, number: int, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """A choice of several: it fails alone, unless all of them do."""
        try:
            async for event in events:
                yield event
        except (BadRequest, RequestFailed) as error:
            self._choices[number].fail(error_body(error)["error"])
            if all(choice.error is not None for choice in self._choices):
                raise

    async def _messages(self) -> Sequence[Mapping[str, Any] | HarmonyMessage]:
        """What came before, as it was said where this server said it."""
        state = self._server.state
        if self._asked.messages is not None:
            return await state.recall.restored(self._owner, self._asked.messages)
        read = self._server.llm.read
        bodies = await read(lambda: input_items(self._asked.input))
        known = await state.recall.known(self._owner, *ids_of(bodies))
        said = await read(lambda: read_messages(recollect(bodies, (), known, state.seal), state.model))
        if self._asked.instructions is not None:
            said.insert(0, HarmonyMessage.developer(DeveloperContent(instructions=self._asked.instructions)))
        return said

    async def _begin(
        self, stack: AsyncExitStack, messages: Sequence[Mapping[str, Any] | HarmonyMessage], number: int
    ) -> AsyncIterator[Event]:
        """Queues an answer: one of several has a seed of its own, as if it had been asked for alone."""
        options = dict(self._options)
        if self._asked.seed is not None:
            options["seed"] = self._asked.seed + number
        turn = self._server.turn(self._call, messages, **cast(ChatOptions, options))
        with told_of(CHAT):
            return await stack.enter_async_context(turn)

    def _take(self, number: int, event: Event) -> Sequence[Piece]:
        """What a choice says by an event. A turn that goes on with a call's result is remembered, for clients lose its
        reasoning.
        """
        self._server.note(self._call, event)
        if isinstance(event, ToolCall):
            self._made[number] = event
        elif isinstance(event, Done) and event.finish_reason is FinishReason.TOOL_CALLS and number in self._made:
            self._server.state.recall.remember_turn(self._owner, self._made[number], event.messages)
        return self._choices[number].take(event)

    def _usage(self) -> CompletionUsage:
        return completion_usage([[choice.usage for choice in self._choices]])

    def _extra(self) -> dict[str, Any]:
        repairs = [kind for choice in self._choices for kind in choice.repairs]
        not_read = left_out(self._asked.messages or self._asked.input)
        cuts = [choice.reasoning_cut for choice in self._choices if choice.reasoning_cut is not None]
        told = {"not_offered": self._tools.others, "not_read": not_read, "ignored": self._asked.ignored}
        return warnings(**told, repairs=repairs, reasoning_cut=cuts)
