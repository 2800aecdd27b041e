"""A person at a real terminal: starts the program there, types, and reads what comes."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def person(*arguments: str, **environment: str) -> Iterator[Person]:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
        os.execv(sys.executable, [sys.executable, "-m", "harmonium", *arguments])
    try:
        yield Person(pid, terminal)
    finally:
        os.close(terminal)


class Person:
    """Types on a real terminal, and reads it."""

    def __init__(self, pid: int, terminal: int) -> None:
        self.pid = pid
        self.terminal = terminal
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 30) -> None:
        """Reads until the pattern shows up in what came since the last match."""
        import select

        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            assert ready, f"{pattern!r} did not come; seen: {self.seen!r}"
            text = os.read(self.terminal, 65536).decode("utf-8", "replace")
            if "\x1b[6n" in text:
                self.type("\x1b[1;1R")  # where the cursor is, which prompt_toolkit asks a terminal
            self.seen += CONTROL.sub("", text)
        self.seen = self.seen[match.end() :]

    def leave(self) -> int:
        self.type("\x04")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)
