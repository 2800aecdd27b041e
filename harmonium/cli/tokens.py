"""`harmonium tokens`: what a conversation becomes, and what a sequence of ids is. Needs no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from harmonium.cli.options import Effort, FormatFile, Json
from harmonium.errors import BadRequest

if TYPE_CHECKING:
    from rich.console import Console

    from harmonium.chat.restraint import Rules
    from harmonium.cli.explain import Allowed, Span, Token
    from harmonium.harmony.vocabulary import Vocabulary

TEXT_WIDTH = 26


@Parameter(name="*")
@dataclass(frozen=True)
class MaskOptions:
    mask: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Show at each of the assistant's tokens how many were allowed there, and the first of them."""

    builtin: Literal["python", "browser"] | None = None
    """A builtin tool that the model may call. Ids with their prompt say themselves what it offers."""

    tool_choice: str | None = None
    """For --mask: none, auto, required, or the name of the tool that has to be called."""

    response_format: FormatFile = None
    """For --mask: what answers follow, "json" or a file, as everywhere."""

    @property
    def builtins(self) -> list[str]:
        return [self.builtin] if self.builtin else []

    @property
    def rules(self) -> Rules:
        """Raises BadRequest for rules that nothing would show."""
        from harmonium.chat import restraint
        from harmonium.harmony.grammar import Grammar

        if (self.tool_choice or self.response_format) and not self.mask:
            raise BadRequest("--tool-choice and --response-format say what is allowed; add --mask to see it.")
        return restraint.Rules(
            restraint.tool_choice(self.tool_choice), Grammar.of_response_format(self.response_format)
        )


def tokens(
    *prompt: str,
    messages: Path | None = None,
    ids: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    system: Annotated[str | None, Parameter(name=("--system", "-s"))] = None,
    effort: Effort | None = None,
    tools: Path | None = None,
    masks: MaskOptions = MaskOptions(),
    model: Annotated[str, Parameter(name=("--model", "-m"))] = "nano",
    json: Json = False,
) -> None:
    """Show what a conversation becomes, or what a sequence of ids is: message by message, token by token.

    For example:

        harmonium tokens "What is the capital of Australia?" --effort low
        harmonium "Hello" --json | harmonium tokens --ids - --mask

    Parameters
    ----------
    prompt
        The user's message.
    messages
        A JSON file with a list of messages instead, or with a request's messages and tools.
    ids
        Ids instead: numbers, a file with numbers or with what --json printed, or - for stdin. Ids that do not begin
        with <|start|> are read as an answer, behind <|start|>assistant.
    system
        Instructions, set as the developer message.
    effort
        What the system message says about reasoning; medium unless given.
    tools
        A Python file whose functions the model may call, or demo. Ids with their prompt say themselves what it offers.
    model
        Whose vocabulary: a name or a folder, as everywhere.
    json
        Print one JSON object: the ids, the text, and every message with its tokens.
    """
    from harmonium.cli import explain, functions, terminal
    from harmonium.harmony import convert, render
    from harmonium.harmony.vocabulary import Vocabulary
    from harmonium.model import hub

    rules, offered = masks.rules, functions.load(tools) if tools else []
    given = None if ids is None else _read_ids(ids, is_alone=not (prompt or messages or system or effort))
    said, declared = ([], []) if given else _conversation(prompt, messages, system)
    vocabulary = Vocabulary.from_file(hub.resolve(model) / "tokenizer.json")
    if given is None:
        told = convert.conversation(
            said, tools=[*declared, *offered], builtin_tools=masks.builtins, effort=effort or "medium"
        )
        given = render.render(told, vocabulary)
    spans, names = _explained(given, vocabulary, [function.__name__ for function in offered])
    following = explain.mark_allowed(spans, vocabulary, names, masks.builtins, rules) if masks.mask else None
    if json:
        terminal.print_json(_as_json(given, spans, following, vocabulary))
    else:
        _print(spans, following)


