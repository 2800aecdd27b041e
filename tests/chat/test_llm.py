"""LLM on a small random model: whole and streamed, alone and together, stopped, shared and refused."""

import json
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harmonium import LLM, SamplingParams
from harmonium.chat.events import Done, Event, FinishReason, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage
from harmonium.chat.loading import Loaded
from harmonium.chat.reply import Reply
from harmonium.errors import RequestFailed
from harmonium.harmony.messages import Conversation, Effort, Message

Say = Callable[..., None]
ASKED = [f"What is {n} + {n}?" for n in range(5)]
CALL = '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 2, "b": 3}<|call|>'
FINAL = "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>It is 5.<|return|>"


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def without_ids(events: list[Event]) -> list[Event]:
    """Calls get random ids, and what was asked before is in the cache."""
    plain: list[Event] = []
    for event in events:
        match event:
            case ToolCall():
                plain.append(replace(event, id=""))
            case ToolCallDelta():
                plain.append(replace(event, call_id=""))
            case Done():
                plain.append(replace(event, usage=replace(event.usage, cached=0)))
            case _:
                plain.append(event)
    return plain


@pytest.mark.parametrize("seed", range(4))
def test_streamed_is_whole_and_a_batch_is_its_parts(llm: LLM, seed: int) -> None:
    options: dict[str, Any] = {"seed": seed, "max_tokens": 40, "tools": [add]}
    alone = [llm.chat(question, **options) for question in ASKED]
    streamed = [list(llm.stream(question, **options)) for question in ASKED]
    together = llm.chat(ASKED, **options)
    for one, events, other in zip(alone, streamed, together, strict=True):
        assert one.token_ids == other.token_ids == Reply.of(events).token_ids
        assert (one.text, one.reasoning, one.messages) == (other.text, other.reasoning, other.messages)
        assert replace(one.usage, cached=0) == replace(other.usage, cached=0)
        assert one.text == "".join(e.text for e in events if isinstance(e, TextDelta) and e.channel == "final")
        assert one.reasoning == "".join(e.text for e in events if isinstance(e, ReasoningDelta))
        assert isinstance(events[-1], Done) and events[-1].usage.completion == len(one.token_ids) <= 40
        assert one.usage.prompt >= len(llm.render(ASKED[0], tools=[add]))


def test_a_turn_with_a_function(llm: LLM, say: Say) -> None:
    say(CALL, FINAL)
    whole = llm.chat("What is 2 + 3?", tools=[add])
    assert (whole.text, whole.reasoning, whole.finish_reason) == ("It is 5.", "Easy.", FinishReason.STOP)
    assert [(call.name, call.arguments) for call in whole.tool_calls] == [("add", '{"a": 2, "b": 3}')]
    assert [(result.text, result.is_error) for result in whole.tool_results] == [("5", False)]
    assert whole.messages[1] == Message.tool("functions.add", "5")
    say(CALL, FINAL)
    events = list(llm.stream("What is 2 + 3?", tools=[add]))
    assert [type(event).__name__ for event in events if isinstance(event, ToolCall | Done)] == ["ToolCall", "Done"]
    assert Reply.of(events).messages == whole.messages


def test_a_call_is_handed_out_answered_and_gone_on_with(llm: LLM, say: Say) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is 2 + 3?"}]
    say(CALL)
    reply = llm.chat(messages, tools=[add], run_tools=False)
    assert reply.finish_reason is FinishReason.TOOL_CALLS
    [call] = reply.pending_calls
    first = llm.render(messages, tools=[add])
    messages += [*reply.messages, call.answer(str(add(**json.loads(call.arguments))))]
    assert llm.render(messages, tools=[add])[: len(first) + len(reply.token_ids)] == [*first, *reply.token_ids]
    say(FINAL)
    assert llm.chat(messages, tools=[add], run_tools=False).text == "It is 5."


def test_descriptions_are_handed_out_and_functions_run(llm: LLM, say: Say) -> None:
    described = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    say(CALL)
    assert llm.chat("2 + 3?", tools=[described]).finish_reason is FinishReason.TOOL_CALLS
    say(CALL, CALL)
    rounds = llm.chat("2 + 3?", tools=[add], max_tool_rounds=1)
    assert rounds.finish_reason is FinishReason.TOOL_ROUNDS and len(rounds.pending_calls) == 1


