"""AsyncLLM: what it gives is what LLM gives, for many at once; leaving a turn ends it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harmonium import LLM, AsyncLLM, BadRequest, PromptTooLong, TimedOut
from harmonium.chat.events import Done, ToolResult
from harmonium.chat.reply import Reply
from harmonium.harmony.convert import conversation

Value = TypeVar("Value")
QUESTIONS = ["What is 12 + 30?", "How many r's are in the word 'strawberry'?", "What is the capital of Peru?"]


def get_current_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"Sunny in {city}, 27 degrees, said {threading.current_thread().name}."


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM()


@pytest.fixture(autouse=True)
def nothing_is_left(llm: LLM) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not llm.engine.has_work
    assert {thread for thread in set(threading.enumerate()) - before if thread.name == "harmonium-engine"} == set()


def run(llm: LLM, work: Callable[[AsyncLLM], Awaitable[Value]]) -> Value:
    async def whole() -> Value:
        async with AsyncLLM(llm) as serving:
            return await work(serving)

    return asyncio.run(whole())


def same(one: Reply, other: Reply) -> bool:
    """Equal but for what the cache had."""
    return (one.token_ids, one.text, one.reasoning, one.finish_reason) == (
        other.token_ids,
        other.text,
        other.reasoning,
        other.finish_reason,
    )


def test_many_at_once_are_each_alone(llm: LLM) -> None:
    alone = [llm.chat(question) for question in QUESTIONS]

    async def all_of(serving: AsyncLLM) -> list[Reply]:
        told = [conversation(QUESTIONS[0]), *QUESTIONS[1:]]
        return list(await asyncio.gather(*(serving.chat(question) for question in told)))

    together = run(llm, all_of)
    assert [same(*pair) for pair in zip(alone, together, strict=True)] == [True] * len(QUESTIONS)


def test_functions_run_in_threads(llm: LLM) -> None:
    async def ask(serving: AsyncLLM) -> list[Any]:
        return [e async for e in serving.stream("What is the weather like in Madrid?", tools=[get_current_weather])]

    events = run(llm, ask)
    [result] = [event for event in events if isinstance(event, ToolResult)]
    assert result.text.startswith("Sunny in Madrid") and "MainThread" not in result.text
    assert "Madrid" in Reply.of(events).text


def test_what_is_asked_is_read_beside_the_event_loop(llm: LLM) -> None:
    """A long prompt, or a large schema, is no pause for other tasks."""
    readers: list[str] = []

    class Noting(list[dict[str, str]]):
        def __iter__(self) -> Iterator[dict[str, str]]:
            readers.append(threading.current_thread().name)
            return super().__iter__()

    asked = Noting([{"role": "user", "content": QUESTIONS[0]}])
    assert run(llm, lambda serving: serving.chat(asked)).text == llm.chat(QUESTIONS[0]).text
    assert readers and all(name.startswith("harmonium-reader") for name in readers)


def test_what_is_short_is_read_at_once(llm: LLM) -> None:
    """The first thread for readers is begun by the first question that is long."""

    before = set(threading.enumerate())

    async def has_readers(serving: AsyncLLM, question: str) -> bool:
        await serving.chat([{"role": "user", "content": question}], max_tokens=2)
        return any(thread.name.startswith("harmonium-reader") for thread in set(threading.enumerate()) - before)

    async def both(serving: AsyncLLM) -> tuple[bool, bool]:
        return await has_readers(serving, QUESTIONS[0]), await has_readers(serving, "Say nothing. " * 200)

    assert run(llm, both) == (False, True)


def test_leaving_a_turn_frees_it(llm: LLM) -> None:
    async def leave(serving: AsyncLLM) -> int:
        n = 0
        async with serving.turn("What is 12 + 30?", effort="high") as events:
            async for _ in events:
                n += 1
                if n == 3:
                    break
        task = asyncio.create_task(serving.chat("What is 12 + 30?", effort="high"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while llm.engine.has_work:
            await asyncio.sleep(0.01)
        return n

    assert run(llm, leave) == 3


def test_what_is_wrong_is_raised_where_a_turn_begins(llm: LLM) -> None:
    async def wrong(serving: AsyncLLM) -> None:
        with pytest.raises(BadRequest, match="There is no option"):
            await serving.chat("x", nonsense=1)  # type: ignore[call-arg]
        with pytest.raises(PromptTooLong):
            async with serving.turn("word " * llm.context):
                raise AssertionError("it cannot begin")
        with pytest.raises(TimedOut):
            await serving.chat("What is 12 + 30?", timeout_s=1e-6)

    run(llm, wrong)


def test_more_tokens_than_the_context_has_means_its_end(llm: LLM) -> None:
    async def ask(serving: AsyncLLM) -> Reply:
        return await serving.chat(QUESTIONS[0], max_tokens=10 * llm.context)

    assert same(run(llm, ask), llm.chat(QUESTIONS[0]))


def test_raw_prompts(llm: LLM) -> None:
    prompt = llm.vocabulary.encode("The capital of France is")
    [alone] = llm.generate([prompt], temperature=0, max_tokens=4)

    async def ask(serving: AsyncLLM) -> list[int]:
        async with serving.generate(prompt, temperature=0, max_tokens=4) as outputs:
            return [id_ async for output in outputs for id_ in output.ids]

    assert run(llm, ask) == alone


class Observer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int, float]] = []
        self.went: list[tuple[int, float]] = []
        self.n_drawn = 0

    def began(self, n_prompt: int, n_cached: int, seconds: float) -> None:
        self.begun.append((n_prompt, n_cached, seconds))

    def went_on(self, n_ids: int, seconds: float) -> None:
        self.went.append((n_ids, seconds))

    def drew(self, n_ids: int) -> None:
        self.n_drawn += n_ids


def test_an_observer_is_told_of_every_token(llm: LLM) -> None:
    observer = Observer()

    async def ask() -> Done:
        async with AsyncLLM(llm, observer) as serving:
            events = [event async for event in serving.stream(QUESTIONS[0])]
            assert isinstance(events[-1], Done)
            return events[-1]

    done = asyncio.run(ask())
    [(n_prompt, n_cached, seconds)] = observer.begun
    assert n_prompt == done.usage.prompt >= n_cached and seconds > 0
    assert observer.n_drawn == done.usage.completion
    assert sum(n_ids for n_ids, _ in observer.went) == done.usage.completion - 1
    assert all(seconds > 0 for _, seconds in observer.went)


@pytest.mark.parametrize("n_read", [0, 1])
def test_a_slow_reader_slows_no_figure(llm: LLM, n_read: int) -> None:
    """Ids are counted when they are drawn, and their times are those between draws. n_read: outputs before it rests."""
    observer = Observer()
    prompt = llm.vocabulary.encode("One two three four")
    [alone] = llm.generate([prompt], temperature=0, max_tokens=20)
    assert len(alone) > 5

    async def ask() -> float:
        async with AsyncLLM(llm, observer) as serving:
            begun = time.monotonic()
            async with serving.generate(prompt, temperature=0, max_tokens=20) as outputs:
                for _ in range(n_read):
                    await anext(outputs)
                while observer.n_drawn < len(alone):
                    await asyncio.sleep(0.01)
                ended = time.monotonic()
                await asyncio.sleep(0.2)
                async for _ in outputs:
                    pass
            return ended - begun

    taken = asyncio.run(ask())
    assert observer.begun[0][2] + sum(seconds for _, seconds in observer.went) <= taken
    assert sum(n_ids for n_ids, _ in observer.went) == len(alone) - 1