def _explained(
    ids: Sequence[int], vocabulary: Vocabulary, functions: Sequence[str]
) -> tuple[list[Span], Sequence[str]]:
    """The messages, read with the names of the functions that they declare, and those names."""
    from harmonium.cli import explain

    spans = explain.explain(ids, vocabulary, functions)
    names = list(dict.fromkeys([*functions, *explain.declared(spans)[0]]))
    return (explain.explain(ids, vocabulary, names) if names != list(functions) else spans), names


def _conversation(prompt: Sequence[str], messages: Path | None, system: str | None) -> tuple[list[Any], list[Any]]:
    """The messages, and the tools that their file declares."""
    from harmonium.cli import session, transcript

    if messages is not None and prompt:
        raise BadRequest("Give a question or --messages FILE, not both.")
    if messages is not None:
        said, tools = transcript.read_with_tools(messages)
    else:
        said, tools = [{"role": "user", "content": session.question(prompt)}], []
    return [{"role": "system", "content": system}, *said] if system else said, tools


def _read_ids(given: str, is_alone: bool) -> list[int]:
    """The ids of an argument, of the file that it names, or of stdin."""
    from harmonium.cli import explain, session

    if not is_alone:
        raise BadRequest("--ids is a whole sequence; leave out the question, --messages, --system, --effort.")
    if given == "-":
        return explain.read_ids(session.piped_text())
    if given[:1] in "0123456789[({- " and not Path(given).is_file():
        return explain.read_ids(given)
    try:
        return explain.read_ids(Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"{given} cannot be read: {error.strerror}. --ids takes numbers, a file, or -.") from None
    except UnicodeDecodeError:
        raise BadRequest(f"{given} is not text; it should hold ids as numbers.") from None


def _as_json(
    ids: Sequence[int], spans: Sequence[Span], following: Allowed | None, vocabulary: Vocabulary
) -> dict[str, Any]:
    return {
        "ids": ids,
        "text": vocabulary.decode(ids),
        "messages": [asdict(span) for span in spans],
        "next": following and {"n": following.n, "first": following.first},
    }


def _print(spans: Sequence[Span], following: Allowed | None) -> None:
    """One token a line, one message a paragraph."""
    from rich.console import Console
    from rich.text import Text

    from harmonium.cli.terminal import printable

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for span in spans:
        title, size = f"{printable(span.title)}{' …' if span.is_open else ''}", _counted(len(span.tokens), "token")
        console.print(Text.assemble(Text(f"{title}  ", style="bold"), Text(size, style="dim")))
        for token in span.tokens:
            _print_token(console, token)
        console.print()
    n_tokens = sum(len(span.tokens) for span in spans)
    if following is not None:
        console.print(f"{n_tokens:>6}  {'next:':<{TEXT_WIDTH + 8}}  {_named(following)}\n")
    n_repairs = sum(len(token.repairs) for span in spans for token in span.tokens)
    console.print(", ".join(_counted(n, what) for n, what in _summary(n_tokens, len(spans), n_repairs)))


def _print_token(console: Console, token: Token) -> None:
    from rich.text import Text

    from harmonium.cli.explain import quoted

    style = {"header": "cyan", "end": "cyan", "body": ""}[token.part]
    allowed = ""
    if token.allowed is not None:
        allowed = f"{'' if token.allowed.is_legal else '✗ '}{_named(token.allowed)}"
    text = quoted(token.text)
    pieces = (Text(f"{token.at:>6} {token.id:>7}  ", style="dim"), Text(f"{text:<{TEXT_WIDTH}}", style=style))
    line = Text.assemble(*pieces, Text(f"  {allowed}", style="dim" if not allowed.startswith("✗") else "red"))
    line.rstrip()
    console.print(line)
    for repair in token.repairs:
        said = f": {repair.text!r}" if repair.text else ""
        console.print(Text(f"{'':>16}↑ {repair.kind}{said}", style="yellow"))


def _named(allowed: Allowed) -> str:
    more = ", …" if allowed.n > len(allowed.first) and "text" not in allowed.first else ""
    return f"{allowed.n:>6,}  {', '.join(allowed.first)}{more}"


def _summary(n_tokens: int, n_messages: int, n_repairs: int) -> list[tuple[int, str]]:
    counts = [(n_tokens, "token"), (n_messages, "message")]
    return [*counts, (n_repairs, "repair")] if n_repairs else counts


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
