"""Token ids to messages: incremental and total. Any sequence of ids gives a useful answer; no sequence raises.

The parser goes on where a prompt ends, behind `<|start|>assistant`. Ids become events one by one; a whole answer is its
events, joined. Where a sequence deviates from harmony the parser makes the best of it and says so in a RepairFound.
Every message keeps its exact ids, so that a turn in progress renders back to what the model wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile

from harmonium.harmony.header import (
    CHANNEL_MARK,
    CONSTRAIN_MARK,
    Deviation,
    Header,
    Recipients,
    RepairKind,
    read_header,
)
from harmonium.harmony.messages import Author, Channel, Message, Role
from harmonium.harmony.names import meant_recipient, spoken_names
from harmonium.harmony.namespaces import FUNCTIONS
from harmonium.harmony.vocabulary import NO_TOKEN, Vocabulary

# A header's text that is longer is looked at, whether it is not a body already; then at four times the length.
LONG_HEADER = 24


@dataclass(frozen=True, slots=True)
class MessageStart:
    """A header was read; text follows. channel is None only for messages that are not the assistant's."""

    author: Author
    channel: Channel | None
    recipient: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """More text of the message that has started; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The message, whole, with its ids. is_cut: the sequence stopped inside it."""

    message: Message
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class RepairFound:
    """A deviation from harmony. at: index of the id, counted from the first one fed. text: what was set aside."""

    kind: RepairKind
    at: int
    text: str = ""


Event = MessageStart | ContentDelta | MessageEnd | RepairFound


@dataclass(frozen=True)
class Parsed:
    """messages: in order, each with its ids. is_complete: the last one ended with an end token."""

    messages: tuple[Message, ...]
    repairs: tuple[RepairFound, ...]
    is_complete: bool


def parse(
    ids: Iterable[int], vocabulary: Vocabulary, role: Role | None = Role.ASSISTANT, functions: Iterable[str] = ()
) -> Parsed:
    """All ids at once: what a Parser, made from the other arguments, gives for them one by one."""
    parser, given, at = Parser(vocabulary, role, functions), list(ids), 0
    events: list[Event] = []
    while at < len(given):
        n, found = parser.feed_text(given, at)
        events += found if n else parser.feed(given[at])
        at += n or 1
    events += parser.finish()
    ends = [event for event in events if isinstance(event, MessageEnd)]
    repairs = tuple(event for event in events if isinstance(event, RepairFound))
    is_complete = bool(ends) and not ends[-1].is_cut and not any(r.kind == RepairKind.CUT_HEADER for r in repairs)
    return Parsed(tuple(end.message for end in ends), repairs, is_complete)


