"""What each id of a sequence is: whose message it belongs to, which part of it, what is wrong with it, what else was
allowed there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harmonium.chat.restraint import Compiler, Restraint, Rules
from harmonium.engine.constraint import Cursor
from harmonium.errors import BadRequest
from harmonium.harmony.automaton import text_mask
from harmonium.harmony.messages import (
    Channel,
    Conversation,
    DeveloperContent,
    Message,
    Role,
    SystemContent,
    ToolSpec,
)
from harmonium.harmony.namespaces import BUILTIN_NAMESPACES, FUNCTIONS
from harmonium.harmony.parse import MessageEnd, MessageStart, Parser, RepairFound
from harmonium.harmony.vocabulary import Vocabulary

N_NAMED = 4
FREE_RULES = Rules()


@dataclass(frozen=True)
class Allowed:
    """What the automaton would let follow. first: some of it, "text" standing for every text token."""

    n: int
    first: tuple[str, ...]
    is_legal: bool
    """Was the id that came among them?"""


@dataclass
class Token:
    at: int
    id: int
    text: str
    part: Literal["header", "body", "end"]
    repairs: list[RepairFound] = field(default_factory=list)
    allowed: Allowed | None = None


@dataclass(frozen=True)
class Span:
    """A message's tokens. is_open: it goes on behind the last one, or has yet to begin."""

    role: str
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    tokens: list[Token]
    is_open: bool = False

    @property
    def title(self) -> str:
        """ "assistant · commentary · to functions.f · json"."""
        type_ = self.content_type and self.content_type.removeprefix("<|constrain|>")
        who = self.name if self.role == Role.TOOL else ":".join(filter(None, (self.role, self.name)))
        to = self.recipient and f"to {self.recipient}"
        return " · ".join(filter(None, (who, self.channel, to, type_)))


