"""The program `harmonium`: finds the command, and turns every failure into one sentence and an exit code.

Exit codes: 0; 2 for wrong usage; 130 after Ctrl-C; 141 when the reader of stdout went away; else the error class's own
(errors.py). Only a bug shows a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from cyclopts import App, CycloptsError

from harmonium import __version__
from harmonium.cli.ask import ask
from harmonium.cli.bench import bench
from harmonium.cli.chat import chat
from harmonium.cli.examples import examples
from harmonium.cli.tokens import tokens
from harmonium.cli.tour import tour
from harmonium.errors import BadRequest, CannotWrite, HarmoniumError

COMMANDS = {command.__name__: command for command in (chat, tokens, examples, tour, bench)}
NO_ROOM = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})

app = App(
    name="harmonium",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)
app.default(ask)
for name, command in COMMANDS.items():
    app.command(command, name=name)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    _never_fail_to_encode()
    try:
        _refuse_a_mistyped_command(argv)
        app(argv)
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(f"{error} `harmonium --help` lists what there is.", BadRequest.exit_code)
    except HarmoniumError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; it must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return _fail(f"{error.filename or 'A file'} cannot be written: {error.strerror}.", CannotWrite.exit_code)
    return 0


def _refuse_a_mistyped_command(argv: Sequence[str]) -> None:
    """A lone word that nearly is a command would otherwise be put to the model as a question."""
    first = argv[0] if argv else ""
    near = get_close_matches(first, COMMANDS, n=1, cutoff=0.75)
    if near and first not in COMMANDS and all(word.startswith("-") for word in argv[1:]):
        raise BadRequest(
            f'There is no command "{first}"; did you mean "{near[0]}"? To ask it as a question: harmonium -- {first}'
        )


def _never_fail_to_encode() -> None:
    """A terminal that lacks a character shows another one for it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _fail(message: str, exit_code: int) -> int:
    print(f"harmonium: {message}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
