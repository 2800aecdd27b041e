"""`harmonium chat`: a conversation in the terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from harmonium.cli.options import NANO_NOTE, AnswerOptions, Effort, Json, ModelOptions, Quiet, ServerOptions
from harmonium.errors import BadRequest, HarmoniumError, PromptTooLong

if TYPE_CHECKING:
    from harmonium.chat.events import Event, Usage
    from harmonium.chat.llm import LLM
    from harmonium.chat.remote import RemoteLLM
    from harmonium.chat.reply import Reply
    from harmonium.cli.terminal import Terminal


def chat(
    *,
    answer: AnswerOptions = AnswerOptions(),
    model: ModelOptions = ModelOptions(),
    server: ServerOptions = ServerOptions(),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Talk with the model, turn by turn. /help lists what can be typed besides questions.

    Ctrl-C stops an answer: the question stays in the conversation, and the answer as far as it was said; the reasoning
    and the calls before it are forgotten. Ctrl-D ends the conversation. The line under the prompt shows what the
    conversation takes of the context, and how much of that the last turn found in the cache.

    Lines that are piped in are one turn each, and the last that fails sets the exit code.

    Parameters
    ----------
    json
        Print one JSON object per turn, {"error": ...} for one that failed. Of usage, cached is the part of prompt that
        did not have to be computed anew.
    quiet
        Print the answers and nothing else.
    """
    from harmonium.cli import functions, session
    from harmonium.cli.terminal import Terminal

    terminal = Terminal(quiet or json)
    with session.failures_as_json(json):
        tools = functions.load(answer.tools) if answer.tools else []
        conversation = Conversation(session.open_model(model, server, terminal.note), answer, terminal, tools, json)
    if model.is_default and server.url is None:
        terminal.note(NANO_NOTE)
    is_typed = sys.stdin.isatty() and sys.stdout.isatty()
    if is_typed:
        terminal.note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the conversation.")
    exit_code = 0
    for line in _typed_lines(conversation) if is_typed else sys.stdin.buffer:
        try:
            if not conversation.take(line.strip() if isinstance(line, str) else session.read_text(line)):
                break
        except HarmoniumError as error:
            terminal.complain(str(error))
            if json:
                session.tell_as_json(error)
            if not is_typed:
                exit_code = error.exit_code
    return exit_code


