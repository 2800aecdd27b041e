"""What stands between `<|start|>` and `<|message|>`: who speaks, to whom, on which channel, in which content type.

A well-formed header is one match of a regular expression. Anything else is read field by field: what is recognised
counts, the rest is set aside as leftover text, and every deviation is named with its place. Reading never fails.
In header text the two control tokens are CHANNEL_MARK and CONSTRAIN_MARK, lone surrogates, which no text decodes to.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from harmonium.harmony.messages import Author, Channel, Role

CHANNEL_MARK, CONSTRAIN_MARK = "\udc05", "\udc03"
# Of a name as a well-formed header holds it: all but the blanks at which the reference divides a header.
_BLANK = r" \t\n\f\r"
_HELD = rf"[^{_BLANK}{CHANNEL_MARK}{CONSTRAIN_MARK}]+"
# Of a name in a header that is not well formed: letters and digits of any script, with their accents and joiners, and
# _ . - / @ : $, of which - . / @ : do not end it. Other signs are taken for noise.
_NO_SIGN = rf"\s\x00-\x23\x25-\x2c\x3b-\x3f\x5b-\x5e\x60\x7b-\x7f\ufffd{CHANNEL_MARK}{CONSTRAIN_MARK}"
_NAME = rf"[^{_NO_SIGN}]*[^{_NO_SIGN}\x2d-\x2f\x3a\x40]"
_TYPE = r"[\w/+.-]+"
_ROLES = frozenset(Role)
_WELL_FORMED = re.compile(
    rf"(?P<author>{_HELD})?(?: to=(?P<before>{_HELD}))?"
    rf"(?:{CHANNEL_MARK}(?P<channel>{'|'.join(Channel)}))?(?: to=(?P<after>{_HELD}))?"
    rf"(?: ?{CONSTRAIN_MARK}(?P<constrained>(?:{_TYPE})?)| (?P<type>{_TYPE}))?"
)
_GLUED_AUTHOR = re.compile(rf"assistant(?=to=|{'|'.join(Channel)})")
_AUTHOR = re.compile(_NAME)
_STARTS_WITH_ROLE = re.compile("|".join(Role))
_UNHELD = re.compile(rf"[{_BLANK}\ud800-\udfff]|<(?=\|(?:channel|constrain)\|>)")
_BEHIND_AUTHOR = re.compile(rf"\s*(?:$|to=|[{CHANNEL_MARK}{CONSTRAIN_MARK}])")
_WORD = re.compile(rf"[^\s{CHANNEL_MARK}{CONSTRAIN_MARK}]+")
_NEEDLESS_BLANK = re.compile(rf"(?<=[\s{CHANNEL_MARK}{CONSTRAIN_MARK}])\s|^\s(?!to=)|\s(?=$|{CHANNEL_MARK})")
_CHANNEL_OF_CALL = re.compile(rf"(?:{'|'.join(Channel)})\s+to=", re.IGNORECASE)
_KNOWN_CHANNEL = re.compile("|".join(Channel), re.IGNORECASE)
_RECIPIENT = re.compile(rf"to=\s*({_NAME})|((?:functions|browser)\.{_NAME})")
_TO = re.compile(r"to=\s*")
_HELD_RECIPIENT = re.compile(rf"to=({_HELD})")
_MAY_GO_ON = re.compile(rf"to=\s*{_HELD}(?:\s*{CONSTRAIN_MARK}?{_TYPE})?")
_CONSTRAINED = re.compile(rf"json|{_TYPE}")
_KNOWN_TYPE = re.compile(r"(?:json|code)(?!\w)")


class RepairKind(StrEnum):
    """How a sequence deviated from harmony."""

    HEADER_TEXT = "header_text"  # words in a header that belong to none of its fields: set aside
    DOUBLED_FIELD = "doubled_field"  # a channel, recipient or content type said twice: the last one counts
    UNKNOWN_CHANNEL = "unknown_channel"  # taken for the one it resembles, else final, or commentary for a call
    MISSING_CHANNEL = "missing_channel"  # final, or commentary for a call
    MISSING_ROLE = "missing_role"  # the assistant
    MISSING_START = "missing_start"  # a message that begins without <|start|>
    MISSING_HEADER = "missing_header"  # text with no header at all: a final message
    MISSING_MESSAGE = "missing_message"  # a body that begins without <|message|>
    MISSING_END = "missing_end"  # the next message begins before this one has ended
    WRONG_END = "wrong_end"  # <|call|> without a call, a call without it, reasoning that ends the turn
    EXTRA_END = "extra_end"  # a second end behind the end
    STRAY_TOKEN = "stray_token"  # a control token where none belongs: passed over
    UNKNOWN_TOKEN = "unknown_token"  # an id without a token: U+FFFD
    CUT_HEADER = "cut_header"  # the sequence stops inside a header


class Deviation(NamedTuple):
    """at: index of the character. text: what was set aside, if anything."""

    kind: RepairKind
    at: int
    text: str = ""


@dataclass
class Header:
    """The fields, the deviations, and the text behind the last field when no `<|message|>` closed the header."""

    author: Author
    channel: Channel | None = None
    recipient: str | None = None
    content_type: str | None = None
    body: str = ""
    deviations: list[Deviation] = field(default_factory=list)

    @property
    def is_bare(self) -> bool:
        """Does it say no more than the author?"""
        return self.channel is None and self.recipient is None and self.content_type is None

    @property
    def is_unknown_channel(self) -> bool:
        return any(deviation.kind is RepairKind.UNKNOWN_CHANNEL for deviation in self.deviations)


class Recipients:
    """Those that are known, as headers have them; finding the one that stands in a text looks at few of them."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._sorted = sorted(self._names)
        self._longest = max(map(len, self._sorted), default=0)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def longest_at(self, text: str, start: int) -> str:
        """The longest that stands there and does not go on as a word, or ""."""
        rest = text[start : start + self._longest]
        while rest and (at := bisect_right(self._sorted, rest)):
            before = self._sorted[at - 1]  # none that is longer begins the rest
            if not rest.startswith(before):
                shared = zip(rest, before, strict=False)
                rest = rest[: next((n for n, (one, other) in enumerate(shared) if one != other), len(rest))]
            elif _goes_on(text, start + len(before)):
                rest = before[:-1]
            else:
                return before
        return ""


