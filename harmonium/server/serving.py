"""What a server holds, and what every route reaches: Serving. The one place where a request is let in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from shlex import quote
from typing import Annotated, Any, Unpack

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from harmonium.chat.async_llm import AsyncLLM, Tally
from harmonium.chat.events import Done, Event, Repair
from harmonium.chat.options import ChatOptions
from harmonium.chat.turns import Messages
from harmonium.errors import BadRequest, ModelNotFound
from harmonium.harmony.trial import Trial
from harmonium.server.auth import Keyring
from harmonium.server.calls import Call
from harmonium.server.limits import Limits
from harmonium.server.metrics import Metrics
from harmonium.server.settings import Settings
from harmonium.server.state import State
from harmonium.server.upstream import Upstream, Upstreams
from harmonium.server.wire.fields import shown

bearer = APIKeyHeader(name="Authorization", scheme_name="API key", description="Bearer KEY", auto_error=False)


@dataclass(frozen=True)
class Serving:
    """One running server. names: what its model may be called, the first being what answers call it."""

    settings: Settings
    llm: AsyncLLM
    names: tuple[str, ...]
    metrics: Metrics
    keys: Keyring
    limits: Limits
    upstreams: Upstreams
    started: int
    state: State
    trial: Trial

    @property
    def name(self) -> str:
        return self.names[0]

    def check_model(self, name: str | None) -> None:
        """Raises ModelNotFound for a name that is not served; none at all means the model that is.

        BadRequest for one behind an upstream, where what is asked goes no further.
        """
        if name and name not in self.names:
            if (elsewhere := self.upstreams.find(name)) is not None:
                raise BadRequest(
                    f"What is asked here is not sent on to {elsewhere.name}; ask {elsewhere.url} itself.", param="model"
                )
            behind = [f"MODEL:{upstream}" for upstream in self.upstreams.names]
            served = ", ".join([*map(repr, self.names), *behind])
            model, colon, upstream = name.rpartition(":")
            command = f"harmonium serve --upstream {quote(upstream)}=URL" if colon else f"harmonium serve {quote(name)}"
            to_do = f"To reach {model!r} elsewhere" if colon else "To serve it"
            raise ModelNotFound(
                f"There is no model {name!r} here; there is: {served}. {to_do}: {command}", param="model"
            )

    def upstream(self, name: str | None) -> Upstream | None:
        """Where a request for this model goes on to; None where it is served here. Raises ModelNotFound."""
        found = None if name is None or name in self.names else self.upstreams.find(name)
        if found is None:
            self.check_model(name)
        return found

    @asynccontextmanager
    async def turn(
        self, call: Call, messages: Messages, **options: Unpack[ChatOptions]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """`AsyncLLM.turn`, whose calls are handed out, within the server's time. Each event goes to `note`, too."""
        timeout_s = self.settings.timeout_s
        if self.settings.logs_prompts:
            call.notes["messages"] = repr(messages)
        options["run_tools"] = False
        tally = Tally()
        try:
            with self.trial.asked_by(call.key or "") as trial:
                async with self.llm.turn(messages, timeout_s=timeout_s, trial=trial, tally=tally, **options) as events:
                    yield events
        finally:
            if tally.completion and not tally.is_over:  # its client has left, or it failed
                call.add_cut(tally.prompt, tally.completion, tally.cached)

    def note(self, call: Call, event: Event) -> None:
        """Keeps what metrics and log tell of an event of `turn`."""
        if isinstance(event, Repair):
            self.metrics.repaired(event)
        elif isinstance(event, Done):
            call.add(event.usage)
            if self.settings.logs_prompts:
                call.notes["answer"] = self.llm.llm.decode(event.ids)


def serving(request: Request) -> Serving:
    found = request.app.state.serving
    assert isinstance(found, Serving), "the app has started"
    return found


async def here(request: Request) -> Serving:
    """`serving` for FastAPI, which would run that in a thread."""
    return serving(request)


Server = Annotated[Serving, Depends(here)]
"""A route's parameter: the Serving."""


def let_in(request: Request, *, is_limited: bool) -> None:
    """Lets a request in, for as long as its answer lasts. Raises Unauthorized, and Busy past the key's limits."""
    server, call = serving(request), call_of(request)
    call.key = server.keys.name_of(request.headers.get("authorization"))
    if is_limited:
        call.closing.enter_context(server.limits.admitted(call.key))


def call_of(request: Request) -> Call:
    found = request.state.call
    assert isinstance(found, Call), "the middleware has made it"
    return found


async def admit(request: Request, _: Annotated[str | None, Security(bearer)]) -> Call:
    """Of a request that was let in within its key's limits (guarded.py)."""
    return call_of(request)


async def known(request: Request, _: Annotated[str | None, Security(bearer)]) -> Call:
    """Of one that costs nothing: a key is needed, and no limit counts."""
    return call_of(request)


Admitted = Annotated[Call, Depends(admit)]
"""A route's parameter: the request's Call, its key checked and its limits kept."""
Known = Annotated[Call, Depends(known)]
"""The same for what generates nothing."""


def warnings(**found: Sequence[str]) -> dict[str, Any]:
    """The field `harmonium` of an answer: what was not offered, ignored, repaired or cut; nothing where nothing was."""
    told = {name: shown(names) for name, names in found.items() if names}
    return {"harmonium": told} if told else {}
