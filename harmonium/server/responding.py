"""One response from its request to its last event: what came before is fetched, the turn is run, the end is stored.

`Responding.prepare` does what needs no model and raises what is wrong with the request; `events` runs the turn. A
response counts as ended, and its last event is given away, when what is to be stored is stored.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from harmonium.chat.events import Done, FinishReason
from harmonium.chat.options import ChatOptions, prompt_settings
from harmonium.errors import BadRequest, HarmoniumError, NotFound, PromptTooLong, Unavailable
from harmonium.harmony.messages import DeveloperContent, Message, Role
from harmonium.server.calls import Call
from harmonium.server.errors import internal
from harmonium.server.serving import Serving
from harmonium.server.state import State
from harmonium.server.store_responses import Item, Known, StoredResponse
from harmonium.server.wire.fields import RESPONSES, told_of
from harmonium.server.wire.response_events import Writer
from harmonium.server.wire.response_history import ids_of, messages, recollect, unread
from harmonium.server.wire.response_object import Head, Notes
from harmonium.server.wire.response_output import Fields
from harmonium.server.wire.response_request import ResponseRequest
from harmonium.server.wire.tools import name_of

PROMPT_OPTIONS = ("tools", "effort", "response_format")


@dataclass(frozen=True)
class Prompt:
    """What the model is told. given: the items of this request, as they are stored; notes: what became of the rest."""

    messages: list[Message]
    options: ChatOptions
    given: tuple[Item, ...]
    functions: frozenset[str]
    notes: Notes


class Responding:
    """owner: whose response it is. writer: its events and items. is_end_stored: the store knows what became of it."""

    def __init__(self, asked: ResponseRequest, server: Serving, owner: str, prompt: Prompt) -> None:
        self.owner = owner
        self.error: HarmoniumError | None = None
        self.is_over = self.is_end_stored = False
        self._asked, self._server, self._prompt = asked, server, prompt
        self._state: State = server.state
        self._is_kept = False
        tools, _ = asked.offered
        self.head = Head.new(server.name, asked.said_back(server.llm.llm.sampling, server.settings), asked.metadata)
        self.writer = Writer(
            self.head,
            prompt.notes,
            prompt.functions,
            namespaced=tools.namespaced,
            seal=server.state.seal if asked.seals_reasoning else None,
            summarizes=asked.summarizes,
            shows_reasoning=asked.shows_reasoning(server.settings),
            has_format=prompt.options.get("response_format") is not None,
        )

    @staticmethod
    async def prepare(asked: ResponseRequest, server: Serving, owner: str) -> Responding:
        """Raises BadRequest and NotFound for what cannot be."""
        return Responding(asked, server, owner, await prompt_of(asked, server, owner))

    @property
    def has_begun(self) -> bool:
        """Somebody may have heard of it."""
        return self._is_kept or self.writer.has_begun

    async def events(self, call: Call) -> AsyncGenerator[Fields, None]:
        """The response's events; the first comes when the turn is queued, and what is wrong until then is raised.

        Whoever stops before the end calls `abandon`.
        """
        failure: HarmoniumError | None = None
        try:
            async with self._server.turn(call, self._prompt.messages, **self._prompt.options) as said:
                await self._keep_begun()
                for fields in self.writer.begin():
                    yield fields
                async for event in said:
                    self._server.note(call, event)
                    if isinstance(event, Done) and event.finish_reason is FinishReason.ERROR:
                        continue  # why is raised next
                    new = list(self.writer.take(event))
                    for fields in await self._ended(new) if isinstance(event, Done) else new:
                        yield fields
        except HarmoniumError as error:
            if not self.writer.has_begun:
                with told_of(RESPONSES):
                    raise
            failure = error
        except Exception as error:
            if not self.writer.has_begun:
                raise
            failure = internal(error)
        if failure is not None:
            self.error = failure
            for fields in await self.abandon(failure):
                yield fields
        if self.error is not None:
            self._note(call, self.error)

    def _note(self, call: Call, error: HarmoniumError) -> None:
        """For the metrics and the log, which a response in the background has behind it."""
        if self._asked.background:
            self._server.metrics.errors.labels(error.code, "POST").inc()
        else:
            call.notes["code"] = error.code

    async def abandon(self, error: HarmoniumError | None = None) -> Sequence[Fields]:
        """The events of a response that ends early: failed by an error, else cancelled."""
        self.is_over = True
        events = list(self.writer.cancel() if error is None else self.writer.fail(error))
        with suppress(Unavailable):  # the store's log says so; how the response ended has to be told all the same
            await self._keep()
        return events

    async def _ended(self, last: list[Fields]) -> list[Fields]:
        """The last events, once the end is stored; where that fails, those of a failure."""
        self.is_over = True  # whoever cancels from now on is too late
        try:
            is_wanted = await asyncio.shield(self._state.surely(self._keep()))
        except Unavailable as error:
            self.error = error
            return [*last[:-1], *self.writer.fail(error)]
        return last if is_wanted else [*last[:-1], *self.writer.cancel()]

    async def _keep_begun(self) -> None:
        """Others can ask for a response in the background from its beginning."""
        if self._asked.background:
            await self._state.responses.add(self.owner, StoredResponse(self.writer.response, self._prompt.given))
            self._is_kept = True

    async def _keep(self) -> bool:
        """Stores how the response ended, and what of it the next request may need; false where it was cancelled or
        deleted meanwhile."""
        state, body, output = self._state, self.writer.response, tuple(self.writer.items(self._state.model))
        conversation_id = self._asked.conversation_id
        if self._asked.is_stored:
            whole = StoredResponse(body, self._prompt.given, output, conversation_id)
            is_wanted = True
            if self._is_kept:
                is_wanted = await state.responses.finish(self.owner, whole)
            else:
                await state.responses.add(self.owner, whole)
            self.is_end_stored = True
            return is_wanted
        if conversation_id is not None:
            await state.conversations.add(self.owner, conversation_id, [*self._prompt.given, *output])
        for item in output:
            if item.body["type"] == "function_call":
                state.recall.remember(self.owner, item.body["call_id"], output)
        return True


async def prompt_of(asked: ResponseRequest, server: Serving, owner: str) -> Prompt:
    """What a request makes the model read. Raises BadRequest and NotFound."""
    asked.check()
    tools, choice = asked.offered
    bodies = await server.llm.read(lambda: asked.items) if asked.has_many_items else asked.items
    earlier = await _earlier(asked, server.state, owner)
    is_needed = asked.is_stored or any(body["type"] == "item_reference" for body in bodies)
    known = await server.state.recall.known(owner, *ids_of(bodies), is_needed=is_needed)
    given, said = await server.llm.read(lambda: _read(bodies, earlier, known, server.state))
    if asked.instructions is not None:
        said.insert(0, Message.developer(DeveloperContent(instructions=asked.instructions)))
    options = asked.options(tools, choice, server.settings)
    if asked.truncation == "auto":
        everything = said
        with told_of(RESPONSES):
            said = await server.llm.read(lambda: _fitting(everything, server, options))
    return Prompt(
        messages=said or [Message.system()],
        options=options,
        given=tuple(given),
        functions=frozenset(name for name in map(name_of, tools.functions) if name is not None),
        notes=Notes(not_offered=tools.others, not_read=[*unread(given), *asked.left_out], ignored=asked.ignored),
    )


def _read(
    bodies: Sequence[Mapping[str, Any]], earlier: Sequence[Item], known: Known, state: State
) -> tuple[list[Item], list[Message]]:
    """The items of a request, and what they and the earlier ones say; there may be very many."""
    given = recollect(bodies, earlier, known, state.seal)
    return given, messages([*earlier, *given], state.model)


async def _earlier(asked: ResponseRequest, state: State, owner: str) -> list[Item]:
    """The items of what a request continues."""
    if asked.previous_response_id is not None:
        chain = await state.responses.chain(owner, asked.previous_response_id)
        if chain.missing is not None:
            raise _no_previous(asked.previous_response_id, chain.missing)
        if chain.is_running:
            raise BadRequest(
                f"{asked.previous_response_id} is still being made; wait for its end, then continue it.",
                param="previous_response_id",
            )
        return list(chain.items)
    if asked.conversation_id is not None:
        items = await state.conversations.items(owner, asked.conversation_id)
        if items is None:
            raise NotFound(f"There is no conversation {asked.conversation_id!r}.", param="conversation")
        return items
    return []


def _no_previous(response_id: str, missing: str) -> BadRequest:
    what = f"There is no response {response_id!r}"
    if missing != response_id:
        what = f"{response_id!r} continues {missing!r}, which is not there any more"
    error = BadRequest(
        f"{what}: it was not stored, was deleted, or has expired. Send the whole conversation as input.",
        param="previous_response_id",
    )
    error.code = "previous_response_not_found"
    return error


def _fitting(said: list[Message], server: Serving, options: ChatOptions) -> list[Message]:
    """The messages without the oldest turns, as many as there have to be left out for the answer to have room.

    What the developer said at the beginning stays.
    """
    llm = server.llm.llm
    shown = prompt_settings({name: options[name] for name in PROMPT_OPTIONS})  # type: ignore[literal-required]
    room = llm.context - min(options.get("max_tokens") or llm.context // 4, llm.context // 2)
    n_head = next((n for n, message in enumerate(said) if message.role is not Role.DEVELOPER), len(said))
    starts = [n for n, message in enumerate(said) if message.role is Role.USER and n > n_head]
    cuts = [n_head, *starts]

    def is_fitting(cut: int) -> bool:
        kept = [*said[:n_head], *said[cut:]]
        with suppress(PromptTooLong):
            return len(llm.turns.prompt(kept or [Message.system()], shown, most=room)) <= room
        return False

    first = bisect_left(cuts, True, key=is_fitting)
    return [*said[:n_head], *said[cuts[min(first, len(cuts) - 1)] :]]
