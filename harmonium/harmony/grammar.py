"""Bodies that follow a grammar: JSON schema, regular expression or Lark to masks over ids, by llguidance.

A `Grammar` is what was asked for; a `Compiler` makes of it a function that starts a `Matcher`, one for each body, in
the form of the engine's host matchers. Compiling costs a millisecond, and the first one for a vocabulary as much as the
look at each of its tokens: half a second for 200,000. Only what compiles imports llguidance.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harmonium.errors import BadRequest
from harmonium.harmony.automaton import text_mask
from harmonium.harmony.convert import response_formats
from harmonium.harmony.enforceable import REMEDY, enforceable
from harmonium.harmony.messages import ResponseFormat
from harmonium.harmony.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WHITESPACE = r"[ \n\t\r]{1,40}"
"""Between the parts of JSON: indented as one likes, but not for ever."""
ANY_OBJECT = {"type": "object"}
_LETTERS, _TEXT = "[A-Za-z ]", r'[^"\\\x00-\x1F\x7F]'
SLICES = (
    r"[\x20\x0A\x0D\x09]+",
    "[a-z]{1,10}",
    " [a-z]{1,9}",
    *(f"{_LETTERS}{{1,{n}}}" for n in (10, 30)),
    *(r"[^\x00-\x7F]+", r" [^\x00-\x7F]+"),
    *(f"{_TEXT}{{1,{n}}}" for n in (4, 7, 10, 30)),
    f"{_TEXT}+",
)
"""Kinds of tokens that a mask takes whole where all of a kind may follow: measured by benchmarks/schema_mask.py, texts
of bounded length and patterns of letters, names and words gain. Each costs a tenth of a second, once for a vocabulary.
"""
SIMPLER = "Write it so that a text can be read in fewer ways: bounds for what repeats, no repeats inside of repeats."
DEAD_END = (
    "It has led to where it allows no text and no end, for one of its rules matches nothing; mend that rule, or give "
    "its place an alternative."
)
MOST_ITEMS = 20_000
"""Of a parser's row. An object takes four for each property that may be left out; llguidance's default ends at 500."""
MOST_REMEMBERED = 256
"""Grammars of a compiler."""
MOST_FORCED = 256
"""Ids of a body's beginning without a choice, behind which it is seen whether it goes on at all."""
_LARK_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|#[^\n]*|/(?:\\.|[^/\\])+/')
_SPECIAL = re.compile(r"<[^\s>]*>?")


@dataclass(frozen=True)
class Grammar:
    """What a body has to follow. source: the grammar as llguidance has it; equal ones are compiled once."""

    source: str

    @staticmethod
    def json_schema(schema: Mapping[str, Any], is_strict: bool = True) -> Grammar:
        """JSON that is valid against a schema, or, where not is_strict, against what of it can be enforced.

        Raises BadRequest for a schema that is not JSON.
        """
        from llguidance import LLMatcher

        try:
            text = json.dumps(enforceable(schema, is_strict), ensure_ascii=False)
            text.encode()
            return Grammar(
                LLMatcher.grammar_from_json_schema(
                    text,
                    overrides={
                        "whitespace_pattern": WHITESPACE,
                        "coerce_one_of": not is_strict,
                        "lenient": not is_strict,
                    },
                )
            )
        except UnicodeEncodeError:
            raise BadRequest(f"The schema {_SURROGATE}") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequest(f"The schema is no JSON ({error}); give a JSON Schema as a dict.") from None

    @staticmethod
    def of_response_format(given: ResponseFormat | Mapping[str, Any] | None) -> Grammar | None:
        """What a response_format asks of the answer, None for free text.

        OpenAI's text, json_object and json_schema, and {"type": "grammar", "syntax": "lark" or "regex", "definition":
        ...}. A schema with "strict": false is enforced as far as it can be. Raises BadRequest for any other.
        """
        formats = response_formats(given)
        if formats:
            return Grammar.json_schema(formats[0].schema, is_strict=not _is_loose(given))
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
        from llguidance import LLMatcher

        return Grammar(LLMatcher.grammar_from_regex(_utf8(pattern, "regular expression")))

    @staticmethod
    def lark(definition: str) -> Grammar:
        """Text that a Lark grammar derives from its rule `start`. Raises BadRequest where it names special tokens."""
        from llguidance import LLMatcher

        if found := _SPECIAL.search(_LARK_TEXT.sub('""', definition)):
            raise BadRequest(
                f"The grammar names the special token {found[0]}, which no body can hold; leave it out, or put its "
                "name in quotes to mean the text."
            )
        return Grammar(LLMatcher.grammar_from_lark(_utf8(definition, "grammar")))


_SURROGATE = "has half of a surrogate pair in it, which is no character; take it out."


def _utf8(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"The {what} {_SURROGATE}") from None
    return text