NONE = Recipients()


def is_recipient(name: str) -> bool:
    """Can a header name it, so that it is read back as it is?"""
    return bool(name) and _UNHELD.search(name) is None


def sayable(name: str) -> str:
    """The name itself if a header can hold it, else one like it, with low lines for what a header cannot hold."""
    return _UNHELD.sub("_", name) or "_"


def read_header(
    text: str, role: Role | None, is_closed: bool, declared: Recipients = NONE, is_tentative: bool = False
) -> Header:
    """Reads a header's text. role: already known, from the prompt's `<|start|>assistant`; None: the text says it.

    is_closed: `<|message|>` follows, so text that belongs to no field is noise. Otherwise it begins the body.
    declared: recipients that are known, as headers have them. is_tentative: more may follow.
    """
    header = _read_well_formed(text, role, declared) if is_closed else None
    if header is None:
        header = _Reader(text, role, is_closed, declared, is_tentative).read()
        if is_closed and not header.deviations:
            blank = _NEEDLESS_BLANK.search(text)
            header.deviations.append(Deviation(RepairKind.HEADER_TEXT, blank.start() if blank else 0))
    if not is_closed:
        missing = RepairKind.MISSING_HEADER if header.is_bare else RepairKind.MISSING_MESSAGE
        header.deviations.append(Deviation(missing, max(0, len(text) - len(header.body))))
    elif header.channel is None and header.author.role is Role.ASSISTANT and not header.is_unknown_channel:
        header.deviations.append(Deviation(RepairKind.MISSING_CHANNEL, len(text)))
    if header.channel is None and header.author.role is Role.ASSISTANT:
        header.channel = Channel.FINAL if header.recipient is None else Channel.COMMENTARY
    return header


