"""`harmonium tokens`: the exact ids and text that a conversation becomes. Needs no weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from harmonium.cli.options import Effort, Json
from harmonium.errors import BadRequest

if TYPE_CHECKING:
    from harmonium.harmony.vocabulary import Vocabulary


@dataclass(frozen=True)
class Span:
    """A token and the message that it belongs to."""

    id: int
    text: str
    role: str
    channel: str | None


def tokens(
    *prompt: str,
    messages: Path | None = None,
    system: Annotated[str | None, Parameter(name=("--system", "-s"))] = None,
    effort: Effort = "medium",
    tools: Path | None = None,
    model: Annotated[str, Parameter(name=("--model", "-m"))] = "nano",
    json: Json = False,
) -> None:
    """Show the tokens that a conversation becomes, header by header.

    For example:

        harmonium tokens "What is the capital of Australia?" --effort low

    Parameters
    ----------
    prompt
        The user's message.
    messages
        A JSON file with a list of messages instead.
    system
        Instructions, set as the developer message.
    effort
        What the system message says about reasoning.
    tools
        A Python file whose functions the model may call, or demo.
    model
        Whose vocabulary: a name or a folder, as everywhere.
    json
        Print one JSON object: the ids, the text, and every token with its role and channel.
    """
    from harmonium.cli import functions, session, transcript

    if messages is not None and prompt:
        raise BadRequest("Give a question or --messages FILE, not both.")
    said = transcript.read(messages) if messages else [{"role": "user", "content": session.question(prompt)}]
    if system:
        said = [{"role": "system", "content": system}, *said]

    from harmonium.harmony import convert, render
    from harmonium.harmony.vocabulary import Vocabulary
    from harmonium.model import hub

    vocabulary = Vocabulary.from_file(hub.resolve(model) / "tokenizer.json")
    offered = functions.load(tools) if tools else []
    ids = render.render(convert.conversation(said, tools=offered, effort=effort), vocabulary)
    spans = list(explain(ids, vocabulary))
    if json:
        from harmonium.cli.terminal import print_json

        print_json({"ids": ids, "text": vocabulary.decode(ids), "tokens": [asdict(span) for span in spans]})
        return
    _print_table(spans)


def explain(ids: Sequence[int], vocabulary: Vocabulary) -> Iterator[Span]:
    """Every token with the role and channel that its message's header names."""
    start = vocabulary.special("<|start|>")
    starts = [at for at, id_ in enumerate(ids) if id_ == start]
    for first, last in zip([0, *starts], [*starts, len(ids)], strict=True):
        texts = [show(id_, vocabulary) for id_ in ids[first:last]]
        header, _, _ = "".join(texts).removeprefix("<|start|>").partition("<|message|>")
        role, _, rest = header.partition("<|channel|>")
        channel = rest.split("<|")[0].split(" ")[0] or None
        for id_, text in zip(ids[first:last], texts, strict=True):
            yield Span(id_, text, role.split(" ")[0], channel)


def show(id_: int, vocabulary: Vocabulary) -> str:
    """A token's text; its bytes as \\x.. where they are only part of a character."""
    return vocabulary.token_bytes(id_).decode("utf-8", "backslashreplace")


def _print_table(spans: Sequence[Span]) -> None:
    """One token a line, one message a paragraph."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for at, span in enumerate(spans):
        if span.text == "<|start|>" and at:
            console.print()
        who = span.role if span.channel is None else f"{span.role} {span.channel}"
        text = span.text if span.text.startswith(("<|", "\\x")) else repr(span.text)
        console.print(Text(f"{at:>6} {span.id:>7}  "), Text(f"{who:<22}", style="dim"), Text(text), sep="")
    console.print(f"\n{len(spans)} tokens")
