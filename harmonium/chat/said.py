"""What was said in a turn so far, and what each new id means for the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harmonium.chat.events import (
    Event,
    ReasoningDelta,
    Repair,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from harmonium.chat.restraint import Tools
from harmonium.chat.shown import Piece, Shown
from harmonium.engine import request
from harmonium.harmony.messages import Channel, Conversation, Message, Role
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.harmony.parse import ContentDelta, MessageEnd, MessageStart, Parser, RepairFound
from harmonium.harmony.parse import Event as ParseEvent
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary

OTHER_SPEAKER = "other_speaker"
"""A repair of the loop's own: the model began to speak for the user or a tool, and was stopped there."""
NO_TOOLS = frozenset({"all", "user", "assistant"})
"""Recipients that are no tools; what is said to them is said to the user."""


class Said:
    """What was said in the turn so far.

    n_prompt: so that n_prompt + len(ids) is the length of the last round's context. n_computed: ids of all rounds'
    prompts that had to be computed. n_reasoning: ids of messages on the analysis channel, and n_thought what their
    budget is charged: those of their text, and the ends where a round has several. is_thinking: its last
    words are reasoning that nothing closed. call: the one that ended the round. is_over: the round needs no more ids.
    stop: the stop string that ended the turn.
    """

    def __init__(
        self,
        conversation: Conversation,
        vocabulary: Vocabulary,
        new_call_id: Callable[[], str],
        stops: Sequence[str] = (),
    ) -> None:
        self.messages: list[Message] = []
        self.ids: list[int] = []
        self.n_prompt, self.n_computed, self.n_reasoning, self.n_thought = 0, 0, 0, 0
        self.call: ToolCall | None = None
        self.is_over, self.is_thinking = False, False
        self.stop: str | None = None
        self._conversation, self._vocabulary, self._new_call_id = conversation, vocabulary, new_call_id
        self._stops = stops
        self._names = [tool.name for tool in Tools.of(conversation).functions]
        self._parser = Parser(vocabulary, functions=self._names)
        self._start: MessageStart | None = None
        self._shown: Shown | None = None  # the text of the message that has started
        self._header: list[TokenLogprob] = []  # tokens of the header that is being read
        self._n_thoughts = 0  # messages of reasoning in this round
        self._is_reported = False  # the ids come with their chances
        self._call_id = ""
        self._round_start = 0
        self._n_given = 0  # ids of the message being said that are the prompt's

    def next_prompt(self, most: int | None = None) -> list[int]:
        """Raises PromptTooLong for more ids than that."""
        said = Conversation((*self._conversation.messages, *self.messages))
        return render(said, self._vocabulary, most=most)

    def begin_round(self, prompt_length: int) -> None:
        self.n_prompt = prompt_length - len(self.ids)
        self.call, self.is_over = None, False
        self._parser = Parser(self._vocabulary, functions=self._names)
        self._shown, self._header, self._n_thoughts = None, [], 0
        self._round_start = len(self.ids)
        self._n_given = 1 + len(self._vocabulary.encode_fixed(Role.ASSISTANT))

    def feed(self, ids: Sequence[int], logprobs: Sequence[request.TokenLogprob] = ()) -> Iterator[Event]:
        """The events of the round's next ids, as far as they are needed. logprobs: one for each id, or none."""
        self._is_reported = bool(logprobs)
        at = 0
        while at < len(ids) and not self.is_over:
            n, parsed = (0, []) if logprobs or self._stops else self._parser.feed_text(ids, at)
            if not n:
                n = 1
                if logprobs:
                    self._note(logprobs[at])
                parsed = self._parser.feed(ids[at])
            self.ids += ids[at : at + n]
            at += n
            yield from self._read(parsed)

    def finish(self) -> Iterator[Event]:
        """The events of the round's end."""
        return self._read(self._parser.finish())

    def take(self, result: ToolResult) -> None:
        """The result of the call that ended the round."""
        call = self.messages[-1]
        assert call.recipient is not None, "a round that goes on ended in a call"
        channel = Channel(call.channel or Channel.COMMENTARY)  # so that a call that is forgotten takes its result along
        self.messages.append(Message.tool(call.recipient, result.text, channel))

    def _note(self, reported: request.TokenLogprob) -> None:
        """Keeps the next id's chance for the text that it becomes part of."""
        if reported.id == self._vocabulary.control.message:
            self._header.clear()
        if reported.id in self._vocabulary.special_ids:
            return
        top = tuple(self._token(id_, logprob) for id_, logprob in reported.top)
        token = self._token(reported.id, reported.logprob, top)
        if self._shown is None:
            self._header.append(token)
        else:
            self._shown.add_token(token)

    def _token(self, id_: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        return TokenLogprob(id_, logprob, self._vocabulary.token_bytes(id_), top)

    def _read(self, parsed: Sequence[ParseEvent]) -> Iterator[Event]:
        for part in parsed:
            yield from self._meaning(part)
            if self.is_over:
                return

    def _meaning(self, event: ParseEvent) -> Sequence[Event]:
        """What a parser's event means for the caller. Sets is_over where the round needs no more ids."""
        match event:
            case ContentDelta():
                return self._add_text(event.text)
            case RepairFound():
                return (Repair(str(event.kind), self._round_start + event.at),)
            case MessageStart():
                return self._begin_message(event)
            case MessageEnd():
                return self._end_message(event.message, event.is_cut)

    def _begin_message(self, start: MessageStart) -> Sequence[Event]:
        self._start = start
        if start.author.role is not Role.ASSISTANT:
            self.is_over = True
            return (Repair(OTHER_SPEAKER, len(self.ids) - 1),)
        is_call = _is_call(start.recipient)
        is_read = not is_call and start.channel != Channel.ANALYSIS
        self._shown = Shown(self._stops if is_read else (), self._is_reported, self._header)
        self._header = []
        if is_call:
            self._call_id = self._new_call_id()
        elif start.channel == Channel.ANALYSIS:
            self._n_thoughts += 1
            self.n_thought += self._n_thoughts == 2
            return (ReasoningDelta("\n"),) if self.n_reasoning else ()
        return ()

    def _add_text(self, text: str) -> Sequence[Event]:
        shown, start = self._shown, self._start
        assert shown is not None and start is not None, "text belongs to a message"
        spoken = self._delta(shown.add_text(text))
        if shown.stop is not None:
            self.stop, self.is_over = shown.stop, True
            self.messages.append(Message(start.author, (shown.text,), start.channel, start.recipient))
        return spoken

    def _delta(self, piece: Piece) -> Sequence[Event]:
        text, tokens = piece
        start = self._start
        assert start is not None, "text belongs to a message"
        if not text:
            return ()
        if _is_call(start.recipient):
            return (ToolCallDelta(self._call_id, _name(start.recipient), text, tokens),)
        if start.channel == Channel.ANALYSIS:
            return (ReasoningDelta(text, tokens),)
        return (TextDelta(text, str(start.channel), tokens),)

    def _end_message(self, message: Message, is_cut: bool) -> Sequence[Event]:
        assert self._shown is not None, "a message that ends has begun"
        held = self._delta(self._shown.finish())
        self._shown = None
        self.messages.append(message)
        n_said = len(message.ids or ()) - self._n_given
        self._n_given = 0
        is_call = _is_call(message.recipient)
        self.is_thinking = is_cut and message.channel == Channel.ANALYSIS and not is_call
        if not is_call:
            if message.channel == Channel.ANALYSIS:
                self.n_reasoning += n_said
                self.n_thought += self._n_text(message) + (self._n_thoughts > 1 and not is_cut)
            is_ended = message.ids is not None and message.ids[-1] in self._vocabulary.message_end_ids
            self.is_over = message.channel == Channel.FINAL and is_ended
        elif not is_cut:
            self.is_over = True
            self.call = ToolCall(self._call_id, _name(message.recipient), message.text)
            return (*held, self.call)
        return held

    def _n_text(self, message: Message) -> int:
        """Ids of a message's text."""
        control, ids = self._vocabulary.control, message.ids or ()
        n_header = ids.index(control.message) + 1 if control.message in ids else 0
        return len(ids) - n_header - sum(map(self._vocabulary.message_end_ids.__contains__, ids[n_header:]))


def _is_call(recipient: str | None) -> bool:
    return recipient is not None and recipient not in NO_TOOLS


def _name(recipient: str | None) -> str:
    """The tool's name as it was declared."""
    assert recipient is not None
    return recipient.removeprefix(f"{FUNCTIONS}.")
