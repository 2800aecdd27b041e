"""A checkpoint's tokenizer.json: text and control tokens, kept apart.

Text from outside never becomes a control token: `encode` treats "<|end|>" as seven ordinary characters. Control tokens
are known by name, so that a vocabulary of any size works. Source of the names: OpenAI's harmony response format.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from harmonium.errors import BadCheckpoint, BadRequest, PromptTooLong

# No UTF-8 text holds this byte, so an id without a token decodes to exactly one U+FFFD wherever it stands.
NO_TOKEN = b"\xff"
SHORT, LONG = 256, 1 << 17  # characters; longer texts are remembered in a smaller number, or not at all
N_SHORT, N_LONG = 4096, 64
WINDOW = 1 << 16
"""Characters of a long text that are encoded at a time."""
LONGEST_RUN = 1 << 19
"""Characters without a place to cut: a run that is longer is encoded only where there is no limit."""
CUT = re.compile(r"(?<=[^\W_])(?=[\s.,;:!?()\"，。、！？])")
"""Where a long text may be cut without any id becoming another: behind a letter or digit and before a space or a
punctuation mark, which the tokenizers' patterns never put into one piece.
"""


@dataclass(frozen=True)
class Control:
    """The ids of the control tokens that make harmony's frame."""

    start: int
    end: int
    message: int
    channel: int
    constrain: int
    return_: int
    call: int


def _bytes_by_character() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _bytes_by_character()


