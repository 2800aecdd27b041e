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
from dataclasses import dataclass
from itertools import count

from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    Repair,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from harmonium.chat.restraint import Restraint, Tools
from harmonium.engine.constraint import TableConstraint
from harmonium.harmony.messages import (
    Channel,
    Conversation,
    Message,
    Role,
)
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.harmony.parse import ContentDelta, MessageEnd, MessageStart, Parser, RepairFound
from harmonium.harmony.parse import Event as ParseEvent
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary

MAX_TOOL_ROUNDS = 32
OTHER_SPEAKER = "other_speaker"
"""A repair of the loop's own: the model began to speak for the user or a tool, and was stopped there."""
NO_TOOLS = frozenset({"all", "user", "assistant"})
"""Recipients that are no tools; what is said to them is said to the user."""


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

    n_cached: ids of the prompt that were not computed anew.
    """

    ids: Sequence[int]
    finish_reason: FinishReason | None = None
    n_cached: int = 0


Command = Generate | More | Stop | Run
Turn = Generator[Event | Command, Generated | ToolResult | None, None]


def turn(
    conversation: Conversation,
    vocabulary: Vocabulary,
    *,
    runnable: Collection[str] = (),
    max_tokens: int | None = None,
    max_tool_rounds: int = MAX_TOOL_ROUNDS,
    restraint: Restraint | None = None,
    new_call_id: Callable[[], str] = lambda: f"call_{secrets.token_hex(12)}",
) -> Turn:
    """The assistant's next turn in a conversation, ended by Done.

    runnable: names of the functions that the driver runs. Calls of other tools that the conversation offers are handed
    out and end the turn; a call of a tool that it does not offer is answered with an error, which the model reads.
    max_tokens: of the whole turn, all rounds together. restraint: what may be said in it, None for anything.
    """
    said = _Said(conversation, vocabulary, new_call_id)
    offered = Tools.of(conversation)
    for n_rounds in count():
        constraint = None if restraint is None else restraint.constraint(n_rounds, said.n_thought)
        reason = yield from _round(said, max_tokens, constraint)
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
        result = (yield Run(call)) if is_offered else _refusal(call, offered)
        assert isinstance(result, ToolResult), "Run is answered with a ToolResult"
        yield result
        said.take(result)
    n_cached = max(0, said.n_prompt - said.n_computed)
    usage = Usage(said.n_prompt, len(said.ids), said.n_reasoning, n_cached)
    is_loop = restraint is not None and restraint.has_stopped_a_loop
    is_cut = is_loop or (restraint is not None and restraint.is_spent(said.n_thought))
    yield Done(reason, usage, tuple(said.messages), tuple(said.ids), is_cut, is_loop)


class _Said:
    """What was said in the turn so far.

    n_prompt: so that n_prompt + len(ids) is the length of the last round's context. n_computed: ids of all rounds'
    prompts that had to be computed. n_reasoning: ids of messages on the analysis channel, and n_thought those of their
    text alone. call: the one that ended the round. is_over: the round needs no more ids.
    """

    def __init__(self, conversation: Conversation, vocabulary: Vocabulary, new_call_id: Callable[[], str]) -> None:
        self.messages: list[Message] = []
        self.ids: list[int] = []
        self.n_prompt, self.n_computed, self.n_reasoning, self.n_thought = 0, 0, 0, 0
        self.call: ToolCall | None = None
        self.is_over = False
        self._conversation, self._vocabulary, self._new_call_id = conversation, vocabulary, new_call_id
        self._names = [tool.name for tool in Tools.of(conversation).functions]
        self._parser = Parser(vocabulary, functions=self._names)
        self._start: MessageStart | None = None
        self._call_id = ""
        self._round_start = 0
        self._n_given = 0  # ids of the message being said that are the prompt's

    def begin_round(self) -> list[int]:
        """The next round's prompt."""
        prompt = render(Conversation((*self._conversation.messages, *self.messages)), self._vocabulary)
        self.n_prompt = len(prompt) - len(self.ids)
        self.call, self.is_over = None, False
        self._parser = Parser(self._vocabulary, functions=self._names)
        self._round_start = len(self.ids)
        self._n_given = 1 + len(self._vocabulary.encode_fixed(Role.ASSISTANT))
        return prompt

    def feed(self, ids: Sequence[int]) -> Iterator[Event]:
        """The events of the round's next ids, as far as they are needed."""
        for id_ in ids:
            self.ids.append(id_)
            yield from self._read(self._parser.feed(id_))
            if self.is_over:
                return

    def finish(self) -> Iterator[Event]:
        """The events of the round's end."""
        return self._read(self._parser.finish())

    def take(self, result: ToolResult) -> None:
        """The result of the call that ended the round."""
        recipient = self.messages[-1].recipient
        assert recipient is not None, "a round that goes on ended in a call"
        self.messages.append(Message.tool(recipient, result.text))

    def _read(self, parsed: Sequence[ParseEvent]) -> Iterator[Event]:
        for part in parsed:
            if (event := self._meaning(part)) is not None:
                yield event
            if self.is_over:
                return

    def _meaning(self, event: ParseEvent) -> Event | None:
        """What a parser's event means for the caller. Sets is_over where the round needs no more ids."""
        match event:
            case RepairFound():
                return Repair(str(event.kind), self._round_start + event.at)
            case MessageStart():
                return self._begin_message(event)
            case ContentDelta():
                return self._delta(event.text)
            case MessageEnd():
                return self._end_message(event.message, event.is_cut)

    def _begin_message(self, start: MessageStart) -> Event | None:
        self._start = start
        if start.author.role is not Role.ASSISTANT:
            self.is_over = True
            return Repair(OTHER_SPEAKER, len(self.ids) - 1)
        if _is_call(start.recipient):
            self._call_id = self._new_call_id()
        elif start.channel == Channel.ANALYSIS and self.n_reasoning:
            return ReasoningDelta("\n")
        return None

    def _delta(self, text: str) -> Event:
        start = self._start
        assert start is not None, "text belongs to a message"
        if _is_call(start.recipient):
            return ToolCallDelta(self._call_id, _name(start.recipient), text)
        if start.channel == Channel.ANALYSIS:
            return ReasoningDelta(text)
        return TextDelta(text, str(start.channel))

    def _end_message(self, message: Message, is_cut: bool) -> Event | None:
        self.messages.append(message)
        n_said = len(message.ids or ()) - self._n_given
        self._n_given = 0
        if not _is_call(message.recipient):
            if message.channel == Channel.ANALYSIS:
                self.n_reasoning += n_said
                self.n_thought += self._n_text(message)
            is_ended = message.ids is not None and message.ids[-1] in self._vocabulary.message_end_ids
            self.is_over = message.channel == Channel.FINAL and is_ended
            return None
        if is_cut:
            return None
        self.is_over = True
        self.call = ToolCall(self._call_id, _name(message.recipient), message.text)
        return self.call

    def _n_text(self, message: Message) -> int:
        """Ids of a message's text."""
        control, ids = self._vocabulary.control, message.ids or ()
        n_header = ids.index(control.message) + 1 if control.message in ids else 0
        return sum(id_ not in self._vocabulary.message_end_ids for id_ in ids[n_header:])


