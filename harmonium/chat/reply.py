"""A whole answer: a turn's events, joined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harmonium.chat.events import (
    Done,
    Event,
    FinishReason,
    ReasoningDelta,
    Repair,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolResult,
    Usage,
)
from harmonium.errors import HarmoniumError
from harmonium.harmony.messages import Message


@dataclass(frozen=True)
class Reply:
    """What came of one conversation.

    text: the final answer; reasoning: the analysis before it. tool_calls: every call that was made, tool_results: what
    the functions that ran gave for them. token_ids: every id the model produced. messages: what the model and the tools
    added; put behind the conversation's they continue it, a turn in progress with the very same ids. is_reasoning_cut:
    the reasoning was closed for the model, for it took all of its budget, to the last token too, or, then
    is_reasoning_loop too, went round in circles. stop: the stop string that ended the answer. logprobs: of the tokens
    of text, reasoning_logprobs of those of reasoning, where they were asked for. error: set, with finish_reason
    "error", where one of several conversations failed while it ran; what came before it is kept.
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    tool_results: tuple[ToolResult, ...]
    token_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    usage: Usage
    finish_reason: FinishReason
    repairs: tuple[Repair, ...] = ()
    is_reasoning_cut: bool = False
    is_reasoning_loop: bool = False
    stop: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning_logprobs: tuple[TokenLogprob, ...] = ()
    error: HarmoniumError | None = None

    @property
    def pending_calls(self) -> tuple[ToolCall, ...]:
        """Calls that were handed out, and wait for the caller's `call.answer(text)` behind `messages`."""
        answered = {result.call_id for result in self.tool_results}
        return tuple(call for call in self.tool_calls if call.id not in answered)

    @staticmethod
    def of(events: Iterable[Event], error: HarmoniumError | None = None) -> Reply:
        """A turn's events as a whole; without a Done among them, as when a stream was closed, what came until then.

        Its finish_reason is then "abort" or, with an error, "error"; messages holds the answer as far as it was said,
        if it had begun, and nothing else; usage is 0, and there are no token_ids, for events do not tell them.
        """
        events = list(events)
        answer = [event for event in events if isinstance(event, TextDelta) and event.channel == "final"]
        thought = [event for event in events if isinstance(event, ReasoningDelta)]
        text = "".join(event.text for event in answer)
        done = next((event for event in events if isinstance(event, Done)), None)
        if done is None:
            reason = FinishReason.ABORT if error is None else FinishReason.ERROR
            done = Done(reason, Usage(), (Message.final(text),) if text else (), ())
        return Reply(
            text=text,
            reasoning="".join(event.text for event in thought),
            tool_calls=tuple(event for event in events if isinstance(event, ToolCall)),
            tool_results=tuple(event for event in events if isinstance(event, ToolResult)),
            token_ids=done.ids,
            messages=done.messages,
            usage=done.usage,
            finish_reason=done.finish_reason,
            repairs=tuple(event for event in events if isinstance(event, Repair)),
            is_reasoning_cut=done.is_reasoning_cut,
            is_reasoning_loop=done.is_reasoning_loop,
            stop=done.stop,
            logprobs=tuple(token for event in answer for token in event.logprobs),
            reasoning_logprobs=tuple(token for event in thought for token in event.logprobs),
            error=error,
        )
