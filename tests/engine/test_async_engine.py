"""Many tasks, one engine in a thread: what each reads is what it gets alone, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harmonium.chat.llm import LLM
from harmonium.engine.async_engine import LONGEST_PAUSE_S, OUTPUTS_PER_S, AsyncEngine
from harmonium.engine.constraint import TableConstraint, body
from harmonium.engine.engine import Engine
from harmonium.engine.request import FinishReason, SamplingParams
from harmonium.errors import BadRequest, Busy, PromptTooLong, RequestFailed
from harmonium.model.transformer import Transformer
from tests.engine.audit import audit
from tests.engine.conftest import Same, prompt

PARAMS = SamplingParams(seed=5, max_tokens=40)
LONG = SamplingParams(seed=5, max_tokens=400)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert all(thread.name.startswith("kernels-") for thread in left), "those of the kernels are the process's"


def assert_all_free(engine: Engine) -> None:
    audit(engine.cache)
    cache = engine.cache
    assert cache.full.n_free == cache.full.n_pages and cache.sliding.n_free == cache.sliding.n_pages
    assert not engine.has_work


async def read(serving: AsyncEngine, ids: Sequence[int], params: SamplingParams, pause_s: float = 0) -> list[int]:
    """All ids of an answer, as they come; the end is said once and last."""
    answer: list[int] = []
    reason = None
    async with serving.stream(ids, params) as outputs:
        async for output in outputs:
            assert reason is None and output.request_id == outputs.request_id
            answer += output.ids
            reason = output.finish_reason
            await asyncio.sleep(pause_s)
    assert reason in (FinishReason.STOP, FinishReason.LENGTH), output.error
    return answer


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_many_tasks_get_what_the_llm_answers_and_some_leave(nano: Path) -> None:
    """32 at once on the embedded model, of which some are cancelled at random moments, and one reads slowly."""
    llm = LLM(nano)
    draw = random.Random(1)
    prompts = [llm.render(f"Spell the word {word}.") for word in ("river", "stone", "cloud", "ember")]
    prompts = [[*prompts[i % 4], *llm.vocabulary.encode(f"{i} ")] for i in range(32)]
    params = SamplingParams(seed=3, temperature=0.7, max_tokens=40, stop_ids=tuple(llm.vocabulary.stop_ids))
    expected = llm.generate(prompts, params)

    async def main() -> list[list[int] | BaseException]:
        async with AsyncEngine(llm.engine) as serving:
            tasks = [
                asyncio.create_task(read(serving, ids, params, pause_s=0.05 if i == 1 else 0))
                for i, ids in enumerate(prompts)
            ]
            others = [asyncio.create_task(read(serving, ids, params)) for ids in prompts[:12]]
            for task in others:
                await asyncio.sleep(draw.random() / 20)
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*others, return_exceptions=True)
            await until(lambda: not llm.engine.has_work)
        return answers

    assert asyncio.run(main()) == expected
    assert_all_free(llm.engine)
    assert llm.generate(prompts[:2], params) == expected[:2], "closed, the engine is free for others"


def test_a_reader_that_sleeps_gets_all_in_one_piece_and_delays_nobody(model: Transformer, same: Same) -> None:
    engine = Engine(model, context=500)
    expected = engine.generate([prompt(20), prompt(30)], LONG)

    async def main() -> None:
        async with AsyncEngine(engine) as serving, serving.stream(prompt(20), LONG) as sleeper:
            other = await read(serving, prompt(30), LONG)
            same(prompt(30), LONG, expected[1].ids, other)
            await until(lambda: not engine.has_work)
            assert_all_free(engine)  # before the sleeper has read a thing
            pieces = [output async for output in sleeper]
            assert len(pieces) == 1 and pieces[0].finish_reason is FinishReason.LENGTH
            same(prompt(20), LONG, expected[0].ids, pieces[0].ids)
            with pytest.raises(StopAsyncIteration):
                await anext(sleeper)

    asyncio.run(main())


def test_joined_outputs_keep_a_logprob_for_every_id(model: Transformer) -> None:
    params = SamplingParams(temperature=0, max_tokens=30, logprobs=2)
    engine = Engine(model, context=100)
    [alone] = engine.generate([prompt(20)], params)

    async def main() -> None:
        async with AsyncEngine(engine) as serving, serving.stream(prompt(20), params) as outputs:
            first = await anext(outputs)
            await until(lambda: not engine.has_work)
            second = await anext(outputs)
            assert first.ids + second.ids == alone.ids and len(second.ids) > 1
            assert [one.id for one in first.logprobs + second.logprobs] == list(alone.ids)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["break", "raise", "cancel", "cancel at once"])
def test_leaving_a_stream_aborts_its_request(model: Transformer, how: str) -> None:
    engine = Engine(model, context=500)

    async def leave(serving: AsyncEngine) -> None:
        async with serving.stream(prompt(20), LONG) as outputs:
            async for _ in outputs:
                if how == "raise":
                    raise ValueError("of the task's own")
                if how == "break":
                    break

    async def main() -> None:
        async with AsyncEngine(engine) as serving:
            task = asyncio.create_task(leave(serving))
            await asyncio.sleep(0 if how == "cancel at once" else 0.05)
            if how.startswith("cancel"):
                task.cancel()
            [found] = await asyncio.gather(task, return_exceptions=True)
            expected = {"break": type(None), "raise": ValueError}.get(how, asyncio.CancelledError)
            assert isinstance(found, expected)
            await until(lambda: not engine.has_work)
            assert_all_free(engine)
            assert len(await read(serving, prompt(20), PARAMS)) == 40

    asyncio.run(main())


def test_what_the_engine_refuses_is_raised_on_entering(model: Transformer) -> None:
    engine = Engine(model, context=200, n_rows=1, queue_limit=1)

    async def main() -> None:
        async with AsyncEngine(engine) as serving:
            for ids, error in (([], BadRequest), ([1] * 300, PromptTooLong)):
                with pytest.raises(error):
                    async with serving.stream(ids, PARAMS):
                        pass
            long = SamplingParams(max_tokens=150)
            async with serving.stream(prompt(20), long) as first:
                await anext(first)
                async with serving.stream(prompt(21), long):
                    with pytest.raises(Busy):
                        async with serving.stream(prompt(22), long):
                            pass

    asyncio.run(main())
    assert_all_free(engine)


def test_a_dead_engine_ends_every_waiter(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model, context=500, n_rows=2)
    schedule, n_steps = engine.scheduler.schedule, iter(range(10**6))

    def dying(**_: bool) -> object:
        if next(n_steps) == 20:
            raise MemoryError("of the host")
        return schedule()

    monkeypatch.setattr(engine.scheduler, "schedule", dying)

    async def main() -> None:
        async with AsyncEngine(engine) as serving:
            tasks = [asyncio.create_task(read(serving, prompt(20 + i), LONG)) for i in range(4)]
            for found in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(found, RequestFailed) and "of the host" in str(found)
            with pytest.raises(RequestFailed, match="has stopped"):
                await read(serving, prompt(20), LONG)

    asyncio.run(main())


def test_closing_ends_the_streams_and_leaves_the_engine_free(model: Transformer) -> None:
    engine = Engine(model, context=500)

    async def main() -> None:
        serving = AsyncEngine(engine)
        tasks = [asyncio.create_task(read(serving, prompt(20 + i), LONG)) for i in range(4)]
        await asyncio.sleep(0.05)
        await asyncio.gather(serving.close(), serving.close())
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, RequestFailed) and "closed" in str(found)
        with pytest.raises(RequestFailed, match="closed"):
            await read(serving, prompt(20), LONG)

    asyncio.run(main())
    assert_all_free(engine)
    assert len(engine.generate([prompt(20)], PARAMS)[0].ids) == 40


def test_loops_in_several_threads_share_an_engine_and_may_die(model: Transformer, same: Same) -> None:
    engine = Engine(model, context=500)
    expected = engine.generate([prompt(20 + i) for i in range(3)], PARAMS)
    serving = AsyncEngine(engine)
    answers: dict[int, list[int]] = {}

    def one(i: int) -> None:
        answers[i] = asyncio.run(read(serving, prompt(20 + i), PARAMS))

    async def leave() -> None:
        await serving.stream(prompt(40), LONG).__aenter__()  # and never comes back

    threads = [threading.Thread(target=one, args=[i]) for i in range(3)]
    threads.append(threading.Thread(target=lambda: asyncio.run(leave())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(until(lambda: not engine.has_work))
    asyncio.run(serving.close())
    for i, answer in enumerate(expected):
        same(prompt(20 + i), PARAMS, answer.ids, answers[i])
    assert_all_free(engine)


def test_a_failing_constraint_ends_its_own_stream(model: Transformer) -> None:
    class Failing:
        def mask(self) -> object:
            raise ValueError("no such grammar")

    def constraint() -> TableConstraint:
        return body(Failing, 500, [3])  # type: ignore[arg-type]

    async def main() -> None:
        async with AsyncEngine(Engine(model, context=500)) as serving:
            good = asyncio.create_task(read(serving, prompt(20), PARAMS))
            async with serving.stream(prompt(20), PARAMS, constraint()) as outputs:
                [end] = [output async for output in outputs]
            assert end.finish_reason is FinishReason.ERROR and "no such grammar" in str(end.error)
            assert len(await good) == 40

    asyncio.run(main())


@pytest.mark.parametrize("n", [1, 40])
def test_ids_of_one_pause_come_together(model: Transformer, n: int) -> None:
    """However fast they are computed; the first and the last wait for nothing."""

    async def counts(serving: AsyncEngine) -> list[int]:
        async with serving.stream(prompt(20), replace(LONG, max_tokens=400 // n)) as outputs:
            return [len(output.ids) async for output in outputs]

    async def main() -> None:
        async with AsyncEngine(Engine(model, context=500)) as serving:
            started = time.monotonic()
            found = await asyncio.gather(*(counts(serving) for _ in range(n)))
            pause_s = min(n / OUTPUTS_PER_S, LONGEST_PAUSE_S)
            most = 3 + (time.monotonic() - started) / pause_s
        assert all(sum(each) == 400 // n and len(each) <= most for each in found)

    asyncio.run(main())


def test_a_loop_that_stands_still_is_called_once(model: Transformer) -> None:
    """A reader that has been woken and has not read yet is not woken again, but for the end."""
    calls: list[tuple[Callable[[object], None], object]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with AsyncEngine(Engine(model, context=500)) as serving, serving.stream(prompt(20), LONG) as outputs:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop, "call_soon_threadsafe", lambda wake, streams: calls.append((wake, streams)))
                time.sleep(0.3)
            for wake, streams in calls:
                wake(streams)
            assert len((await anext(outputs)).ids) > 1
        assert len(calls) <= 2, "for hundreds of ids"

    asyncio.run(main())


def test_torch_is_stepped_in_one_thread_only(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model, context=500)
    threads: set[str] = set()
    run = engine._runner.run

    def noting(*args: object) -> object:
        threads.add(threading.current_thread().name)
        return run(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine._runner, "run", noting)

    async def main() -> None:
        async with AsyncEngine(engine) as serving:
            await asyncio.gather(*(read(serving, prompt(20 + i), PARAMS) for i in range(5)))

    asyncio.run(main())
    assert threads == {"harmonium-engine"}