class Vocabulary:
    """Text to ids and back. Immutable but for its caches, and safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, source: str = "tokenizer.json") -> None:
        """Takes over `tokenizer`. Raises BadCheckpoint when it is not byte-level or lacks harmony's tokens."""
        added = tokenizer.get_added_tokens_decoder()
        named = [token.content for token in added.values() if token.content.startswith("<|") and not token.special]
        tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in named])
        tokenizer.encode_special_tokens = True
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._added = {id_: token.content for id_, token in added.items()}
        self._specials = {t.content: i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}
        self.source = source
        self.special_ids = frozenset(self._specials.values())
        # One more than the highest id: the checkpoint's logits may have further rows, to which no token belongs.
        self.size = max(tokenizer.get_vocab_size(with_added_tokens=False), 1 + max(self._added, default=-1))
        is_dense = tokenizer.get_vocab_size(with_added_tokens=True) == self.size
        self._gaps = frozenset(() if is_dense else (i for i in range(self.size) if tokenizer.id_to_token(i) is None))
        if any(tokenizer.token_to_id(character) is None for character in _BYTES):
            raise BadCheckpoint(f"{source} is not byte-level. Use the tokenizer.json of a gpt-oss checkpoint.")
        self.control = Control(
            start=self.special("<|start|>"),
            end=self.special("<|end|>"),
            message=self.special("<|message|>"),
            channel=self.special("<|channel|>"),
            constrain=self.special("<|constrain|>"),
            return_=self.special("<|return|>"),
            call=self.special("<|call|>"),
        )
        # What closes a message, and what ends a generation.
        self.message_end_ids = frozenset({self.control.end, self.control.return_, self.control.call})
        ends = {self.control.return_, self.control.call, self._specials.get("<|endoftext|>")}
        self.stop_ids = frozenset(id_ for id_ in ends if id_ is not None)
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._special_pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._bytes: list[bytes | None] = [None] * self.size
        self._encode_short = lru_cache(maxsize=N_SHORT)(self._encode_tuple)
        self._encode_long = lru_cache(maxsize=N_LONG)(self._encode_tuple)

    @staticmethod
    def from_file(path: str | Path) -> Vocabulary:
        """Reads a checkpoint's tokenizer.json. Raises BadCheckpoint when it is missing, damaged or of another kind."""
        if not Path(path).is_file():
            raise BadCheckpoint(f"{path} is missing. A checkpoint needs its tokenizer.json: download it again.")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise BadCheckpoint(f"{path} cannot be read ({error}). Download the checkpoint again.") from error
        return Vocabulary(tokenizer, str(path))

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Tokenizer, str]]:
        return Vocabulary, (self._tokenizer, self.source)

    def __repr__(self) -> str:
        return f"Vocabulary({self.source!r}, size={self.size})"

    @property
    def specials(self) -> dict[str, int]:
        """Name to id, of every control token."""
        return dict(self._specials)

    def special(self, name: str) -> int:
        """The id of a control token by its full name, "<|end|>". Raises BadCheckpoint when there is none."""
        if name not in self._specials:
            raise BadCheckpoint(f"{self.source} has no {name} token. Use the tokenizer.json of a gpt-oss checkpoint.")
        return self._specials[name]

    def encode(self, text: str, parse_special: bool = False, most: int | None = None) -> list[int]:
        """Text to ids. parse_special turns the names of control tokens into them: for prompts rendered elsewhere.

        Lone surrogates, which no UTF-8 text can hold, become U+FFFD. most: raises PromptTooLong for more ids than that,
        without reading on. Other threads go on while a long text is read.
        """
        if parse_special:
            return self._encode_with_specials(text, most)
        text = _well_formed(text)
        if len(text) <= WINDOW:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return within(ids, most)
        ids = []
        for piece in windows(text, WINDOW):
            if most is not None and len(piece) > LONGEST_RUN:
                raise PromptTooLong(
                    f"The text has {len(piece):,} characters without a space or a punctuation mark in between, which "
                    "is no text; leave them out."
                )
            # Of several texts alone, the library reads without holding up Python's other threads.
            [encoding] = self._tokenizer.encode_batch_fast([piece], add_special_tokens=False)
            ids += encoding.ids
            within(ids, most)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Many texts at once, on all cores: the same ids as `encode` of each."""
        encodings = self._tokenizer.encode_batch_fast([_well_formed(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _encode_with_specials(self, text: str, most: int | None) -> list[int]:
        ids: list[int] = []
        for piece in self._special_pattern.split(text):
            if piece in self._specials:
                ids.append(self._specials[piece])
            elif piece:
                ids += self.encode(piece, most=most)
            within(ids, most)
        return ids

    def encode_fixed(self, text: str, most: int | None = None) -> tuple[int, ...]:
        """`encode`, remembered: for texts that come again, as headers and system and developer messages do."""
        if len(text) > LONG:
            return tuple(self.encode(text, most=most))
        return self._encode_short(text) if len(text) <= SHORT else self._encode_long(text)

    def _encode_tuple(self, text: str) -> tuple[int, ...]:
        return tuple(self.encode(text))

    def has_token(self, id_: int) -> bool:
        """Is there a token of this id? Logits have rows beyond the vocabulary; ids from elsewhere can be anything."""
        return 0 <= id_ < self.size and id_ not in self._gaps

    def token_bytes(self, id_: int) -> bytes:
        """The bytes a token stands for (a control token's: its name). An id without a token gives NO_TOKEN."""
        if not 0 <= id_ < self.size:
            return NO_TOKEN
        known = self._bytes[id_]
        if known is None:
            known = self._bytes[id_] = self._look_up(id_)
        return known

    def _look_up(self, id_: int) -> bytes:
        if id_ in self._added:
            return self._added[id_].encode()
        token = self._tokenizer.id_to_token(id_)
        if token is None:
            return NO_TOKEN
        if any(character not in _BYTES for character in token):
            raise BadCheckpoint(f"{self.source}: the token {token!r} is not byte-level. Use a gpt-oss checkpoint.")
        return bytes(_BYTES[character] for character in token)

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Ids to text. Undecodable bytes and ids without a token become U+FFFD; control tokens their name or ""."""
        dropped = self.special_ids if skip_special else frozenset()
        return b"".join(self.token_bytes(id_) for id_ in ids if id_ not in dropped).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        return Decoder(self)


class Decoder:
    """Ids to text as they come: characters split over tokens come out whole, and the pieces join to `decode`'s text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._token_bytes = vocabulary.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._may_hold = False

    def feed(self, id_: int) -> str:
        """The text that this id completes, often "" inside a character."""
        return self.feed_bytes(self._token_bytes(id_))

    def feed_bytes(self, raw: bytes) -> str:
        """The same of several ids' bytes."""
        self._may_hold = not raw.isascii() or (self._may_hold and not raw)
        return self._utf8.decode(raw)

    def flush(self) -> str:
        """What is left of an unfinished character, as U+FFFD; the decoder is then as new."""
        if not self._may_hold:
            return ""
        self._may_hold = False
        rest = self._utf8.decode(b"", True)
        self._utf8.reset()
        return rest


def within(ids: list[int], most: int | None) -> list[int]:
    """The ids of a prompt, if there are not more than that. Raises PromptTooLong."""
    if most is not None and len(ids) > most:
        raise PromptTooLong(f"The prompt has more than {most} tokens, which the context cannot hold; shorten it.")
    return ids


def windows(text: str, size: int) -> Iterator[str]:
    """A text in pieces of about that many characters, or of more where it cannot be cut. Where there is no cut for
    LONGEST_RUN characters, one piece is all that is left.
    """
    start = 0
    while found := CUT.search(text, start + size, start + LONGEST_RUN + 1):
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def _well_formed(text: str) -> str:
    if not isinstance(text, str):
        raise BadRequest(f"Text was expected, not {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