class Parser:
    """One turn's ids. `feed` returns the events an id completes, `feed_text` those of several that are plain text,
    `finish` those of the end.
    """

    def __init__(
        self, vocabulary: Vocabulary, role: Role | None = Role.ASSISTANT, functions: Iterable[str] = ()
    ) -> None:
        """role: the ids go on behind `<|start|>` and this role; None: they begin with `<|start|>`.

        functions: names of the functions that were declared; those that a header cannot hold are known again, and
        noise behind a recipient is told from a name.
        """
        control = vocabulary.control
        self._vocabulary = vocabulary
        self._specials = vocabulary.special_ids
        self._token_bytes = vocabulary.token_bytes
        self._control = control
        self._enders = vocabulary.message_end_ids | vocabulary.stop_ids
        self._marks = {control.channel: CHANNEL_MARK, control.constrain: CONSTRAIN_MARK}
        self._decoder = vocabulary.decoder()
        self._declared, self._meant = _known(tuple(functions))
        self._n_fed = 0
        self._events: list[Event] = []
        self._ids: list[int] = []
        self._header: Header | None = None  # of the message whose body is being read
        self._body: list[str] = []
        self._role = role
        self._is_between = role is None
        self._header_text: list[str] = []
        self._header_starts: list[int] = []  # of each piece: its id's index
        self._look_at = LONG_HEADER
        if role is not None:
            self._ids = [control.start, *vocabulary.encode_fixed(role)]

    def feed(self, id_: int) -> list[Event]:
        """The next id, whatever it is."""
        self._events = []
        at = self._n_fed
        self._n_fed = at + 1
        self._ids.append(id_)
        is_special = id_ in self._specials
        if not is_special and self._token_bytes(id_) == NO_TOKEN and not self._vocabulary.has_token(id_):
            self._repair(RepairKind.UNKNOWN_TOKEN, at)
        if self._is_between and not self._begins_header(id_, at):
            return self._events
        if self._header is not None:
            if not is_special:
                self._add_text(self._decoder.feed(id_))
            else:
                self._control_in_body(id_, at)
        elif is_special:
            self._control_in_header(id_, at)
        else:
            self._text_in_header(id_, at)
        return self._events

    def feed_text(self, ids: Sequence[int], first: int = 0) -> tuple[int, list[Event]]:
        """As many ids, from that place on, as are text of the message being read and nothing else: how many, and what
        `feed` gives for them, joined to one event. Where it is none, the id there is for `feed`.
        """
        self._events = []
        if self._header is None:
            return 0, self._events
        some = ids[first:]
        if not self._specials.isdisjoint(some):
            some = list(takewhile(lambda id_: id_ not in self._specials, some))
        raw = list(map(self._token_bytes, some))
        if NO_TOKEN in raw:
            del raw[raw.index(NO_TOKEN) :]
        n = len(raw)
        self._n_fed += n
        self._ids += ids[first : first + n]
        self._add_text(self._decoder.feed_bytes(b"".join(raw)))
        return n, self._events

    def finish(self) -> list[Event]:
        """The sequence is over: what was open is closed as it is. The parser is then spent."""
        self._events = []
        if self._header is not None:
            self._end_message(is_cut=True)
        elif not self._is_between and self._header_starts:
            header = self._read_header(is_closed=False)
            if header.body:
                self._start_message(header)
                self._end_message(is_cut=True)
            else:
                self._repair(RepairKind.CUT_HEADER, self._n_fed)
        elif not self._is_between and self._role is None:
            self._repair(RepairKind.CUT_HEADER, self._n_fed)
        self._is_between, self._header = True, None
        return self._events

    def _repair(self, kind: RepairKind, at: int, text: str = "") -> None:
        self._events.append(RepairFound(kind, at, text))

    def _begins_header(self, id_: int, at: int) -> bool:
        """Between messages: opens the next header. False when the id is thereby used up."""
        if id_ in self._enders:
            self._repair(RepairKind.EXTRA_END, at)
            return False
        self._is_between = False
        self._open_header(None)
        if id_ == self._control.start:
            return False
        self._repair(RepairKind.MISSING_START, at)
        return True

    def _open_header(self, role: Role | None) -> None:
        self._header = None
        self._role = role
        self._header_text, self._header_starts = [], []
        self._look_at = LONG_HEADER

    def _text_in_header(self, id_: int, at: int) -> None:
        self._add_header_text(self._decoder.feed(id_), at)
        if len(self._header_text) < self._look_at:
            return
        self._look_at *= 4
        header = self._read_header(is_closed=False, is_tentative=True)
        if _says_something(header.body):
            self._start_message(header)

    def _add_header_text(self, text: str, at: int) -> None:
        self._header_text.append(text)
        self._header_starts.append(at)

    def _control_in_header(self, id_: int, at: int) -> None:
        control = self._control
        if id_ == control.message:
            self._start_message(self._read_header(is_closed=True))
        elif id_ in self._marks:
            self._add_header_text(self._decoder.flush() + self._marks[id_], at)
        elif id_ in self._enders:
            self._start_message(self._read_header(is_closed=False))
            self._end_message(id_, at)
        elif id_ == control.start:
            self._start_in_header(at)
        else:
            self._repair(RepairKind.STRAY_TOKEN, at)

    def _start_in_header(self, at: int) -> None:
        """A second `<|start|>`: what is there is a message if it says anything, and noise otherwise."""
        if not self._header_text:
            self._repair(RepairKind.STRAY_TOKEN, at)
            self._open_header(None)
            return
        start = self._ids.pop()
        header = self._read_header(is_closed=False, is_tentative=True)
        if not _says_something(header.body):
            self._repair(RepairKind.STRAY_TOKEN, at, header.body)
            self._decoder.flush()
        else:
            self._start_message(header)
            self._repair(RepairKind.MISSING_END, at)
            self._end_message()
            self._is_between = False
        self._ids.append(start)
        self._open_header(None)

    def _read_header(self, is_closed: bool, is_tentative: bool = False) -> Header:
        """is_tentative: leaves an unfinished character in the decoder, for more text may follow."""
        if not is_tentative and (rest := self._decoder.flush()):
            self._add_header_text(rest, self._n_fed - 1)
        return read_header("".join(self._header_text), self._role, is_closed, self._declared, is_tentative)

    def _start_message(self, header: Header) -> None:
        if header.deviations:
            self._events += self._placed(header.deviations)
        if self._meant:
            self._name_again(header)
        self._header = header
        self._body = []
        self._events.append(MessageStart(header.author, header.channel, header.recipient, header.content_type))
        self._add_text(header.body)

    def _name_again(self, header: Header) -> None:
        """Gives functions the names that they were declared by."""
        if header.recipient is not None:
            header.recipient = meant_recipient(header.recipient, self._meant)
        if header.author.role is Role.TOOL and header.author.name is not None:
            header.author = replace(header.author, name=meant_recipient(header.author.name, self._meant))

    def _placed(self, deviations: list[Deviation]) -> list[RepairFound]:
        """The deviations as repairs, with ids' indices in the place of characters'."""
        last = self._n_fed - 1
        if not self._header_text:
            return [RepairFound(kind, last, text) for kind, _, text in deviations]
        owners = [at for text, at in zip(self._header_text, self._header_starts, strict=True) for _ in text]
        return [RepairFound(kind, owners[at] if at < len(owners) else last, text) for kind, at, text in deviations]

    def _add_text(self, text: str) -> None:
        if text:
            self._body.append(text)
            self._events.append(ContentDelta(text))

    def _control_in_body(self, id_: int, at: int) -> None:
        control = self._control
        if id_ in self._enders:
            self._end_message(id_, at)
        elif id_ == control.start or id_ == control.channel:
            # The next message begins although nothing ended this one.
            self._ids.pop()
            self._repair(RepairKind.MISSING_END, at)
            self._end_message()
            self._ids.append(id_)
            self._is_between = False
            self._open_header(None if id_ == control.start else Role.ASSISTANT)
            if id_ == control.channel:
                self._add_header_text(CHANNEL_MARK, at)
        else:
            self._repair(RepairKind.STRAY_TOKEN, at)

    def _end_message(self, id_: int | None = None, at: int = 0, is_cut: bool = False) -> None:
        header = self._header
        assert header is not None
        rest = self._decoder.flush()
        self._add_text("" if is_cut else rest)  # half of a character is nobody's mistake where the sequence was cut
        if id_ is not None and not self._is_right_end(id_, header):
            self._repair(RepairKind.WRONG_END, at)
        content = ("".join(self._body),)
        message = Message.read(self._ids, header.author, content, header.channel, header.recipient, header.content_type)
        self._events.append(MessageEnd(message, is_cut))
        self._header, self._ids, self._is_between = None, [], True

    def _is_right_end(self, id_: int, header: Header) -> bool:
        control = self._control
        if header.author.role is not Role.ASSISTANT:
            return id_ == control.end
        if header.recipient is not None:
            return id_ == control.call
        return id_ == control.end or (id_ == control.return_ and header.channel == Channel.FINAL)


@lru_cache(maxsize=64)
def _known(functions: tuple[str, ...]) -> tuple[Recipients, Mapping[str, str]]:
    """Their recipients, and the names of those that headers spell in another way."""
    spoken = spoken_names(functions)
    recipients = Recipients(f"{FUNCTIONS}.{spoken.get(name, name)}" for name in functions)
    return recipients, {written: name for name, written in spoken.items()}


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)