def _read_well_formed(text: str, role: Role | None, declared: Recipients) -> Header | None:
    match = _WELL_FORMED.fullmatch(text)
    if match is None or (match["author"] is None) == (role is None) or (match["before"] and match["after"]):
        return None
    if match["author"] is not None and not _is_author(match["author"], match["before"] is not None):
        return None
    if match["type"] and not (match["before"] or match["after"] or _KNOWN_TYPE.fullmatch(match["type"])):
        return None
    header = Header(_author(match["author"]) if role is None else Author(role))
    header.channel = Channel(match["channel"]) if match["channel"] else None
    header.recipient = match["before"] or match["after"]
    header.content_type = f"<|constrain|>{match['constrained']}" if match["constrained"] is not None else match["type"]
    if header.recipient is not None and declared and header.recipient not in declared:
        _mend_recipient(header, text, max(match.start("before"), match.start("after")), declared)
    return header


def _mend_recipient(header: Header, text: str, start: int, declared: Recipients) -> None:
    """The declared recipient that stands there between signs, or torn at its dot, if one does."""
    name = header.recipient or ""
    whole = f"{name}{header.content_type}"
    if name.endswith(".") and whole in declared:
        header.recipient, header.content_type = whole, None
        header.deviations.append(Deviation(RepairKind.HEADER_TEXT, start + len(name), " "))
        return
    before = len(name) - len(name.lstrip("\"'`*([{<"))
    meant = declared.longest_at(text, start + before)
    rest = name[before + len(meant) :]
    if meant and not any(character.isalnum() for character in rest):
        header.recipient = meant
        at = start if before else start + len(meant)
        header.deviations.append(Deviation(RepairKind.HEADER_TEXT, at, name[:before] + rest))


def _is_author(word: str, is_addressed: bool) -> bool:
    """Is the first word of a header an author? Tools of names with signs are, where they say that they are tools."""
    if word.partition(":")[0] in _ROLES:
        return True
    if word.startswith("to=") or _GLUED_AUTHOR.match(word):
        return False
    says_so = (is_addressed or word.startswith("functions.")) and not _STARTS_WITH_ROLE.match(word)
    return says_so or _AUTHOR.fullmatch(word) is not None


def _goes_on(text: str, at: int) -> bool:
    return text[at - 1].isalnum() and (text[at : at + 1].isalnum() or text[at : at + 1] == "_")


def _author(word: str) -> Author:
    """ "user", "assistant:name", or the name of a tool."""
    role, colon, name = word.partition(":")
    if role in _ROLES:
        return Author(Role(role), name if colon else None)
    return Author(Role.TOOL, word)


