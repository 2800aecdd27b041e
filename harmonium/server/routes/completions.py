"""POST /v1/completions: how texts or ids go on, without a conversation around them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from openai.types import CompletionUsage

from harmonium.chat.completing import Continuation
from harmonium.chat.events import Usage
from harmonium.chat.loop import limit_told, longest_read
from harmonium.chat.options import stop_strings
from harmonium.engine.request import StepOutput
from harmonium.server import sse
from harmonium.server.calls import Call, new_id
from harmonium.server.guarded import Guarded
from harmonium.server.merging import merged
from harmonium.server.serving import Admitted, Server, Serving, warnings
from harmonium.server.wire.completion_answer import Head, Text
from harmonium.server.wire.completion_request import CompletionRequest
from harmonium.server.wire.usage import completion_usage

router = APIRouter(prefix="/v1", tags=["completions"], route_class=Guarded)


@router.post("/completions", response_model=None)
async def create_completion(asked: CompletionRequest, request: Request, server: Server, call: Admitted) -> Response:
    """Continuations of one or several prompts: whole, or with `stream` as server-sent events."""
    if (upstream := server.upstream(asked.model)) is not None:
        return await upstream.forward(request, "/completions")
    answer = await server.llm.read(lambda: _Answer(asked, server, call))
    if asked.stream:
        return await sse.EventStream.begin(answer.stream())
    return JSONResponse(await sse.while_connected(request, answer.whole()))


class _Answer:
    """What one request gets: n texts for each prompt, those of the first prompt first."""

    def __init__(self, asked: CompletionRequest, server: Serving, call: Call) -> None:
        """Raises BadRequest for what cannot be."""
        self._asked, self._server, self._call = asked, server, call
        vocabulary, n = server.llm.llm.vocabulary, asked.n or 1
        context = server.llm.llm.context
        with limit_told(context):
            self._prompts = asked.prompts(vocabulary, longest_read(context))
        self._options = [asked.options(server.llm.llm.turns, number) for number in range(n)]
        stops, shows_special = stop_strings(asked.stop), bool(asked.parse_special)
        n_answers = n * len(self._prompts)
        self._continuations = [Continuation(vocabulary, stops, shows_special=shows_special) for _ in range(n_answers)]
        self._texts = [Text(index, asked.logprobs is not None) for index in range(n_answers)]
        self._head = Head(new_id("cmpl-"), int(time.time()), server.name)
        self._cached = [0] * n_answers

    async def whole(self) -> dict[str, Any]:
        async for _ in self._pieces():
            pass
        return self._head.completion([text.choice for text in self._texts], self._usage(), self._extra())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Events; the first comes when all answers are queued."""
        n_open, is_first = len(self._texts), True
        async for choice in self._pieces():
            n_open -= choice["finish_reason"] is not None
            if choice["text"] or choice["finish_reason"] is not None or is_first:
                yield sse.data(self._head.completion([choice], None, {} if n_open else self._extra()))
            is_first = False
        if self._asked.wants_usage:
            yield sse.data(self._head.completion([], self._usage(), {}))
        yield sse.DONE

    async def _pieces(self) -> AsyncIterator[dict[str, Any]]:
        """Choices, each a further piece of one answer. An answer's first piece is the prompt or empty."""
        if self._asked.n_wanted == 0:
            for text in self._texts:
                yield text.add(self._echo(text.index), (), "length")
            return
        try:
            async with AsyncExitStack() as stack:
                outputs = [await self._begin(stack, text.index) for text in self._texts]
                for text in self._texts:
                    yield text.add(self._echo(text.index), (), None)
                async for index, output in merged(outputs):
                    if output is not None:
                        yield self._take(index, output)
        finally:  # what was computed counts, though its client may have left
            for answers in self._usages():
                for usage in answers:
                    self._call.add(usage)

    async def _begin(self, stack: AsyncExitStack, index: int) -> AsyncIterator[StepOutput]:
        place, number = divmod(index, len(self._options))
        wanted = self._server.llm.generate(
            self._prompts[place], timeout_s=self._server.settings.timeout_s, **self._options[number]
        )
        running = await stack.enter_async_context(AsyncExitStack())
        return self._needed(index, await running.enter_async_context(wanted), running)

    async def _needed(
        self, index: int, outputs: AsyncIterator[StepOutput], running: AsyncExitStack
    ) -> AsyncIterator[StepOutput]:
        """Outputs until the answer is over, which at a stop string is sooner than the engine knows."""
        async for output in outputs:
            yield output
            if self._continuations[index].is_over and output.finish_reason is None:
                await running.aclose()
                return

    def _take(self, index: int, output: StepOutput) -> dict[str, Any]:
        continuation = self._continuations[index]
        self._cached[index] = max(self._cached[index], output.n_cached)
        text, tokens = continuation.take(output)
        return self._texts[index].add(text, tokens, continuation.finish_reason)

    def _echo(self, index: int) -> str:
        if not self._asked.echo:
            return ""
        given = self._asked.prompt
        if isinstance(given, str):
            return given
        return self._server.llm.llm.decode(self._prompts[index // len(self._options)])

    def _usage(self) -> CompletionUsage:
        return completion_usage(self._usages())

    def _usages(self) -> list[list[Usage]]:
        """Of each prompt's answers."""
        n, counts = len(self._options), [one.n_ids for one in self._continuations]
        return [
            [Usage(len(prompt), counts[index], 0, self._cached[index]) for index in range(place * n, (place + 1) * n)]
            for place, prompt in enumerate(self._prompts)
        ]

    def _extra(self) -> dict[str, Any]:
        return warnings(ignored=self._asked.ignored)
