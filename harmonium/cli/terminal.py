"""Shows a turn: the answer on stdout, and everything else (reasoning, calls, notes) on stderr.

On a terminal the answer streams as Markdown. Into a file or a pipe it is written in one piece once it is whole, so that
a failure leaves nothing half-printed there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from harmonium.chat.events import Done, Event, ReasoningDelta, Repair, TextDelta, ToolCall, ToolResult
from harmonium.cli.flow import Flow
from harmonium.cli.markdown import MarkdownStream

# What a model says may hold control characters, and a terminal would obey them.
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
CALL_WIDTH = 400


def printable(text: str) -> str:
    return text.translate(_CONTROLS)


@dataclass
class Turn:
    """What was seen of a turn so far."""

    reasoning: str = ""
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    done: Done | None = None

    def add(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text):
                self.reasoning += text
            case TextDelta(text, "final"):
                self.text += text
            case ToolCall():
                self.calls.append(event)
            case ToolResult():
                self.results.append(event)
            case Repair():
                self.repairs.append(event)
            case Done():
                self.done = event
            case _:
                pass

    def as_json(self) -> dict[str, Any]:
        assert self.done is not None, "a turn ends in Done"
        return {
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_calls": [asdict(call) for call in self.calls],
            "tool_results": [asdict(result) for result in self.results],
            "finish_reason": str(self.done.finish_reason),
            "usage": asdict(self.done.usage),
            "repairs": [asdict(repair) for repair in self.repairs],
            "token_ids": list(self.done.ids),
        }


def collect(events: Iterable[Event]) -> Turn:
    """A turn that nobody watches."""
    turn = Turn()
    for event in events:
        turn.add(event)
    return turn


class Terminal:
    """Prints turns. quiet leaves only the answers; is_merged puts everything on stdout, in order."""

    def __init__(self, quiet: bool = False, is_merged: bool = False) -> None:
        self.quiet = quiet
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=not is_merged, highlight=False, markup=False, emoji=False)
        self._answer: MarkdownStream | None = None
        self._aside: Flow | None = None

    def show(self, events: Iterable[Event]) -> Turn:
        """Prints a turn's events as they come and returns them collected."""
        turn = Turn()
        try:
            for event in events:
                turn.add(event)
                self._show(event)
        finally:
            self._settle()
        if turn.text and not self.out.is_terminal:
            sys.stdout.write(turn.text if turn.text.endswith("\n") else turn.text + "\n")
            sys.stdout.flush()
        if turn.done and turn.done.finish_reason == "length":
            self.note(f"The answer was cut after {turn.done.usage.completion} tokens; --max-tokens sets where.")
        return turn

    def note(self, text: str) -> None:
        """A line for the person, off stdout."""
        if not self.quiet:
            self._settle()
            self._print_line(Text(text, style="dim"))

    def heading(self, title: str, *lines: str) -> None:
        """A title, and what a person would type to get what follows."""
        if not self.quiet:
            self._settle()
            self._print_line(Text(f"\n# {title}", style="bold"))
            for line in lines:
                self._print_line(Text(line, style="cyan"))

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
