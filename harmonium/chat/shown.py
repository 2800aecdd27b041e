"""A message's text on its way to the reader: held back where a stop string may begin, beside the tokens it is made of.

Where tokens are reported, text is shown in whole tokens and whole characters, so that the bytes of each piece's tokens
are the piece. At a stop string, and where a text began inside a malformed header, a token has just the bytes shown.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from harmonium.chat.events import TokenLogprob
from harmonium.chat.stops import StopMatcher

Piece = tuple[str, tuple[TokenLogprob, ...]]
"""Text, and the tokens that it is made of where they are reported."""


class Shown:
    """Takes tokens and text as they come, and gives what may be shown. stop: the stop string that was found."""

    def __init__(self, stops: Sequence[str], has_tokens: bool, earlier: Sequence[TokenLogprob] = ()) -> None:
        """earlier: tokens that were read as a header, and of which the text may turn out to be the rest."""
        self._matcher = StopMatcher(stops) if stops else None
        self._has_tokens = has_tokens
        self._earlier = earlier
        self._pieces: deque[Piece] = deque()  # not shown yet
        self._text = ""  # of tokens that end inside a character
        self._tokens: list[TokenLogprob] = []
        self._n_seen = self._n_shown = 0
        self._texts: list[str] = []  # that were shown

    @property
    def stop(self) -> str | None:
        return None if self._matcher is None else self._matcher.stop

    @property
    def text(self) -> str:
        """All that was given to be shown."""
        return "".join(self._texts)

    def add_token(self, token: TokenLogprob) -> None:
        """The token of which the next text is made, at least in part."""
        self._tokens.append(token)
        self._earlier = ()

    def add_text(self, text: str) -> Piece:
        """More text; returns what may be shown now, which may be nothing."""
        if self._matcher is None and not self._has_tokens:
            self._texts.append(text)
            return text, ()
        if self._earlier:
            self._tokens, self._earlier = _ending(self._earlier, text), ()
            self._has_tokens = bool(self._tokens)
        self._n_seen += len(text)
        self._text += text
        if self._matcher is not None:
            self._matcher.feed(text)
        if not self._has_tokens or self.stop is not None or _text(self._tokens) == self._text:
            self._close_piece()
        return self._release(self._n_seen if self._matcher is None else self._matcher.n_safe)

    def finish(self) -> Piece:
        """What was held back, for the text is over."""
        if self.stop is not None:
            return "", ()
        if self._has_tokens and _text(self._tokens) != self._text:
            self._tokens = list(_beginning(self._tokens, self._text))  # cut inside a character, which is left out
        self._close_piece()
        return self._release(self._n_seen)

    def _close_piece(self) -> None:
        if self._text:
            self._pieces.append((self._text, tuple(self._tokens) if self._has_tokens else ()))
        self._text, self._tokens = "", []

    def _release(self, n_safe: int) -> Piece:
        """The pieces within the first n_safe characters of the message."""
        texts: list[str] = []
        tokens: list[TokenLogprob] = []
        while self._pieces and self._n_shown < n_safe:
            text, made_of = self._pieces.popleft()
            n = min(len(text), n_safe - self._n_shown)
            if n < len(text):
                if made_of and self.stop is None:
                    self._pieces.appendleft((text, made_of))
                    break
                self._pieces.appendleft((text[n:], ()))
                text, made_of = text[:n], _beginning(made_of, text[:n])
            self._n_shown += n
            texts.append(text)
            tokens += made_of
        shown = "".join(texts)
        self._texts.append(shown)
        return shown, tuple(tokens)


def _text(tokens: Sequence[TokenLogprob]) -> str:
    return b"".join(token.bytes for token in tokens).decode("utf-8", "replace")


def _beginning(tokens: Sequence[TokenLogprob], text: str) -> tuple[TokenLogprob, ...]:
    """The tokens that the text, a beginning of theirs, is made of, the last one cut to what it gives."""
    found: list[TokenLogprob] = []
    for token in tokens:
        for n in range(len(token.bytes) + 1):
            part = replace(token, bytes=token.bytes[:n])
            if _text([*found, part]) == text:
                return (*found, part) if n else tuple(found)
        found.append(token)
    return tuple(found)


def _ending(tokens: Sequence[TokenLogprob], text: str) -> list[TokenLogprob]:
    """The tokens that the text, their end, is made of, the first one cut to what it gives; none where they differ."""
    for first in range(len(tokens) - 1, -1, -1):
        token, rest = tokens[first], tokens[first + 1 :]
        for n in range(len(token.bytes) - 1, -1, -1):
            part = replace(token, bytes=token.bytes[n:])
            if _complete(part.bytes + b"".join(one.bytes for one in rest)) == text:
                return [part, *rest]
    return []


def _complete(raw: bytes) -> str:
    """What can be said of the text so far: without a last character that is not whole yet."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(raw)