def read_ids(text: str) -> list[int]:
    """Ids as people have them: numbers, a list, or what --json printed. Raises BadRequest for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict):
        value = value.get("token_ids", value.get("ids"))
    if isinstance(value, list) and value and all(type(id_) is int and id_ >= 0 for id_ in value):
        return value
    if not re.fullmatch(r"[\d\s,;()\[\]]*\d[\d\s,;()\[\]]*", text):
        raise BadRequest("Ids are whole numbers, such as 200006 882 200008, or a JSON list of them.")
    return [int(number) for number in re.findall(r"\d+", text)]


def explain(ids: Sequence[int], vocabulary: Vocabulary, functions: Sequence[str] = ()) -> list[Span]:
    """The messages in their order, which together have every id. functions: names of those that were declared.

    Ids that do not begin with `<|start|>` go on behind `<|start|>assistant`, as what a model says does, and what
    it says once its call was answered.
    """
    spans, starts = list[Span](), [0, *later_rounds(ids, vocabulary)]
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
        spans += _of_round(ids[start:stop], start, vocabulary, functions)
    return spans


def later_rounds(ids: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    """Where an answer of several rounds begins anew: at the headers right behind calls, for results are not in it."""
    control = vocabulary.control
    if not ids or ids[0] == control.start:
        return []
    begins = {control.channel, vocabulary.encode_fixed(f" to={FUNCTIONS}.")[0]}
    return [at for at, (before, id_) in enumerate(pairwise(ids), 1) if before == control.call and id_ in begins]


def _of_round(ids: Sequence[int], offset: int, vocabulary: Vocabulary, functions: Sequence[str]) -> list[Span]:
    control = vocabulary.control
    is_answer = bool(ids) and ids[0] != control.start
    parser = Parser(vocabulary, Role.ASSISTANT if is_answer else None, functions)
    tokens = [Token(at, id_, show(id_, vocabulary), "header") for at, id_ in enumerate(ids, offset)]
    spans, first, body = list[Span](), 0, len(ids)
    for at, id_ in enumerate(ids):
        for event in parser.feed(id_):
            if isinstance(event, RepairFound):
                tokens[event.at].repairs.append(replace(event, at=event.at + offset))
            elif isinstance(event, MessageStart):
                body = at + (id_ == control.message)
            elif isinstance(event, MessageEnd):
                stop = at + (id_ not in (control.start, control.channel))
                spans.append(_span(event, tokens[first:stop], body - first, vocabulary))
                first, body = stop, len(ids)
        if spans and first == at and id_ in vocabulary.stop_ids | vocabulary.message_end_ids:
            tokens[at].part = "end"  # a second one
            spans[-1].tokens.append(tokens[at])
            first = at + 1
    rest = parser.finish()
    for event in rest:
        if isinstance(event, RepairFound) and not _is_prompt(ids[first:], vocabulary):
            tokens[min(event.at, len(ids) - 1)].repairs.append(replace(event, at=event.at + offset))
        elif isinstance(event, MessageEnd):
            spans.append(_span(event, tokens[first:], body - first, vocabulary))
            first = len(ids)
    if first < len(ids):
        role = vocabulary.decode(ids[first:], skip_special=True).split(" ")[0] if ids[first] == control.start else ""
        spans.append(Span(role or Role.ASSISTANT, None, None, None, None, tokens[first:], is_open=True))
    return spans


def _span(event: MessageEnd, tokens: Sequence[Token], n_header: int, vocabulary: Vocabulary) -> Span:
    for number, token in enumerate(tokens):
        if number >= n_header:
            token.part = "end" if token.id in vocabulary.message_end_ids else "body"
    said = event.message
    channel = None if said.channel is None else str(said.channel)
    fields = (str(said.role), said.author.name, channel, said.recipient, said.content_type)
    return Span(*fields, list(tokens), event.is_cut)


def _is_prompt(ids: Sequence[int], vocabulary: Vocabulary) -> bool:
    """Nothing but `<|start|>assistant`, behind which the model goes on."""
    return list(ids) == [vocabulary.control.start, *vocabulary.encode_fixed(Role.ASSISTANT)]


def declared(spans: Sequence[Span]) -> tuple[list[str], list[str], tuple[Channel, ...]]:
    """The functions, builtin tools and channels that system and developer messages name, as they are rendered."""
    functions, builtin, channels = list[str](), list[str](), tuple(Channel)
    for span in spans:
        text = "".join(token.text for token in span.tokens if token.part == "body")
        if span.role == Role.DEVELOPER:
            space = text.rpartition(f"\nnamespace {FUNCTIONS} {{\n")[2]
            functions += re.findall(r"^type (\S+) = \(", space, re.MULTILINE) if space != text else []
        elif span.role == Role.SYSTEM:
            builtin += [name for name, section in BUILTIN_NAMESPACES.items() if section in text]
            if named := re.findall(r"^# Valid channels: ([\w, ]*)\.", text, re.MULTILINE):
                channels = tuple(channel for channel in Channel if channel in named[-1].split(", "))
    return functions, builtin, channels


def mark_allowed(
    spans: Sequence[Span],
    vocabulary: Vocabulary,
    functions: Sequence[str] = (),
    builtin: Sequence[str] = (),
    rules: Rules = FREE_RULES,
) -> Allowed | None:
    """Notes at each of the assistant's tokens what was allowed there; returns what is allowed next.

    functions, builtin: names of tools that it may call, besides those that the messages themselves declare. rules: what
    its turns keep to.

    An id that it forbids is noted as such, and there is no more to say until the next `<|start|>assistant`. A final
    message may end with `<|end|>` too, as in a conversation's history. Raises BadRequest for rules that cannot be kept.
    """
    said_functions, said_builtin, channels = declared(spans)
    tools = tuple(map(ToolSpec, dict.fromkeys([*functions, *said_functions])))
    system = SystemContent(builtin_tools=tuple(dict.fromkeys([*builtin, *said_builtin])), channels=channels)
    told = Conversation((Message.system(system), Message.developer(DeveloperContent(tools=tools))))
    masks = _Masks(Restraint(told, rules, Compiler(vocabulary, vocabulary.size)), vocabulary)
    speaker, before, n_rounds = [vocabulary.control.start, *vocabulary.encode_fixed(Role.ASSISTANT)], list[int](), 0
    begun = {0, *later_rounds([token.id for span in spans for token in span.tokens], vocabulary)}
    cursor = masks.begin(0) if not spans else None
    for span in spans:
        n_rounds = 0 if span.role == Role.USER else n_rounds
        for token in span.tokens:
            if token.at in begun and token.id != speaker[0]:
                cursor = masks.begin(n_rounds)
            if cursor is not None:
                token.allowed = masks.look(cursor, token.id)
                if not token.allowed.is_legal or token.id in vocabulary.stop_ids or masks.is_history(cursor, token.id):
                    cursor = None
                else:
                    cursor.advance(token.id)
            n_rounds += token.id == vocabulary.control.call
            before = [*before, token.id][-len(speaker) :]
            if before == speaker and cursor is None:
                cursor = masks.begin(n_rounds)
    return None if cursor is None else masks.look(cursor, None)


class _Masks:
    def __init__(self, restraint: Restraint, vocabulary: Vocabulary) -> None:
        self._restraint, self._vocabulary = restraint, vocabulary
        self._text = text_mask(vocabulary, vocabulary.size)

    def begin(self, n_rounds: int) -> Cursor:
        return Cursor(self._restraint.constraint(n_rounds, 0))

    def look(self, cursor: Cursor, id_: int | None) -> Allowed:
        mask = cursor.mask().view(np.uint32)
        n = int(np.bitwise_count(mask).sum())
        is_body = bool(((mask & self._text) == self._text).all())
        named = list(self._named(mask & ~self._text if is_body else mask))
        if is_body:
            named.insert(0, "text")
        is_legal = False
        if id_ is not None and id_ < self._vocabulary.size:
            is_legal = self.is_history(cursor, id_) or bool(mask[id_ // 32] >> np.uint32(id_ % 32) & 1)
        return Allowed(n, tuple(named[:N_NAMED]), is_legal)

    def is_history(self, cursor: Cursor, id_: int) -> bool:
        """`<|end|>` where the turn ends with `<|return|>`."""
        control = self._vocabulary.control
        return id_ == control.end and control.return_ in cursor.table.edges[cursor.state]

    def _named(self, mask: NDArray[np.uint32]) -> Iterator[str]:
        for id_ in np.flatnonzero(np.unpackbits(mask.astype("<u4").view(np.uint8), bitorder="little")):
            yield quoted(show(int(id_), self._vocabulary))


def show(id_: int, vocabulary: Vocabulary) -> str:
    """A token's text; its bytes as \\x.. where they are only part of a character."""
    if not vocabulary.has_token(id_):
        return "(no token)"
    return vocabulary.token_bytes(id_).decode("utf-8", "backslashreplace")


def quoted(text: str) -> str:
    """Text in quotes, the names of control tokens as they are."""
    is_name = (text.startswith("<|") and text.endswith("|>")) or text.startswith("\\x") or text == "(no token)"
    return text if is_name else repr(text)
