"""From options to answers: the model that they name, and the turns that it gives."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harmonium.cli.options import INT8_NOTE, AnswerOptions, Effort, ModelOptions, ServerOptions
from harmonium.errors import BadRequest, HarmoniumError, Unauthorized

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from harmonium.chat.events import Event
    from harmonium.chat.llm import LLM
    from harmonium.chat.remote import RemoteLLM

PATIENCE_S = 1.0
LIMITS: dict[Effort, int] = {"low": 4096, "medium": 4096, "high": 32768}
"""Tokens of a turn unless --max-tokens says otherwise: an answer that never ends should not keep anyone waiting."""


def open_llm(options: ModelOptions, note: Callable[[str], None], batch: int | None = None) -> LLM:
    """Loads the model. Its name is looked up first, since torch takes a second to import.

    note: shows a line to the person, who is told what takes long. batch: as LLM has it.
    """
    if options.model is not None and not options.model.strip():
        raise BadRequest("--model is empty; give a name or a folder, or leave it out for nano.")
    if options.dummy and options.model:
        raise BadRequest("--model and --dummy exclude each other; give one of them.")
    if options.layers is not None and not options.dummy:
        raise BadRequest("--layers needs --dummy; a real model keeps all of its layers.")
    if not options.dummy:
        from harmonium.model import hub

        hub.resolve(options.model or "nano")
    kernels = logging.getLogger("harmonium.kernels.cpu")
    kernels.handlers = [_Noting(note)]
    kernels.setLevel(logging.INFO)
    from harmonium.chat.llm import LLM

    if options.dtype == "int8":
        note(INT8_NOTE)
    device, dtype, context = options.device, options.dtype, options.context
    if options.model is None and not options.dummy:
        return LLM(device=device, dtype=dtype, context=context, batch=batch)
    doing = f"Making random weights for {options.dummy} ..." if options.dummy else f"Loading {options.model} ..."
    with _said_if_slow(note, doing):
        if options.model is not None:
            return LLM(options.model, device=device, dtype=dtype, context=context, batch=batch)
        assert options.dummy is not None
        return LLM.dummy(options.dummy, layers=options.layers, device=device, dtype=dtype, context=context, batch=batch)


def open_model(model: ModelOptions, server: ServerOptions, note: Callable[[str], None]) -> LLM | RemoteLLM:
    """The model that is to answer: one loaded here, or with --url a server's."""
    if server.url is None:
        if server.api or server.api_key_env:
            raise BadRequest("--api and --api-key-env say how to speak with a server; name it with --url.")
        return open_llm(model, note)
    if model.local:
        raise BadRequest(f"{model.local[0]} is for a model on this machine; with --url, leave it out.")
    from harmonium.chat.remote import RemoteLLM

    return RemoteLLM(server.url, model.model, api=server.api or "chat", key=api_key(server.api_key_env))


def api_key(variable: str | None) -> str | None:
    """What an environment variable holds. Raises Unauthorized where that is nothing."""
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise Unauthorized(f"The environment variable {variable} is not set; it should hold the API key.")
    return key


def is_remote(llm: LLM | RemoteLLM) -> TypeIs[RemoteLLM]:
    """Told without importing either."""
    return hasattr(llm, "url")


class _Noting(logging.Handler):
    """Shows a person what is logged: that kernels are compiled, or cannot be kept."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self.note = note

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.note(record.getMessage())
        except OSError:
            self.handleError(record)


@contextmanager
def _said_if_slow(note: Callable[[str], None], text: str) -> Iterator[None]:
    timer = threading.Timer(PATIENCE_S, note, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def failures_as_json(is_json: bool) -> Iterator[None]:
    """Where JSON is wanted, a failure is told on stdout, too, as {"error": ...}."""
    try:
        yield
    except HarmoniumError as error:
        if is_json:
            tell_as_json(error)
        raise


def tell_as_json(error: HarmoniumError) -> None:
    from harmonium.cli.terminal import print_json

    print_json({"error": {"code": error.code, "message": str(error)}})


def stream(
    llm: LLM | RemoteLLM,
    messages: Sequence[Any],
    answer: AnswerOptions,
    tools: Sequence[Callable[..., Any]] = (),
) -> Generator[Event, None, None]:
    """One turn on top of messages; --system, where given, becomes the first of them."""
    limit, rules = answer.max_tokens, answer.rules
    told = _with_system(messages, answer)
    if is_remote(llm):
        if not (rules.pop("constrained") and rules.pop("stop_loops")):
            raise BadRequest("With --url the server decides what holds; leave out --no-constrained, --no-stop-loops.")
        settings = {"effort": answer.effort, "max_tokens": limit or None, **answer.sampling, **rules}
        return llm.stream(told, tools=list(tools), **settings)
    if limit is None and llm.context - n_tokens(llm, messages, answer, tools) >= 2 * LIMITS[answer.effort]:
        limit = LIMITS[answer.effort]  # else the context's end is near enough, and tools' results have to fit, too
    return llm.stream(
        told, tools=list(tools), effort=answer.effort, max_tokens=limit or None, **answer.sampling, **rules
    )


def n_tokens(
    llm: LLM | RemoteLLM, messages: Sequence[Any], answer: AnswerOptions, tools: Sequence[Callable[..., Any]] = ()
) -> int:
    """What a conversation takes of the context; 0 where only a server knows.

    Raises BadRequest for messages that the model cannot be told.
    """
    if is_remote(llm):
        return 0
    told = _with_system(messages, answer)
    return len(llm.render(told, tools=list(tools), effort=answer.effort, add_generation_prompt=False))


def _with_system(messages: Sequence[Any], answer: AnswerOptions) -> list[Any]:
    return [{"role": "system", "content": answer.system}, *messages] if answer.system else list(messages)


def piped_text() -> str:
    """What comes in on stdin when that is no terminal, else nothing."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    return read_text(sys.stdin.buffer.read())


def read_text(data: bytes) -> str:
    """The text of what came in on stdin, without space around it. Raises BadRequest where it is no UTF-8."""
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"What came in on stdin is not UTF-8 text (byte {error.object[error.start]:#04x} at {error.start}); "
            f"convert it, as in: iconv -f latin1 -t utf-8"
        ) from None


def question(words: Sequence[str]) -> str:
    """The words of the command line, and below them what was piped in."""
    text = "\n\n".join(filter(None, [" ".join(words).strip(), piped_text()]))
    if not text:
        raise BadRequest(
            'There is no question. Ask one, as in: harmonium "What is the capital of Peru?", or talk: harmonium chat'
        )
    return text
