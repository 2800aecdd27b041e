"""One turn: render, generate, parse, act, repeat. A generator without I/O, so that any driver can run it.

`turn` yields events for the caller and commands for its driver, which sends back what a command asks for:

    Generate(prompt, max_tokens, constraint)   begin to generate; send the first Generated
    More()                                     send the next Generated of the generation that runs
    Stop()                                     end it: what it would say is not needed; send None
    Run(call)                                  call this function; send its ToolResult

After an event the driver sends None. A turn goes on from round to round: a call ends a round, and its result begins the
next. The models make one call at a time, so a generation ends with the first call, and with the first final message.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from harmonium.chat.events import Done, Event, FinishReason, ToolCall, ToolResult, Usage
from harmonium.chat.restraint import Restraint, Tools
from harmonium.chat.said import Said
from harmonium.engine.constraint import TableConstraint
from harmonium.engine.request import TokenLogprob
from harmonium.errors import PromptTooLong
from harmonium.harmony.messages import Conversation
from harmonium.harmony.vocabulary import Vocabulary

MAX_TOOL_ROUNDS = 32


@dataclass(frozen=True)
class Generate:
    """max_tokens: what is left of the turn's, None for no limit. constraint: what may be said, None for anything."""

    prompt: Sequence[int]
    max_tokens: int | None
    constraint: TableConstraint | None = None


@dataclass(frozen=True)
class More:
    pass


@dataclass(frozen=True)
class Stop:
    pass


@dataclass(frozen=True)
class Run:
    call: ToolCall


@dataclass(frozen=True)
class Generated:
    """New ids, as many as there are. finish_reason comes with the last: stop, length, abort or error.

    n_cached: ids of the prompt that were not computed anew. logprobs: one for each of ids, or none.
    """

    ids: Sequence[int]
    finish_reason: FinishReason | None = None
    n_cached: int = 0
    logprobs: Sequence[TokenLogprob] = ()


Command = Generate | More | Stop | Run
Turn = Generator[Event | Command, Generated | ToolResult | None, None]


def turn(
    conversation: Conversation,
    vocabulary: Vocabulary,
    *,
    runnable: Collection[str] = (),
    max_tokens: int | None = None,
    max_tool_rounds: int = MAX_TOOL_ROUNDS,
    context: int | None = None,
    stop: Sequence[str] = (),
    restraint: Restraint | None = None,
    new_call_id: Callable[[], str] = lambda: f"call_{secrets.token_hex(12)}",
) -> Turn:
    """The assistant's next turn in a conversation, ended by Done.

    runnable: names of the functions that the driver runs. Calls of other tools that the conversation offers are handed
    out and end the turn; a call of a tool that it does not offer is answered with an error, which the model reads.
    max_tokens: of the whole turn, all rounds together. context: ids of a prompt and its answer; later rounds ask for no
    more than it leaves, and where a result does not fit any more the turn has come to its length; a first prompt that
    does not fit is for the driver to refuse, but one that is far too long raises PromptTooLong here. stop: strings that
    end the turn where the caller would read them, in the answer or a preamble. restraint: what may be said in the turn,
    None for anything.
    """
    said = Said(conversation, vocabulary, new_call_id, stop)
    offered = Tools.of(conversation)
    for n_rounds in count():
        prompt = _prompt(said, context, is_first=not n_rounds)
        if prompt is None:
            reason = FinishReason.LENGTH
            break
        left = None if max_tokens is None else max_tokens - len(said.ids)
        if context is not None and n_rounds:
            left = None if left is None else min(left, context - len(prompt))
        constraint = None if restraint is None else restraint.constraint(n_rounds, said.n_thought)
        reason = yield from _round(said, Generate(prompt, left, constraint))
        call = said.call
        if call is None:
            break
        is_offered = offered.has(call.name)
        is_builtin = (said.messages[-1].recipient or "").partition(".")[0] in offered.builtin
        if is_offered and (is_builtin or call.name not in runnable):
            reason = FinishReason.TOOL_CALLS
            break
        if n_rounds == max_tool_rounds:
            reason = FinishReason.TOOL_ROUNDS
            break
        if max_tokens is not None and len(said.ids) >= max_tokens:
            reason = FinishReason.LENGTH
            break
        result = (yield Run(call)) if is_offered else refusal(call, offered)
        assert isinstance(result, ToolResult), "Run is answered with a ToolResult"
        yield result
        said.take(result)
    n_cached = max(0, said.n_prompt - said.n_computed)
    usage = Usage(said.n_prompt, len(said.ids), said.n_reasoning, n_cached)
    is_loop, is_cut = False, False
    if restraint is not None and not said.is_thinking:
        is_loop = restraint.has_stopped_a_loop
        is_cut = is_loop or restraint.is_spent(said.n_thought)
    yield Done(reason, usage, tuple(said.messages), tuple(said.ids), is_cut, is_loop, said.stop)


def _prompt(said: Said, context: int | None, *, is_first: bool) -> list[int] | None:
    """The next round's; None where the context has no room for it. Raises PromptTooLong for a first one that is far too
    long.
    """
    if context is None:
        return said.next_prompt()
    try:
        with limit_told(context):
            prompt = said.next_prompt(longest_read(context))
    except PromptTooLong:
        if is_first:
            raise
        return None
    return prompt if is_first or len(prompt) < context else None


@contextmanager
def limit_told(context: int) -> Iterator[None]:
    """Errors of prompts that are too long say what would not be."""
    try:
        yield
    except PromptTooLong as error:
        told = f"{error} This model's maximum context length is {context} tokens."
        raise PromptTooLong(told, param=error.param or "prompt") from None


def longest_read(context: int) -> int:
    """How long a prompt may become before it is refused unread. What is nearly short enough is counted: the engine's
    refusal says by how much it is not.
    """
    return 2 * context


def refusal(call: ToolCall, offered: Tools) -> ToolResult:
    """The answer to a call of a tool that is not there."""
    names = ", ".join(offered.names)
    choice = f"There are: {names}." if names else "Answer without tools."
    return ToolResult(call.id, call.name, f"Error: there is no tool {call.name}. {choice}", is_error=True)


def _round(said: Said, wanted: Generate) -> Generator[Event | Command, Generated | ToolResult | None, FinishReason]:
    """One generation: yields its events, returns why it ended."""
    said.begin_round(len(wanted.prompt))
    command: Command = wanted
    while True:
        generated = yield command
        assert isinstance(generated, Generated), "Generate and More are answered with a Generated"
        if command is wanted:
            said.n_computed += len(wanted.prompt) - generated.n_cached
        yield from said.feed(generated.ids, generated.logprobs)
        if said.is_over:
            if generated.finish_reason is None:
                yield Stop()
            return FinishReason.STOP
        if generated.finish_reason is not None:
            yield from said.finish()
            return generated.finish_reason if said.stop is None else FinishReason.STOP
        command = More()
