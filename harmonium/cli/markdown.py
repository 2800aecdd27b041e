"""Markdown that grows: finished blocks are printed for good, only the last one is redrawn.

Redrawing a whole answer flickers and breaks once it is taller than the screen. A finished block never changes again,
and the unfinished one is shown by its last lines.
"""

from __future__ import annotations

import time

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

REDRAW_S = 0.05
# Rich leaves HTML out; read as text, it stays visible.
_SYNTAX = MarkdownIt("commonmark", {"html": False}).enable("table").enable("strikethrough")


def parse(text: str) -> list[Token]:
    """Tokens of a text in which a line break is a line break, as people read answers (and poems)."""
    tokens = _SYNTAX.parse(text)
    for token in tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
    return tokens


def render(text: str) -> Markdown:
    markdown = Markdown(text)
    markdown.parsed = parse(text)
    return markdown


class Tail:
    """The end of a Markdown text, cut from above to what fits the screen."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(render(self.text), options.update(height=None), pad=False)
        for line in lines[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()


class MarkdownStream:
    """Feed it pieces of text, then close it. console must write to a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._text = ""
        self._needs_gap = False
        self._live: Live | None = None
        self._drawn_at = 0.0

    def feed(self, text: str) -> None:
        self._text += text
        if (now := time.monotonic()) - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        finished, self._text = split(self._text)
        if finished:
            self._erase()
            self._print(finished)
        self._draw()

    def close(self) -> None:
        """Prints what is left and lets go of the screen."""
        self._erase()
        self._print(self._text)
        self._text = ""

    def _print(self, text: str) -> None:
        if text.strip():
            self._close_gap()
            self.console.print(render(text))
            self._needs_gap = True

    def _draw(self) -> None:
        if not self._text.strip():
            return
        self._close_gap()
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="visible")
            self._live.start()
        self._live.update(Tail(self._text), refresh=True)

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _close_gap(self) -> None:
        """One empty line between blocks."""
        if self._needs_gap:
            self.console.print()
            self._needs_gap = False


def split(text: str) -> tuple[str, str]:
    """The blocks of a Markdown text that are finished, and the last one, which may still grow.

    Only whole lines count: "2" is a paragraph, and becomes the next item of a list with the "." that follows.
    """
    whole = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _SYNTAX.parse(whole) if token.level == 0 and token.map]
    if len(starts) < 2:
        return "", text
    lines = text.split("\n")
    return "\n".join(lines[: starts[-1]]) + "\n", "\n".join(lines[starts[-1] :])
