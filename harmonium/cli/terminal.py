"""Shows a turn: the answer on stdout, and everything else (reasoning, calls, notes) on stderr.

On a terminal the answer streams as Markdown. Into a file or a pipe it is written in one piece once it is whole, so that
a failure leaves nothing half-printed there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from harmonium.chat.events import Event, FinishReason, ReasoningDelta, TextDelta, ToolCall, ToolResult
from harmonium.chat.reply import Reply
from harmonium.cli.flow import Flow
from harmonium.cli.markdown import MarkdownStream

# What a model says may hold control characters, and a terminal would obey them.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
CALL_WIDTH = 400
ENDINGS = {
    FinishReason.LENGTH: "The answer was cut after {0.completion:,} tokens; --max-tokens or the context sets where.",
    FinishReason.TOOL_ROUNDS: "The model was stopped: it called one tool after another without an answer.",
}


def printable(text: str) -> str:
    return text.translate(_CONTROLS)


def as_json(name: str, reply: Reply) -> dict[str, Any]:
    """What --json prints of a turn of the model called name."""
    return {
        "model": name,
        "text": reply.text,
        "reasoning": reply.reasoning,
        "tool_calls": [asdict(call) for call in reply.tool_calls],
        "tool_results": [asdict(result) for result in reply.tool_results],
        "finish_reason": reply.finish_reason,
        "is_reasoning_cut": reply.is_reasoning_cut,
        "is_reasoning_loop": reply.is_reasoning_loop,
        "usage": asdict(reply.usage),
        "repairs": [asdict(repair) for repair in reply.repairs],
        "token_ids": reply.token_ids,
    }


class Terminal:
    """Prints turns. quiet leaves only the answers; is_merged puts everything on stdout, in order."""

    def __init__(self, quiet: bool = False, is_merged: bool = False) -> None:
        self.quiet = quiet
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=not is_merged, highlight=False, markup=False, emoji=False)
        self._answer: MarkdownStream | None = None
        self._aside: Flow | None = None

    def show(self, events: Iterable[Event]) -> Reply:
        """Prints a turn's events as they come and returns them joined."""
        seen = []
        try:
            for event in events:
                seen.append(event)
                self._show(event)
        finally:
            self._settle()
        reply = Reply.of(seen)
        if reply.text and not self.out.is_terminal:
            sys.stdout.write(reply.text if reply.text.endswith("\n") else reply.text + "\n")
            sys.stdout.flush()
        if reply.is_reasoning_loop:
            self.note("The reasoning went round in circles and was closed; --no-stop-loops lets it go on.")
        elif reply.is_reasoning_cut:
            self.note("The reasoning was closed where its budget ended; --reasoning-budget sets where.")
        if reply.finish_reason in ENDINGS:
            self.note(ENDINGS[reply.finish_reason].format(reply.usage))
        return reply

    def note(self, text: str) -> None:
        """A line for the person, off stdout."""
        if not self.quiet:
            self._settle()
            self._print_line(Text(text, style="dim"))

    def heading(self, title: str, typed: str) -> None:
        """A title, and what a person would type to get what follows."""
        if not self.quiet:
            self._settle()
            self._print_line(Text(f"\n# {title}", style="bold"))
            self._print_line(Text(typed, style="cyan"))

    def complain(self, text: str) -> None:
        """A failure that is not the end: shown even when quiet."""
        self._settle()
        self._print_line(Text(f"harmonium: {text}"))

    def _show(self, event: Event) -> None:
        match event:
            case TextDelta(text, "final"):
                self._show_answer(text)
            case ReasoningDelta(text):
                self._show_aside(text, "dim")
            case TextDelta(text):
                self._show_aside(text, "")
            case ToolCall(_, name, arguments):
                self.note(f"→ {name}({_shorten(arguments)})")
            case ToolResult(_, name, text, is_error):
                self.note(f"{'✗' if is_error else '←'} {name}: {_shorten(text)}")
            case _:
                pass

    def _show_answer(self, text: str) -> None:
        if not self.out.is_terminal:
            return
        if self._answer is None:
            self._settle()
            self._answer = MarkdownStream(self.out)
        self._answer.feed(printable(text))

    def _show_aside(self, text: str, style: str) -> None:
        if self.quiet or not text:
            return
        if self._aside is None or self._aside.style != style:
            self._settle()
            self._aside = Flow(self.err, style)
        self._aside.feed(printable(text))

    def _print_line(self, text: Text) -> None:
        """Wrapped between words on a terminal, in one line elsewhere."""
        self.err.print(text, soft_wrap=not self.err.is_terminal)

    def _settle(self) -> None:
        """Ends what is open, so that the next thing begins on a line of its own."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._aside is not None:
            self._aside.close()
            self._aside = None


def _shorten(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= CALL_WIDTH else line[: CALL_WIDTH - 1] + "…"


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