def test_max_tokens_are_of_all_rounds(llm: LLM, say: Say) -> None:
    say(CALL, FINAL)
    n_called = len(llm.vocabulary.encode(CALL, parse_special=True))
    reply = llm.chat("What is 2 + 3?", tools=[add], max_tokens=n_called + 4)
    assert (reply.finish_reason, reply.usage.completion) == (FinishReason.LENGTH, n_called + 4)


def test_a_tool_may_ask_the_same_model(llm: LLM, say: Say) -> None:
    def ask(question: str) -> str:
        """Asks someone."""
        return llm.chat(question).text

    say(CALL.replace("add", "ask").replace('{"a": 2, "b": 3}', '{"question": "2 + 3?"}'), FINAL, FINAL)
    reply = llm.chat("What is 2 + 3?", tools=[ask])
    assert [result.text for result in reply.tool_results] == ["It is 5."]
    assert reply.text == "It is 5."


def test_a_generation_that_goes_too_far_is_aborted(llm: LLM, say: Say) -> None:
    say(FINAL.replace("<|return|>", "<|end|><|start|>user<|message|>And 3 + 4?<|end|>" * 20))
    for event in llm.stream("What is 2 + 3?"):
        if isinstance(event, Done):
            assert not llm.engine.scheduler.running
            assert (event.messages[-1].text, event.finish_reason) == ("It is 5.", FinishReason.STOP)
            assert llm.decode(event.ids).endswith("It is 5.<|end|>")


def test_a_conversation_may_be_given_in_any_form(llm: LLM) -> None:
    said = [{"role": "user", "content": "Hello"}]
    conversations: list[Any] = [
        "Hello",
        said,
        [Message.user("Hello")],
        Conversation((Message.system(), Message.user("Hello"))),
    ]
    replies = llm.chat(conversations, max_tokens=5, temperature=0)
    assert {reply.token_ids for reply in replies} == {llm.chat("Hello", max_tokens=5, temperature=0).token_ids}


def test_a_result_that_fills_the_context_ends_the_turn(llm: LLM, say: Say) -> None:
    def add(a: int, b: int) -> str:
        """Adds two numbers, at length."""
        return "5 " * 5000

    say(CALL, FINAL, FINAL)
    long, fine = llm.chat(["What is 2 + 3?", "And 3 + 2?"], tools=[add])
    assert (fine.text, fine.error, fine.finish_reason) == ("It is 5.", None, FinishReason.STOP)
    assert (long.error, long.finish_reason, long.pending_calls) == (None, FinishReason.LENGTH, ())
    assert long.usage.prompt == len(llm.render("What is 2 + 3?", tools=[add])), "the result was never read"


@pytest.mark.parametrize("n_spare", [0, 1, 20])
def test_a_later_round_asks_for_no_more_than_the_context_leaves(llm: LLM, say: Say, n_spare: int) -> None:
    """max_tokens fits behind the prompt, and behind the result of the call only in part."""
    encode, ask = llm.vocabulary.encode, "What is 2 + 3?"
    n_call = len(encode(CALL, parse_special=True))
    filler = "5 " * 1500

    def add(a: int, b: int) -> str:
        """Adds two numbers, at length."""
        return filler

    say(CALL, FINAL)
    first = llm.chat(ask, tools=[add], max_tool_rounds=1, max_tokens=n_call + 1)
    n_context = first.usage.prompt + n_call + n_spare  # with the result
    llm.engine.context, before = n_context, llm.engine.context
    try:
        say(CALL, FINAL)
        reply = llm.chat(ask, tools=[add], max_tokens=n_call + 500)
    finally:
        llm.engine.context = before
    assert reply.error is None and reply.finish_reason is FinishReason.LENGTH
    assert len(reply.token_ids) == n_call + n_spare
    assert reply.usage.prompt + reply.usage.completion == (
        n_context if n_spare else len(llm.render(ask, tools=[add])) + n_call
    )


