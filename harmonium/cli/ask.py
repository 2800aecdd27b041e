"""The default verb: one question, one answer."""

from __future__ import annotations

from harmonium.cli.options import NANO_NOTE, AnswerOptions, Json, ModelOptions, Quiet, ServerOptions


def ask(
    *prompt: str,
    answer: AnswerOptions = AnswerOptions(),
    model: ModelOptions = ModelOptions(),
    server: ServerOptions = ServerOptions(),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run OpenAI's gpt-oss models on this machine.

    For example:

        harmonium "How many r's are in the word 'strawberry'?"
        cat notes.txt | harmonium "Summarize this"

    The answer goes to stdout; the reasoning, dim, and everything else to stderr.

    Parameters
    ----------
    prompt
        The question. Text that is piped in follows it.
    json
        Print one JSON object with answer, reasoning, calls, usage and token ids, and nothing else; {"error": ...} where
        that failed. Of usage, cached is the part of prompt that did not have to be computed anew.
    quiet
        Print the answer and nothing else.
    """
    from harmonium.cli import session

    with session.failures_as_json(json):
        _answer(session.question(prompt), answer, model, server, json, quiet)


def _answer(
    text: str, answer: AnswerOptions, model: ModelOptions, server: ServerOptions, json: bool, quiet: bool
) -> None:
    from harmonium.cli import functions, session

    tools = functions.load(answer.tools) if answer.tools else []

    from harmonium.chat.reply import Reply
    from harmonium.cli.terminal import Terminal, as_json, print_json

    terminal = Terminal(quiet or json)
    llm = session.open_model(model, server, terminal.note)
    events = session.stream(llm, [{"role": "user", "content": text}], answer, tools)
    if json:
        print_json(as_json(llm.name, Reply.of(events)))
        return
    if model.is_default and server.url is None:
        terminal.note(NANO_NOTE)
    terminal.show(events)
