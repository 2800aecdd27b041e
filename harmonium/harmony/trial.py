"""Grammars of strangers are compiled first in a process that can be ended, for the time that they take has no bound.

llguidance looks whether patterns that hold together leave anything; for twenty of them that takes minutes, in which
nothing stops it but the end of its process. `Trial` is this process seen from here; run as a module, this file is it.

It tries one grammar at a time, so nobody may keep it from the others: a plain schema is not tried at all, what was
refused is refused at once when it comes again, askers take turns, and few may wait, and not for long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from threading import Timer

from harmonium.errors import BadRequest, Busy
from harmonium.harmony.fair_lock import Claim, FairLock, NoTurn
from harmonium.harmony.grammar import MOST_ITEMS, Grammar
from harmonium.harmony.plain_schema import is_plain

WITHIN_S = 5.0
MOST_AT_ONCE = 8
"""Grammars that are tried or wait for it; each of them holds a thread of who asks."""
MOST_REFUSED = 1024
"""Grammars that are remembered."""
MOST_BYTES = 2 << 30
"""Of the process, where the system has such limits."""


class Trial:
    """One process, started when it is first needed and again after it was ended. A context, and safe to share between
    threads.
    """

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._process: subprocess.Popen[str] | None = None
        self._turns = FairLock(MOST_AT_ONCE)
        self._refused: dict[bytes, None] = {}  # the digests of their sources, the latest last

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._turns.close()
        self._end()

    @contextmanager
    def asked_by(self, asker: str) -> Iterator[Callable[[Grammar], None]]:
        """The trial for what one of the askers wants, one grammar after the other. Behind the block it waits no more.

        It raises BadRequest for a grammar that does not compile in time, and Busy where too many others come before it.
        What else is wrong is not told here.
        """
        claim = Claim(asker)
        try:
            yield partial(self._try, claim)
        finally:
            self._turns.leave(claim)

    def _try(self, claim: Claim, grammar: Grammar) -> None:
        if is_plain(grammar):
            return
        digest = sha256(grammar.source.encode()).digest()
        is_refused = digest in self._refused
        if not is_refused:
            try:
                with self._turns.held(claim, 2 * self._within_s):
                    is_refused = digest in self._refused or not self._compiles(grammar)
                    if is_refused:
                        self._remember(digest)
            except NoTurn:
                raise Busy(
                    "Other schemas with patterns or bounds, or grammars, are being compiled; send this one again.",
                    retry_after_s=self._within_s,
                ) from None
        if is_refused:
            raise BadRequest(
                f"It takes more than {self._within_s:g} s to compile; let fewer patterns hold at once (allOf, "
                "patternProperties, &), or make it smaller."
            )

    def _remember(self, digest: bytes) -> None:
        self._refused[digest] = None
        if len(self._refused) > MOST_REFUSED:
            del self._refused[next(iter(self._refused))]

    def _compiles(self, grammar: Grammar) -> bool:
        """Does it in time? Where not, the process has ended."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        watch = Timer(self._within_s, process.kill)
        watch.start()
        try:
            print(json.dumps(grammar.source), file=process.stdin, flush=True)
            if process.stdout.readline():
                return True
        except OSError:
            pass  # it has ended
        finally:
            watch.cancel()
        self._end()
        return False

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # how it ends at its limit of memory is told by who asked
                text=True,
                start_new_session=True,  # Ctrl-C is for the server, which ends this when it has ended
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():  # it is there, and its time begins
                raise RuntimeError(f"{' '.join(command)} does not start.")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main() -> None:
    """Compiles what comes on stdin, a JSON string a line, and answers each with a line when it is done."""
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    tokenizer = LLTokenizer("byte")  # the time that has no bound is the same for every vocabulary
    limits = LLParserLimits(verbose_errors=False, max_items_in_row=MOST_ITEMS)
    print("ready", flush=True)
    for line in sys.stdin:
        LLMatcher(tokenizer, json.loads(line), log_level=0, limits=limits)
        print("done", flush=True)


if __name__ == "__main__":
    main()
