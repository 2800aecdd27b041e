"""The program `harmonium`: turns every failure into one sentence and an exit code.

Exit codes: 0; 2 for wrong usage; 130 after Ctrl-C; 141 when the reader of stdout went away; else the error class's own
(errors.py). Only a bug shows a traceback. The commands are imported inside main, so that Ctrl-C is quiet then, too.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from harmonium.errors import CannotWrite, HarmoniumError

NO_ROOM = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EBADF})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    try:
        _open_closed_streams()
        _never_fail_to_encode()
        return _run(sys.argv[1:] if argv is None else list(argv))
    except HarmoniumError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        if error.errno == errno.EBADF:
            _drop_output()
        return _fail(_cannot_write(error), CannotWrite.exit_code)


def _run(argv: list[str]) -> int:
    from harmonium.cli import commands

    try:
        exit_code = commands.run(argv)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # as rich answers a closed pipe
            raise error.__context__ from None
        raise
    sys.stdout.flush()
    return exit_code


def _open_closed_streams() -> None:
    """A stream that the shell closed (`>&-`) is None in Python; it becomes an empty one.

    Its stdout is one that cannot be written, since an answer that went nowhere is no success.
    """
    for name, mode, access in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, access), mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _drop_output() -> None:
    """The interpreter flushes stdout once more at exit; it must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _never_fail_to_encode() -> None:
    """A terminal that lacks a character shows another one for it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _cannot_write(error: OSError) -> str:
    """What it was. Only streams have no name, and where stderr cannot be written nobody reads this."""
    if error.filename is not None:
        return f"{error.filename} cannot be written: {error.strerror}."
    if error.errno == errno.EBADF:
        return "The output cannot be written to stdout, which is closed; send it elsewhere."
    return f"The output cannot be written to stdout: {error.strerror}; free space, or send it elsewhere."


def _fail(message: str, exit_code: int) -> int:
    with suppress(OSError):  # where stderr cannot be written either, the exit code has to say it
        print(f"harmonium: {message}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