def test_a_stopped_stream_is_what_came_until_then(llm: LLM, say: Say) -> None:
    events = []
    say(FINAL)
    for event in llm.stream("What is 2 + 3?"):
        events.append(event)
        if isinstance(event, TextDelta):
            break
    reply = Reply.of(events)
    assert (reply.finish_reason, reply.error, reply.reasoning, reply.token_ids) == ("abort", None, "Easy.", ())
    assert reply.text and "It is 5.".startswith(reply.text) and reply.messages == (Message.final(reply.text),)
    assert reply.usage == Usage()
    thinking = Reply.of(events[:1])
    assert thinking.reasoning and (thinking.text, thinking.messages) == ("", ())
    assert Reply.of([]).finish_reason is FinishReason.ABORT


def test_what_the_engine_gives_up_on_is_raised(llm: LLM, say: Say) -> None:
    """The chain of allowed ids ends before the answer does."""
    say("<|channel|>final<|message|>It")
    events = []
    with pytest.raises(RequestFailed, match="constraint"):
        for event in llm.stream("What is 2 + 3?"):
            events.append(event)
    assert isinstance(events[-1], Done) and events[-1].finish_reason is FinishReason.ERROR
    assert Reply.of(events).text == "It"
    say("<|channel|>final<|message|>It", FINAL)
    failed, fine = llm.chat(["What is 2 + 3?", "What is 2 + 3?"])
    assert isinstance(failed.error, RequestFailed) and failed.text == "It"
    assert (fine.error, fine.text) == (None, "It is 5.")


def test_more_conversations_than_the_queue_holds(loaded: Loaded) -> None:
    llm = LLM(loaded, context=512)
    llm.engine.scheduler.queue_limit = 3
    questions = [str(n % 4) for n in range(40)]
    replies = llm.chat(questions, max_tokens=3, temperature=0)
    assert all(reply.token_ids == replies[n % 4].token_ids for n, reply in enumerate(replies))
    assert len(llm.complete(questions, max_tokens=2)) == 40


def test_closing_a_stream_aborts_it(llm: LLM) -> None:
    events = llm.stream("Hello", max_tokens=1000, temperature=0)
    next(events)
    assert len(llm.engine.scheduler.running) == 1
    events.close()
    assert not llm.engine.scheduler.running
    unread = llm.stream("Hello")
    unread.close()
    assert Reply.of(llm.stream("Hello", max_tokens=3)).finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("place", ["_runner.run", "scheduler.complete", "add"])
