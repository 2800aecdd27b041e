"""Plain text that streams onto a terminal and breaks between words instead of within them."""

from __future__ import annotations

import re
import sys

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# A line break, other space, a character of a script that breaks anywhere, or a word of one that does not.
_PIECES = re.compile(r"\n|[^\S\n]+|[\u2e80-\uffdc]|[^\s\u2e80-\uffdc]+")
_LAST_WORD = re.compile(r"[^\s\u2e80-\uffdc]*\Z")


class Flow:
    """Feed it pieces of text; the last word waits until it is whole, or until close."""

    def __init__(self, console: Console, style: str = "") -> None:
        self.console = console
        self.style = style
        self._column = 0
        self._waiting = ""

    def feed(self, text: str) -> None:
        text = self._waiting + text
        word = _LAST_WORD.search(text)
        assert word is not None, "the pattern matches the empty end"
        self._waiting = word.group()
        self._write(text[: word.start()])

    def close(self) -> None:
        """Writes what waits and ends the line."""
        self._write(self._waiting)
        self._waiting = ""
        if self._column:
            self._write("\n")

    def _write(self, text: str) -> None:
        written = []
        limit = self.console.width if self.console.is_terminal else sys.maxsize
        for piece in _PIECES.findall(text):
            width = cell_len(piece)
            if self._column and self._column + width > limit and piece != "\n":
                written.append("\n")
                self._column = 0
                if piece.isspace():
                    continue
            written.append(piece)
            self._column = 0 if piece == "\n" else self._column + width
        self.console.print(Text("".join(written), style=self.style), end="", soft_wrap=True)
