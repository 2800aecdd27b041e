"""AsyncLLM: the turns of an LLM for any number of asyncio tasks, all in one batch.

    async with AsyncLLM(LLM()) as llm:
        reply = await llm.chat("What is the capital of Australia?")
        async with llm.turn("And of Peru?") as events:
            async for event in events: ...

A turn is queued when its block is entered, which is where what is wrong with it is raised, and what still runs of it is
aborted when the block is left: by its end, an error, or the task's cancellation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, Unpack

from harmonium.chat import functions
from harmonium.chat.driver import failure, generated
from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolResult,
    joined,
)
from harmonium.chat.functions import Function
from harmonium.chat.llm import LLM
from harmonium.chat.loop import Generate, Generated, More, Run, Stop, Turn, limit_told, longest_read
from harmonium.chat.options import ChatOptions, ChatSettings, CompletionOptions, PromptOptions, check, prompt_settings
from harmonium.chat.reply import Reply
from harmonium.chat.restraint import Trial
from harmonium.chat.turns import Messages
from harmonium.engine.async_engine import AsyncEngine, Stream
from harmonium.engine.request import FinishReason as EngineReason
from harmonium.engine.request import SamplingParams, StepOutput
from harmonium.errors import BadRequest, HarmoniumError, TimedOut
from harmonium.harmony.messages import Role

READERS, COMPILERS = 4, 12
"""Threads that read what is asked; others where there is a grammar to compile, which takes longer: MOST_AT_ONCE of them
may wait for one another's grammars (harmony/trial.py), so there are more.
"""
SHORT = 2_000
"""Characters of what is asked that are read in the event loop: that takes as long as to hand them to a thread."""
LONGEST_WORD, A_HEADER = 64, 20
"""Characters of an option's value that may be short, and those that a message counts for besides its text."""
PLAIN = frozenset({"role", "content"})
"""The keys of a message that is nothing but a text."""
Read = TypeVar("Read")


@dataclass
class Tally:
    """What a turn has taken so far, in tokens: its last prompt, its answer, what of the prompt the cache had.

    is_over: its end has told so.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    is_over: bool = False


class Observer(Protocol):
    """Is told how requests to the engine fare; a turn with tools makes several. Times are the engine's: when ids were
    drawn, not when they were read.
    """

    def began(self, n_prompt: int, n_cached: int, seconds: float) -> None:
        """In the event loop: a request's first ids came, so long after it was queued; n_cached: of the prompt's ids."""

    def went_on(self, n_ids: int, seconds: float) -> None:
        """In the event loop: so many ids more, all together so long after those before them."""

    def drew(self, n_ids: int) -> None:
        """In the engine's thread: so many ids of all requests, in one step."""


