"""Grammars of strangers are compiled first in a process that can be ended, for the time that they take has no bound.

llguidance looks whether patterns that hold together leave anything; for twenty of them that takes minutes, in which
nothing stops it but the end of its process. `Trial` is this process seen from here; run as a module, this file is it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Lock, Timer

from harmonium.errors import BadRequest
from harmonium.harmony.grammar import MOST_ITEMS, Grammar

WITHIN_S = 5.0
MOST_BYTES = 2 << 30
"""Of the process, where the system has such limits."""


class Trial:
    """One process, started when it is first needed and again after it was ended. A context, and safe to share between
    threads.
    """

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._end()

    def __call__(self, grammar: Grammar) -> None:
        """Raises BadRequest for a grammar that does not compile in time. What else is wrong is not told here."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            watch = Timer(self._within_s, process.kill)
            watch.start()
            try:
                print(json.dumps(grammar.source), file=process.stdin, flush=True)
                if process.stdout.readline():
                    return
            except OSError:
                pass  # it has ended, which is told below
            finally:
                watch.cancel()
            self._end()
        raise BadRequest(
            f"It takes more than {self._within_s:g} s to compile; let fewer patterns hold at once (allOf, "
            "patternProperties, &), or make it smaller."
        )

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
