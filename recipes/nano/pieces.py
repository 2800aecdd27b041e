"""The vocabulary's pieces of words, and words put together of them: a piece's letters are a fact that must be learned.

Pieces are few (about 2,500), so every one is spelled in training, also where it is a whole word that counting holds
out. Words made of several pieces follow the split by words.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

import harmonium
from harmonium.harmony.vocabulary import Vocabulary

_TOKENIZER = Path(harmonium.__file__).parent / "assets" / "nano" / "tokenizer.json"
_LAST_LATIN = "\u024f"


def _is_spellable(text: str) -> bool:
    """Latin letters only, and the same number of them in lower case."""
    return text.isalpha() and max(text) <= _LAST_LATIN and len(text.lower()) == len(text)


@cache
def pieces() -> tuple[str, ...]:
    """Every piece of the embedded vocabulary that is made of Latin letters, without a space before it, in its case."""
    vocabulary = Vocabulary.from_file(_TOKENIZER)
    decoded = (vocabulary.decode([number]).removeprefix(" ") for number in range(vocabulary.size))
    return tuple(dict.fromkeys(piece for piece in decoded if _is_spellable(piece)))


@cache
def _small_pieces() -> tuple[str, ...]:
    return tuple(piece for piece in pieces() if piece.islower() and len(piece) <= 10)


def pieced_word(random: Random, shortest: int = 3, longest: int = 16) -> str:
    """Pieces in a row, in lower case, of shortest to longest letters; either side of the split.

    None begins with ß, which has no capital of one letter.
    """
    length = random.randint(shortest, longest)
    word = ""
    while len(word) < length:
        word = (word + random.choice(_small_pieces())).lstrip("ß")
    return word[:length]


def spelled(word: str) -> str:
    """Its letters in lower case with hyphens between them."""
    return "-".join(word.lower())
