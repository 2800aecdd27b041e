"""From options to answers: the model that they name, and the turns that it gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harmonium.cli.options import AnswerOptions, ModelOptions
from harmonium.errors import BadRequest

if TYPE_CHECKING:
    from harmonium.chat.events import Event
    from harmonium.chat.llm import LLM


def open_llm(options: ModelOptions) -> LLM:
    """Loads the model. Its name is looked up first, since torch takes a second to import."""
    if options.model is not None and not options.model.strip():
        raise BadRequest("--model is empty; give a name or a folder, or leave it out for nano.")
    if options.dummy and options.model:
        raise BadRequest("--model and --dummy exclude each other; give one of them.")
    if options.layers is not None and not options.dummy:
        raise BadRequest("--layers needs --dummy; a real model keeps all of its layers.")
    if not options.dummy:
        from harmonium.model import hub

        hub.resolve(options.model or "nano")
    from harmonium.chat.llm import LLM

    if options.dummy:
        return LLM.dummy(
            options.dummy, layers=options.layers, device=options.device, dtype=options.dtype, context=options.context
        )
    return LLM(options.model or "nano", device=options.device, dtype=options.dtype, context=options.context)


def stream(
    llm: LLM,
    messages: Sequence[Any],
    answer: AnswerOptions,
    tools: Sequence[Callable[..., Any]] = (),
) -> Iterator[Event]:
    """One turn on top of messages; --system, where given, becomes the first of them."""
    if answer.system:
        messages = [{"role": "system", "content": answer.system}, *messages]
    return llm.stream(messages, tools=list(tools), effort=answer.effort, **answer.sampling, **answer.rules)


def piped_text() -> str:
    """What comes in on stdin when that is no terminal, else nothing."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"What came in on stdin is not UTF-8 text (byte {data[error.start]:#04x} at {error.start}); pipe text in."
        ) from None


def question(words: Sequence[str]) -> str:
    """The words of the command line, and below them what was piped in."""
    asked = " ".join(words).strip()
    try:
        asked.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequest("The question is not UTF-8 text; check the terminal's encoding.") from None
    text = "\n\n".join(filter(None, [asked, piped_text()]))
    if not text:
        raise BadRequest(
            'There is no question. Ask one, as in: harmonium "What is the capital of Peru?", or talk: harmonium chat'
        )
    return text