def _is_loose(given: ResponseFormat | Mapping[str, Any] | None) -> bool:
    """Does a json_schema format say "strict": false?"""
    inner = given.get("json_schema", given) if isinstance(given, Mapping) else {}
    return inner.get("strict") is False


class Matcher:
    """One body, id by id: the engine's HostMatcher. Raises BadRequest where the grammar outgrows its limits."""

    def __init__(self, matcher: LLMatcher, text: NDArray[np.uint32], n_ids: int) -> None:
        """matcher: at its beginning, over ids below n_ids; text: the ids that a body may have at all, packed."""
        self._matcher, self._text = matcher, text.view(np.int32)
        self._words = np.zeros(len(text), np.int32)
        self._n_bytes = -(-n_ids // 32) * 4

    def mask(self) -> NDArray[np.int32]:
        """(ceil(vocab_size / 32),), bit i % 32 of word i // 32 for id i: text alone. The same array every time."""
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._n_bytes)
        self._words &= self._text
        self._check()
        return self._words

    def can_end(self) -> bool:
        return self._matcher.is_accepting()

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> Sequence[int]:
        """Ids that must follow, spelled as the vocabulary would; none where the body may end."""
        return () if self.can_end() else [*takewhile(self._is_text, self._matcher.compute_ff_tokens())]

    def _is_text(self, id_: int) -> bool:
        return bool(self._text[id_ // 32] >> id_ % 32 & 1)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise BadRequest(f"The grammar cannot be followed any further: {_stopped(self._matcher.get_error())}")


class Compiler:
    """Compiles grammars for one vocabulary and logits of vocab_size rows, and remembers them."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int) -> None:
        self._vocabulary, self._vocab_size = vocabulary, vocab_size
        self._compiled: OrderedDict[Grammar, Callable[[], Matcher]] = OrderedDict()  # the last used at the end
        self._lock = Lock()

    def compile(self, grammar: Grammar, trial: Callable[[Grammar], None] | None = None) -> Callable[[], Matcher]:
        """What starts a matcher. Raises BadRequest for what cannot be compiled, and for what nothing can match.

        trial: is called with a grammar that is not remembered before it is compiled, and may refuse it by raising.
        """
        with self._lock:
            if (found := self._compiled.get(grammar)) is not None:
                self._compiled.move_to_end(grammar)
                return found
        if trial is not None:
            trial(grammar)
        made = self._compile(grammar)
        with self._lock:
            self._compiled[grammar] = made
            if len(self._compiled) > MOST_REMEMBERED:
                self._compiled.popitem(last=False)
        return made

    def prepare(self) -> None:
        """Looks at each token, as the first grammar otherwise would: seconds in which no other thread can run."""
        if find_spec("llguidance") is not None:  # without it there are no grammars
            assert self._tokenizer is not None

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper

        return LLTokenizer(TokenizerWrapper(_Tokens(self._vocabulary)), slices=list(SLICES))

    def _compile(self, grammar: Grammar) -> Callable[[], Matcher]:
        from llguidance import LLMatcher, LLParserLimits

        tokenizer, n_ids, text = self._tokenizer, self._vocabulary.size, text_mask(self._vocabulary, self._vocab_size)
        limits = LLParserLimits(verbose_errors=False, max_items_in_row=MOST_ITEMS)
        first = LLMatcher(tokenizer, grammar.source, log_level=0, limits=limits)
        if first.is_error():
            raise BadRequest(one_line(first.get_error()))
        trial = Matcher(first.deep_copy(), text, n_ids)
        if not trial.can_end() and not _any_mask(trial):
            raise BadRequest("No text matches it; give one that allows something.")
        for id_ in trial.forced()[:MOST_FORCED]:
            trial.accept(id_)
        trial.mask()
        return lambda: Matcher(first.deep_copy(), text, n_ids)


def _any_mask(matcher: Matcher) -> bool:
    """Does anything follow?"""
    try:
        return bool(matcher.mask().any())
    except BadRequest:
        return False


def _stopped(error: str) -> str:
    """Why a body can go no further, from what llguidance says of it."""
    if error.startswith("NoExtension"):
        return DEAD_END
    if "Too many items" in error or "too complex" in error.lower():
        return f"There are too many ways to go on, or there is no end. {SIMPLER}"
    return f"{one_line(error)} {SIMPLER}"


def one_line(error: str) -> str:
    """What llguidance says of an error, without its inner state."""
    if named := re.match(r"Unimplemented keys: \[(.*)\]", error):
        return f"{named[1].replace(chr(34), '')} cannot be enforced; {REMEDY}."
    if error.startswith("oneOf constraints"):
        return f"Some variants of a oneOf do not exclude one another; write anyOf, or {REMEDY.partition(' or ')[2]}."
    said = error.partition("<")[0] if error.startswith("panic") else error.replace("<non-verbose/>", "")
    return f"{' '.join(said.split()).rstrip('.')[:300]}."


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