class Conversation:
    """What was said, and the commands that change how it goes on. A command's docstring is its line in /help."""

    def __init__(
        self,
        llm: LLM | RemoteLLM,
        answer: AnswerOptions,
        terminal: Terminal,
        tools: Iterable[Callable[..., Any]] = (),
        as_json: bool = False,
    ) -> None:
        self.llm = llm
        self.answer = answer
        self.terminal = terminal
        self.tools = list(tools)
        self.as_json = as_json
        self.messages: list[Any] = []
        self.n_tokens, self.n_cached = 0, 0
        self.commands: dict[str, Callable[[str], None]] = {
            "/effort": self.set_effort,
            "/system": self.set_system,
            "/tools": self.set_tools,
            "/reset": self.reset,
            "/save": self.save,
            "/load": self.load,
            "/help": self.help,
        }

    def take(self, line: str) -> bool:
        """One line: a command or something to say. False when the conversation is over."""
        if not line.startswith("/"):
            if line:
                self.say(line)
            return True
        name, _, rest = line.partition(" ")
        if name in ("/exit", "/quit"):
            return False
        if name not in self.commands:
            near = get_close_matches(name.lower(), [*self.commands, "/exit", "/quit"], n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadRequest(f"There is no command {name}; {hint}/help lists them.")
        self.commands[name](rest.strip())
        return True

    def say(self, text: str) -> None:
        from harmonium.cli import session

        messages = [*self.messages, {"role": "user", "content": text}]
        stream = session.stream(self.llm, messages, self.answer, self.tools)
        with _stoppable(stream, at_once=session.is_remote(self.llm)) as events:
            reply = self._show(events)
        self.messages = [*messages, *reply.messages]
        self._count(reply.usage)
        if reply.finish_reason == "abort":
            self.terminal.note("Stopped.")

    def _count(self, usage: Usage | None = None) -> None:
        """Brings the figures of the status line up to date. usage: of the last turn, None if there was none."""
        from harmonium.cli import session

        self.n_cached = usage.cached if usage else 0
        if usage and session.is_remote(self.llm):
            self.n_tokens = usage.prompt + usage.completion
        else:
            has_some = bool(self.messages)
            self.n_tokens = session.n_tokens(self.llm, self.messages, self.answer, self.tools) if has_some else 0

    @property
    def status(self) -> str:
        """The line under the prompt. A server's model has no figures before its first answer."""
        parts = [self.llm.name, f"effort {self.answer.effort}"]
        if self.llm.context is not None:
            parts.append(f"{self.n_tokens:,} of {self.llm.context:,} tokens")
        elif self.n_tokens:
            parts.append(f"{self.n_tokens:,} tokens")
        if self.n_cached:
            parts.append(f"{self.n_cached:,} were cached")
        return " · ".join(parts)

    def _show(self, events: Iterator[Event]) -> Reply:
        from harmonium.chat.reply import Reply
        from harmonium.cli.terminal import as_json, print_json

        if not self.as_json:
            return self.terminal.show(events)
        reply = Reply.of(events)
        print_json(as_json(self.llm.name, reply))
        return reply

    def set_effort(self, value: str) -> None:
        """/effort low|medium|high: how long to reason"""
        for effort in get_args(Effort):
            if value == effort:
                self.answer = replace(self.answer, effort=effort)
                self.terminal.note(f"The effort is {effort} now.")
                return
        raise BadRequest(f"The effort is {self.answer.effort}; set it with /effort low, medium or high.")

    def set_system(self, text: str) -> None:
        """/system TEXT: instructions for the model; without a text, none"""
        self.answer = replace(self.answer, system=text or None)
        self._count()
        self.terminal.note("The model has these instructions now." if text else "The model has no instructions now.")

    def set_tools(self, path: str) -> None:
        """/tools FILE: functions of a Python file that the model may call; /tools off takes them away"""
        from harmonium.cli import functions

        if path:
            self.tools = [] if path == "off" else functions.load(Path(path).expanduser())
            self._count()
        names = ", ".join(tool.__name__ for tool in self.tools)
        self.terminal.note(
            f"The model may call {names}." if names else "The model has no tools; /tools FILE.py gives it some."
        )

    def reset(self, _: str) -> None:
        """/reset: forget what was said"""
        self.messages = []
        self._count()
        self.terminal.note("The conversation begins anew.")

    def save(self, path: str) -> None:
        """/save FILE: write the conversation, with its reasoning, as JSON"""
        from harmonium.cli import transcript

        if not path:
            raise BadRequest("Say where to save: /save conversation.json")
        transcript.write(Path(path).expanduser(), self.messages)
        self.terminal.note(f"Saved {len(self.messages)} messages to {path}.")

    def load(self, path: str) -> None:
        """/load FILE: go on with a saved conversation"""
        from harmonium.cli import session, transcript

        if not path:
            raise BadRequest("Say what to load: /load conversation.json")
        messages = transcript.read(Path(path).expanduser())
        try:
            n_tokens = session.n_tokens(self.llm, messages, self.answer, self.tools) if messages else 0
        except BadRequest as error:
            raise BadRequest(f"{path} cannot be used. {error}") from None
        if self.llm.context is not None and n_tokens >= self.llm.context:
            raise PromptTooLong(
                f"{path} takes {n_tokens:,} tokens, more than the context has ({self.llm.context:,}); shorten it, or "
                f"start with a larger --context."
            )
        self.messages = messages
        self._count()
        self.terminal.note(f"Loaded {len(self.messages)} messages from {path}.")

    def help(self, _: str) -> None:
        """/help: this list"""
        for command in self.commands.values():
            self.terminal.note(str(command.__doc__))
        self.terminal.note("/exit: end the conversation, as Ctrl-D does")
        self.terminal.note("Ctrl-C: stop an answer; the question stays, and what was said of the answer")


@contextmanager
def _stoppable(events: Generator[Event, None, None], at_once: bool = False) -> Iterator[Iterator[Event]]:
    """The events until Ctrl-C is pressed, a second time if need be: that one does not wait for the next event.

    Before the first event, which a long prompt keeps waiting, the first does not either; nor at any time where at_once,
    for a server's events: they may be long in coming, and hanging up leaves nothing half done here.
    """
    is_stopped, is_waiting, is_hasty = False, False, True

    def stop(*_: object) -> None:
        nonlocal is_stopped
        if is_stopped or (is_hasty and is_waiting):
            raise KeyboardInterrupt
        is_stopped = True

    def until_stopped() -> Iterator[Event]:
        nonlocal is_waiting, is_hasty
        while not is_stopped:
            is_waiting = True
            try:
                event = next(events, None)
            except KeyboardInterrupt:
                if not is_hasty or is_stopped:
                    raise
                return
            finally:
                is_waiting = False
            if event is None:
                return
            is_hasty = at_once
            yield event

    before = signal.signal(signal.SIGINT, stop)
    try:
        with _unseen_keys():
            yield until_stopped()
    finally:
        signal.signal(signal.SIGINT, before)
        events.close()


@contextmanager
def _unseen_keys() -> Iterator[None]:
    """Keys pressed during an answer, ^C too, would be echoed into it; they wait for the next prompt instead."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _typed_lines(conversation: Conversation) -> Iterator[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter

    commands = WordCompleter([*conversation.commands, "/exit"], sentence=True)
    prompt: PromptSession[str] = PromptSession(history=_history(conversation.terminal), completer=commands)

    while True:
        try:
            yield prompt.prompt("> ", bottom_toolbar=lambda: conversation.status)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _history(terminal: Terminal) -> Any:
    """What was typed in earlier conversations, or only in this one where nothing can be kept."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "harmonium" / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("a"):
            return FileHistory(path)
    except OSError as error:
        terminal.note(f"What you type is not remembered: {path} cannot be written ({error.strerror}).")
        return InMemoryHistory()