class _Reader:
    """Reads a header that is not well formed, field by field from left to right."""

    def __init__(self, text: str, role: Role | None, is_closed: bool, declared: Recipients, is_tentative: bool) -> None:
        self._text = text
        self._at = 0
        self._is_closed = is_closed
        self._declared = declared
        self._is_tentative = is_tentative
        self._last_mark = text.rfind(CHANNEL_MARK)
        self._has_author = role is not None
        self._is_glued = False  # "assistantfinal": the control tokens were lost
        self._header = Header(Author(role or Role.ASSISTANT))

    def read(self) -> Header:
        if glued := _GLUED_AUTHOR.match(self._text, self._skip_space()):
            self._at = glued.end()
            self._is_glued = True
            self._deviate(RepairKind.HEADER_TEXT, glued.start(), "assistant")
        elif not self._has_author:
            self._read_author()
        while self._skip_space() < len(self._text):
            start = self._at
            if self._text[start] == CHANNEL_MARK:
                self._read_channel()
            elif self._text[start] == CONSTRAIN_MARK:
                self._read_constrained()
            elif not (self._read_recipient() or self._read_word()):
                self._take_body(start)
        return self._header

    def _take_body(self, start: int) -> None:
        body = self._text[start:]
        if CONSTRAIN_MARK in body:
            self._deviate(RepairKind.STRAY_TOKEN, start + body.index(CONSTRAIN_MARK))
        self._header.body = body.replace(CONSTRAIN_MARK, "")
        self._at = len(self._text)

    def _skip_space(self) -> int:
        text, at = self._text, self._at
        while at < len(text) and text[at].isspace():
            at += 1
        self._at = at
        return at

    def _deviate(self, kind: RepairKind, start: int, text: str = "") -> None:
        self._header.deviations.append(Deviation(kind, start, text))

    def _set(self, name: str, value: object, start: int) -> None:
        if getattr(self._header, name) is not None:
            self._deviate(RepairKind.DOUBLED_FIELD, start)
        setattr(self._header, name, value)

    def _read_author(self) -> None:
        start = self._skip_space()
        word = _WORD.match(self._text, start)
        if word and self._is_tentative and word.end() == len(self._text) and word[0].startswith("functions."):
            self._at = word.end()
        elif word is None or not _AUTHOR.fullmatch(word[0]) or word[0].startswith("to="):
            self._deviate(RepairKind.MISSING_ROLE, start)
        elif self._is_closed or _BEHIND_AUTHOR.match(self._text, word.end()):
            self._header.author = _author(word[0])
            self._at = word.end()
        else:
            self._deviate(RepairKind.MISSING_ROLE, start)

    def _read_recipient(self) -> bool:
        """The longest name that may be meant. Where more may follow, all that may yet turn out to be the name."""
        text, start = self._text, self._at
        if self._is_tentative and _MAY_GO_ON.fullmatch(text, start):
            self._at = len(text)
            return True
        held = _HELD_RECIPIENT.match(text, start) if self._is_closed else None
        if held and held[1] in self._declared:
            self._set("recipient", held[1], start)
            self._at = held.end()
            return True
        match = _RECIPIENT.match(text, start)
        to = _TO.match(text, start)
        at = to.end() if to else start
        name, declared = (match[1] or match[2]) if match else "", self._declared.longest_at(text, at)
        name = max(name, declared, key=len)
        if not name:
            return False
        self._set("recipient", name, start)
        self._at = at + len(name)
        if at - start != len("to="):
            self._deviate(RepairKind.HEADER_TEXT, start)
        return True

    def _read_channel(self) -> None:
        start = self._at
        self._at += 1
        at = self._skip_space()
        if match := _KNOWN_CHANNEL.match(self._text, at):
            self._set("channel", Channel(match[0].lower()), start)
            self._at = match.end()
            if at != start + 1 or not match[0].islower():
                self._deviate(RepairKind.HEADER_TEXT, at)
            return
        word = _WORD.match(self._text, at)
        is_name = word is not None and (self._is_closed or word.end() <= self._last_mark)
        is_doubled = self._text[at : at + 1] == CHANNEL_MARK
        kind = RepairKind.DOUBLED_FIELD if is_doubled else RepairKind.UNKNOWN_CHANNEL
        self._deviate(kind, start, word[0] if word and is_name else "")
        if word is None or not is_name:
            return
        self._at = word.end()
        if (resembled := _resembled_channel(word[0])) is not None:
            self._set("channel", resembled, start)

    def _read_constrained(self) -> None:
        start = self._at
        self._at += 1
        if match := _CONSTRAINED.match(self._text, self._skip_space()):
            self._set("content_type", f"<|constrain|>{match[0]}", start)
            self._at = match.end()
        else:
            self._deviate(RepairKind.STRAY_TOKEN, start)

    def _read_word(self) -> bool:
        """A word that begins no other field: the content type, noise, or (False) the beginning of the body."""
        start = self._at
        word = _WORD.match(self._text, start)
        assert word is not None
        channel = _KNOWN_CHANNEL.match(self._text, start)
        is_told = self._is_closed or self._is_glued or _CHANNEL_OF_CALL.match(self._text, start)
        if channel and self._header.channel is None and is_told:
            self._header.channel = Channel(channel[0].lower())
            self._deviate(RepairKind.HEADER_TEXT, start)
            self._at = channel.end()
            return True
        known = _KNOWN_TYPE.match(self._text, start)
        if known and self._header.channel is not None and self._header.content_type is None:
            self._header.content_type = known[0]
            self._at = known.end()
            return True
        if not self._is_closed and start > self._last_mark:
            return False
        self._deviate(RepairKind.HEADER_TEXT, start, word[0])
        self._at = word.end()
        return True


def _resembled_channel(word: str) -> Channel | None:
    lowered = word.lower()
    candidates = [channel for channel in Channel if len(lowered) >= 3 and channel.startswith(lowered)]
    return candidates[0] if candidates else None