def _refusal(call: ToolCall, offered: Tools) -> ToolResult:
    """The answer to a call of a tool that is not there."""
    names = ", ".join(offered.names)
    choice = f"There are: {names}." if names else "Answer without tools."
    return ToolResult(call.id, call.name, f"Error: there is no tool {call.name}. {choice}", is_error=True)


def _is_call(recipient: str | None) -> bool:
    return recipient is not None and recipient not in NO_TOOLS


def _name(recipient: str | None) -> str:
    """The tool's name as it was declared."""
    assert recipient is not None
    return recipient.removeprefix(f"{FUNCTIONS}.")


def _round(
    said: _Said, max_tokens: int | None, constraint: TableConstraint | None
) -> Generator[Event | Command, Generated | ToolResult | None, FinishReason]:
    """One generation: yields its events, returns why it ended."""
    left = None if max_tokens is None else max_tokens - len(said.ids)
    prompt = said.begin_round()
    command: Command = Generate(prompt, left, constraint)
    while True:
        generated = yield command
        assert isinstance(generated, Generated), "Generate and More are answered with a Generated"
        if isinstance(command, Generate):
            said.n_computed += len(prompt) - generated.n_cached
        yield from said.feed(generated.ids)
        if said.is_over:
            if generated.finish_reason is None:
                yield Stop()
            return FinishReason.STOP
        if generated.finish_reason is not None:
            yield from said.finish()
            return generated.finish_reason
        command = More()