class AsyncLLM:
    """Takes an LLM's engine until it is closed; nobody else may use that LLM to generate in the meantime.

    priority, of every call: requests of higher priority go first. timeout_s: the whole turn's, queueing included.
    """

    def __init__(self, llm: LLM, observer: Observer | None = None) -> None:
        self.llm = llm
        self.engine = AsyncEngine(llm.engine, None if observer is None else observer.drew)
        self._observer = observer
        self._readers = ThreadPoolExecutor(READERS, "harmonium-reader")
        self._compilers = ThreadPoolExecutor(COMPILERS, "harmonium-compiler")

    async def __aenter__(self) -> AsyncLLM:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what still runs, with RequestFailed."""
        await self.engine.close()
        self._readers.shutdown(wait=False)
        self._compilers.shutdown(wait=False)

    @asynccontextmanager
    async def turn(
        self,
        messages: Messages,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
        trial: Trial | None = None,
        tally: Tally | None = None,
        **options: Unpack[ChatOptions],
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """The assistant's next turn, as events; takes what LLM.chat takes.

        Functions among the tools run in threads, and so is read what was asked, unless it is short: neither a large
        schema nor a long prompt is a pause for others. A max_tokens beyond the context means the context's end. trial:
        what new grammars have to pass before they are compiled. tally: is kept, for who may leave before the end.
        Raises, when entered, BadRequest, PromptTooLong, Busy and what the trial raises; while events are read,
        RequestFailed and TimedOut.
        """
        if _is_short(messages, options):
            settings, begun, wanted = self._begin(messages, options, trial)
        else:
            has_grammars = bool(options.get("tools") or options.get("response_format"))
            threads = self._compilers if has_grammars else self._readers
            settings, begun, wanted = await self._in(threads, lambda: self._begin(messages, options, trial))
        requests = _Requests(self, settings.params, priority, timeout_s, tally or Tally())
        try:
            await requests.begin(wanted)
            yield _events(begun, requests, settings.functions)
        finally:
            await requests.leave()
            begun.close()

    async def read(self, work: Callable[[], Read]) -> Read:
        """What the work returns, done in a thread: for what takes long with what was asked."""
        return await self._in(self._readers, work)

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], Read]) -> Read:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    async def encode(self, text: str, parse_special: bool = False) -> list[int]:
        """A text's ids. Raises PromptTooLong for one that is far too long for the context."""
        most = longest_read(self.llm.context)
        with limit_told(self.llm.context):
            return await self.read(lambda: self.llm.vocabulary.encode(text, parse_special, most))

    async def render(
        self, messages: Messages, *, add_generation_prompt: bool = True, **options: Unpack[PromptOptions]
    ) -> list[int]:
        """The exact prompt that `turn` would give the model. Raises PromptTooLong for one that is far too long."""
        check(options, PromptOptions)
        role = Role.ASSISTANT if add_generation_prompt else None
        most = longest_read(self.llm.context)
        with limit_told(self.llm.context):
            return await self.read(lambda: self.llm.turns.prompt(messages, prompt_settings(options), role, most))

    def _begin(
        self, messages: Messages, options: Mapping[str, Any], trial: Trial | None
    ) -> tuple[ChatSettings, Turn, Generate]:
        """What was asked, its turn, and the turn's first request."""
        settings = self.llm.turns.settings(options)
        turn = self.llm.turns.turn(messages, settings, self.llm.context, trial)
        wanted = turn.send(None)
        assert isinstance(wanted, Generate), "a turn begins by generating"
        return settings, turn, wanted

    async def stream(
        self,
        messages: Messages,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> AsyncGenerator[Event, None]:
        """`turn` as one generator, for a caller that closes it or reads it to its end."""
        async with self.turn(messages, priority=priority, timeout_s=timeout_s, **options) as events:
            async for event in events:
                yield event

    async def chat(
        self,
        messages: Messages,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> Reply:
        """`turn` as a whole."""
        async with self.turn(messages, priority=priority, timeout_s=timeout_s, **options) as events:
            return Reply.of([event async for event in events])

    @asynccontextmanager
    async def generate(
        self,
        prompt: Sequence[int],
        *,
        priority: int = 0,
        timeout_s: float | None = None,
        **options: Unpack[CompletionOptions],
    ) -> AsyncIterator[AsyncIterator[StepOutput]]:
        """What follows a prompt's ids, as they come; raises as `turn` does."""
        check(options, CompletionOptions)
        params = self.llm.turns.params(options)
        requests = _Requests(self, params, priority, timeout_s, Tally())
        try:
            await requests.begin(Generate(prompt, params.max_tokens))
            yield requests.outputs()
        finally:
            await requests.leave()


class _Requests:
    """A turn's requests to the engine, one after the other."""

    def __init__(
        self, llm: AsyncLLM, params: SamplingParams, priority: int, timeout_s: float | None, tally: Tally
    ) -> None:
        self._engine, self._observer = llm.engine, llm._observer
        self._params, self._priority, self.tally = params, priority, tally
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._stream: Stream | None = None
        self._n_prompt, self._is_first, self._last_s = 0, True, 0.0

    async def begin(self, wanted: Generate) -> None:
        """Raises what Engine.add raises."""
        n_left = self._engine.engine.context - len(wanted.prompt)
        n_wanted = wanted.max_tokens
        if n_wanted is not None and 0 < n_left < n_wanted:
            n_wanted = n_left
        params = self._params
        if params.max_tokens != n_wanted:
            params = replace(params, max_tokens=n_wanted)
        timeout_s = None if self._deadline is None else self._deadline - time.monotonic()
        stream = self._engine.stream(
            wanted.prompt, params, wanted.constraint, priority=self._priority, timeout_s=timeout_s
        )
        self._n_prompt, self._is_first, self._last_s = len(wanted.prompt), True, time.monotonic()
        self.tally.prompt = self._n_prompt
        await stream.__aenter__()
        self._stream = stream

    async def next(self) -> StepOutput:
        """Of the request that runs."""
        assert self._stream is not None, "no request has begun"
        output = await anext(self._stream)
        self.tally.completion += len(output.ids)
        self.tally.cached = max(self.tally.cached, output.n_cached)
        if self._observer is not None:
            if self._is_first:
                self._observer.began(self._n_prompt, output.n_cached, self._stream.first_s - self._last_s)
                n_ids, since_s = len(output.ids) - 1, self._stream.first_s
            else:
                n_ids, since_s = len(output.ids), self._last_s
            self._is_first, self._last_s = False, self._stream.drawn_s
            if n_ids > 0 and self._last_s > since_s:  # the first ids may be several, drawn at once
                self._observer.went_on(n_ids, self._last_s - since_s)
        return output

    async def outputs(self) -> AsyncIterator[StepOutput]:
        """All of them. Raises RequestFailed or TimedOut behind the last one of a request that failed."""
        reason = None
        while reason is None:
            output = await self.next()
            reason = output.finish_reason
            yield output
            if reason is EngineReason.ERROR:
                raise self.failure(output.error)

    async def leave(self) -> None:
        """Aborts the request, if it still runs."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.__aexit__()

    def failure(self, error: str | BadRequest | None) -> HarmoniumError:
        """Why a request ended with an error."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TimedOut("The request did not end within its time; ask for less, or allow more time.")
        return failure(error)


def _is_short(messages: Messages, options: Mapping[str, Any]) -> bool:
    """What is asked is SHORT characters of plain text, and no option is more than a word or a number."""
    for value in options.values():
        is_word = isinstance(value, str) and len(value) <= LONGEST_WORD
        is_empty = isinstance(value, (list, tuple)) and not value
        if value is not None and not isinstance(value, (int, float)) and not is_word and not is_empty:
            return False
    if isinstance(messages, str):
        return len(messages) <= SHORT
    n_left = SHORT
    for message in messages if type(messages) is list else (None,):
        text = message.get("content") if isinstance(message, dict) and message.keys() <= PLAIN else None
        if not isinstance(text, str):
            return False
        n_left -= len(text) + A_HEADER
    return n_left >= 0


async def _events(turn: Turn, requests: _Requests, tools: Mapping[str, Function]) -> AsyncIterator[Event]:
    """Of a turn whose first request was queued."""
    output = await requests.next()
    answer: Generated | ToolResult | None = generated(output)
    held: Event | None = None  # to which what follows may be joined, as long as nobody has to wait for it
    while True:
        try:
            said = turn.send(answer)
        except StopIteration:
            return
        answer = None
        if held is not None:
            both = joined(held, said)
            if both is None:
                yield held
            held = both
            if both is not None:
                continue
        match said:
            case Generate() | More():
                if isinstance(said, Generate):
                    await requests.leave()
                    await requests.begin(said)
                output = await requests.next()
                answer = generated(output)
            case Stop():
                await requests.leave()
            case Run(call):
                answer = await asyncio.to_thread(functions.run, tools[call.name], call)
            case ReasoningDelta() | TextDelta() | ToolCallDelta():
                held = said
            case _:
                requests.tally.is_over = isinstance(said, Done)
                yield said
                if isinstance(said, Done) and said.finish_reason is FinishReason.ERROR:
                    raise requests.failure(output.error)
