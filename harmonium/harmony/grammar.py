"""Bodies that follow a grammar: JSON schema, regular expression or Lark to masks over ids, by llguidance.

A `Grammar` is what was asked for; a `Compiler` makes of it a function that starts a `Matcher`, one for each body, in
the form of the engine's host matchers. Compiling costs a millisecond, and the first one for a vocabulary as much as the
look at each of its tokens: half a second for 200,000.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import llguidance
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from harmonium.errors import BadRequest
from harmonium.harmony.convert import response_formats
from harmonium.harmony.messages import ResponseFormat
from harmonium.harmony.vocabulary import Vocabulary

WHITESPACE = r"[ \n\t\r]{1,40}"
"""Between the parts of JSON: indented as one likes, but not for ever."""
ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True)
class Grammar:
    """What a body has to follow. source: the grammar as llguidance has it; equal ones are compiled once."""

    source: str

    @staticmethod
    def json_schema(schema: Mapping[str, Any]) -> Grammar:
        """JSON that is valid against a schema. Raises BadRequest for a schema that is not JSON."""
        try:
            text = json.dumps(schema)
            return Grammar(LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": WHITESPACE}))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequest(f"The schema is no JSON ({error}); give a JSON Schema as a dict.") from None

    @staticmethod
    def of_response_format(given: ResponseFormat | Mapping[str, Any] | None) -> Grammar | None:
        """What a response_format asks of the answer, None for free text.

        OpenAI's text, json_object and json_schema, and {"type": "grammar", "syntax": "lark" or "regex", "definition":
        ...}. Raises BadRequest for any other.
        """
        formats = response_formats(given)
        if formats:
            return Grammar.json_schema(formats[0].schema)
        kind = given.get("type") if isinstance(given, Mapping) else None
        if kind == "grammar":
            assert isinstance(given, Mapping)
            return Grammar._defined(given.get("syntax"), given.get("definition"))
        return Grammar.json_object() if kind == "json_object" else None

    @staticmethod
    def _defined(syntax: Any, definition: Any) -> Grammar:
        if not isinstance(definition, str) or syntax not in ("lark", "regex"):
            raise BadRequest('A grammar has a syntax, "lark" or "regex", and its text as definition.')
        return Grammar.lark(definition) if syntax == "lark" else Grammar.regex(definition)

    @staticmethod
    def json_object() -> Grammar:
        return Grammar.json_schema(ANY_OBJECT)

    @staticmethod
    def regex(pattern: str) -> Grammar:
        """Text that a regular expression (of Rust's regex syntax, without look-around) matches whole."""
        return Grammar(LLMatcher.grammar_from_regex(pattern))

    @staticmethod
    def lark(definition: str) -> Grammar:
        """Text that a Lark grammar derives from its rule `start`."""
        return Grammar(LLMatcher.grammar_from_lark(definition))


class Matcher:
    """One body, id by id: the engine's HostMatcher. Raises RuntimeError where the grammar outgrows its limits."""

    def __init__(self, matcher: LLMatcher, n_ids: int, vocab_size: int, end: int) -> None:
        """matcher: at its beginning, over ids below n_ids; end: the id that stands for the end there, in its masks."""
        self._matcher, self._end = matcher, end
        self._words = np.zeros(-(-vocab_size // 32), np.int32)
        self._n_bytes = -(-n_ids // 32) * 4

    def mask(self) -> NDArray[np.int32]:
        """(ceil(vocab_size / 32),), bit i % 32 of word i // 32 for id i. The same array every time."""
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._n_bytes)
        self._words.view(np.uint32)[self._end // 32] &= ~np.uint32(1 << self._end % 32)
        self._check()
        return self._words

    def can_end(self) -> bool:
        return self._matcher.is_accepting()

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> Sequence[int]:
        """Ids that must follow, spelled as the vocabulary would; none where the body may end."""
        return () if self.can_end() else self._matcher.compute_ff_tokens()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise RuntimeError(self._matcher.get_error())


class Compiler:
    """Compiles grammars for one vocabulary and logits of vocab_size rows, and remembers them."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int) -> None:
        self._vocabulary, self._vocab_size = vocabulary, vocab_size
        self.compile = lru_cache(maxsize=256)(self._compile)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return LLTokenizer(llguidance.TokenizerWrapper(_Tokens(self._vocabulary)))

    def _compile(self, grammar: Grammar) -> Callable[[], Matcher]:
        """What starts a matcher. Raises BadRequest for what cannot be compiled."""
        tokenizer, n_ids, n_rows = self._tokenizer, self._vocabulary.size, self._vocab_size
        first = LLMatcher(tokenizer, grammar.source, log_level=0)
        if first.is_error():
            raise BadRequest(_one_line(first.get_error()))
        return lambda: Matcher(first.deep_copy(), n_ids, n_rows, tokenizer.eos_token)


def _one_line(error: str) -> str:
    return f"{' '.join(error.split()).rstrip('.')}."


class _Tokens:
    """A vocabulary as llguidance reads it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.control.return_
        self.bos_token_id = None
        self.special_token_ids = sorted(vocabulary.special_ids)
        ids = range(vocabulary.size)
        self.tokens = [vocabulary.token_bytes(id_) if vocabulary.has_token(id_) else b"" for id_ in ids]
        self._encode = vocabulary.encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text.decode() if isinstance(text, bytes) else text)