def test_ctrl_c_stops_an_answer_and_nothing_else(llm: LLM, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Wherever in the engine it comes, what shares the step loses no id, and nothing is left behind."""
    options: dict[str, Any] = {"max_tokens": 20, "temperature": 0}
    before = llm.chat("Hello", **options)
    other = llm.stream("How are you?", **options)
    seen = [next(other)]
    *path, name = place.split(".")
    owner = getattr(llm.engine, path[0]) if path else llm.engine
    whole, presses = getattr(owner, name), [signal.SIGINT]

    def interrupted(*arguments: Any) -> Any:
        value = whole(*arguments)
        if presses:
            signal.raise_signal(presses.pop())
        return value

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, interrupted)
        llm.chat("Hello", **options)
    assert len(llm.engine.scheduler.running) == 1 and not llm.engine.scheduler.waiting, "the other stream goes on"
    seen += other
    assert Reply.of(seen).token_ids == llm.chat("How are you?", **options).token_ids
    assert llm.chat("Hello", **options) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_streams_can_be_read_side_by_side(llm: LLM) -> None:
    options: dict[str, Any] = {"max_tokens": 15, "temperature": 0}
    pairs = zip(llm.stream("One", **options), llm.stream("Two, or three?", **options), strict=False)
    one, two = (list(events) for events in zip(*pairs, strict=True))
    for question, events in (("One", one), ("Two, or three?", two)):
        whole = list(llm.stream(question, **options))
        assert without_ids(events) == without_ids(whole)[: len(events)]


def test_threads_share_a_model(llm: LLM) -> None:
    options: dict[str, Any] = {"max_tokens": 20, "temperature": 0}
    alone = [llm.chat(question, **options).token_ids for question in ASKED]
    with ThreadPoolExecutor(len(ASKED)) as pool:
        together = list(pool.map(lambda question: llm.chat(question, **options).token_ids, ASKED))
    assert together == alone


def test_a_short_answer_does_not_wait_for_a_long_one(llm: LLM) -> None:
    is_running, is_done = threading.Event(), threading.Event()
    n_read = 0

    def read_long() -> None:
        nonlocal n_read
        for _ in llm.stream("Two, or three?", temperature=0):
            n_read += 1
            is_running.set()
            if is_done.is_set():
                return

    thread = threading.Thread(target=read_long)
    thread.start()
    assert is_running.wait(20)
    llm.chat("A short one", max_tokens=5)
    is_done.set()
    thread.join(20)
    assert not thread.is_alive() and n_read < 1000, "this one goes on to the context's end"


def test_a_stream_closed_in_the_middle_of_a_step(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the garbage collector may do it: the step ends undisturbed, and the request goes before the next one."""
    doomed, run = llm.stream("Two, or three?", temperature=0), llm.engine._runner.run
    next(doomed)
    before = llm.chat("Hello", max_tokens=20, temperature=0).token_ids
    n_running = []

    def closing(inputs: Any) -> list[int]:
        doomed.close()
        n_running.append(len(llm.engine.scheduler.running))
        return run(inputs)

    monkeypatch.setattr(llm.engine._runner, "run", closing)
    assert llm.chat("Hello", max_tokens=20, temperature=0).token_ids == before
    assert n_running[0] == 2 and {*n_running[1:]} == {1}


def test_complete_and_generate(llm: LLM) -> None:
    texts = ["San Francisco is a", "The capital of France is"]
    params = SamplingParams(temperature=0, max_tokens=12)
    ids = [llm.vocabulary.encode(text) for text in texts]
    answers = llm.generate(ids, params)
    assert answers == [llm.generate([one], params)[0] for one in ids]
    assert answers == llm.generate([np.array(one) for one in ids], temperature=0, max_tokens=12)
    assert answers == llm.generate([torch.tensor(one) for one in ids], params)
    decoders = [llm.vocabulary.decoder() for _ in answers]  # never flushed: half of a last character is not shown
    kept = [[id_ for id_ in answer if id_ not in llm.vocabulary.special_ids] for answer in answers]
    shown = ["".join(map(decoder.feed, ids)) for decoder, ids in zip(decoders, kept, strict=True)]
    assert llm.complete(texts, temperature=0, max_tokens=12) == shown
    assert llm.complete(texts[0], params=params) == shown[0]
    assert llm.complete([]) == llm.generate([]) == llm.generate([], params) == []


def test_prompts_rendered_elsewhere(llm: LLM) -> None:
    text = llm.render("2 + 2 = ?", effort="low", as_text=True)
    ids = llm.render("2 + 2 = ?", effort="low")
    assert llm.decode(ids) == text and text.endswith("<|start|>assistant")
    [answer] = llm.generate([ids], SamplingParams(seed=5, max_tokens=60))
    assert llm.complete(text, parse_special=True, seed=5, max_tokens=60) == llm.decode(answer)
    assert llm.complete("<|end|>", max_tokens=1, temperature=0) != "", "without it, names are text"
    assert len(llm.vocabulary.encode("<|end|>")) > 1


def test_the_formats_stop_ids_always_count(llm: LLM, say: Say) -> None:
    say(FINAL)
    [answer] = llm.generate([llm.render("2 + 3?")], SamplingParams(stop_ids=(0,)))
    assert answer == llm.vocabulary.encode(FINAL, parse_special=True), "the id that ends it is the last one"


def test_render_shows_what_the_model_is_told(llm: LLM) -> None:
    told: dict[str, Any] = {"tools": [add], "builtin_tools": ["browser", "python"], "effort": Effort.HIGH}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say <|end|>."}]
    text = llm.render(messages, identity="You are a teacher.", date="2030-01-01", as_text=True, **told)
    for part in ("You are a teacher.", "2030-01-01", "Reasoning: high", "# Instructions\n\nBe brief.", "type add = "):
        assert part in text
    assert "namespace browser" in text and "## python" in text
    assert llm.render(messages, **told).count(llm.vocabulary.control.end) == 3, "typed by the user, it is text"
    bare = llm.render(messages, add_generation_prompt=False)
    opening = llm.vocabulary.encode("<|start|>assistant", parse_special=True)
    assert llm.render(messages) == bare + opening
