"""The commands by name, and the one that a command line asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches

from cyclopts import App, CycloptsError, UnusedCliTokensError

from harmonium import __version__
from harmonium.cli.ask import ask
from harmonium.cli.batch import batch
from harmonium.cli.bench import bench
from harmonium.cli.chat import chat
from harmonium.cli.doctor import doctor
from harmonium.cli.examples import examples
from harmonium.cli.keys import keys
from harmonium.cli.plan import plan
from harmonium.cli.serve import serve
from harmonium.cli.tokens import tokens
from harmonium.cli.top import top
from harmonium.cli.tour import tour
from harmonium.errors import BadRequest

COMMANDS = {
    command.__name__: command
    for command in (chat, serve, top, batch, keys, tokens, examples, tour, plan, doctor, bench)
}

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


def run(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code. BadRequest for wrong usage."""
    _refuse_what_is_no_text(argv)
    _refuse_a_mistyped_command(argv)
    try:
        return app(argv) or 0
    except UnusedCliTokensError as error:
        words = " ".join(error.unused_tokens or ())
        raise BadRequest(f'"{words}" has no meaning here. `harmonium --help` lists what there is.') from error
    except CycloptsError as error:
        raise BadRequest(f"{error} `harmonium --help` lists what there is.") from error


def _refuse_what_is_no_text(argv: Sequence[str]) -> None:
    """Bytes that are no UTF-8 come as lone surrogates. A path may have some."""
    for word in argv:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            if not os.path.exists(word):
                shown = word.encode("utf-8", "replace").decode()
                raise BadRequest(f'"{shown}" is not UTF-8 text; check the terminal\'s encoding.') from None


def _refuse_a_mistyped_command(argv: Sequence[str]) -> None:
    """A lone word that nearly is a command would otherwise be put to the model as a question."""
    first = argv[0] if argv else ""
    near = get_close_matches(first, COMMANDS, n=1, cutoff=0.75)
    if near and first not in COMMANDS and all(word.startswith("-") for word in argv[1:]):
        raise BadRequest(
            f'There is no command "{first}"; did you mean "{near[0]}"? To ask it as a question: harmonium -- {first}'
        )
