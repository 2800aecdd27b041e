"""Text to ids and back, exact against the reference tokenizer; control tokens only where they are asked for."""

from __future__ import annotations

import base64
import gzip
import pickle
from importlib.resources import files
from pathlib import Path

import openai_harmony as oh
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from harmonium.errors import BadCheckpoint, BadRequest, PromptTooLong
from harmonium.harmony.vocabulary import LONGEST_RUN, WINDOW, Vocabulary, windows
from tests.harmony.scripts import BLOCKS, SCRIPTS, strings

NAMES = ("start", "end", "message", "channel", "constrain", "return", "call", "endoftext")


def small(specials: tuple[str, ...] = NAMES, special: bool = True) -> Tokenizer:
    """A byte-level vocabulary of 256 bytes and the control tokens, as nano's is built."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    added = [AddedToken(f"<|{name}|>", normalized=False, special=special) for name in specials]
    tokenizer.add_special_tokens(added) if special else tokenizer.add_tokens(added)
    return tokenizer


@given(text=st.text(max_size=60) | st.sampled_from(SCRIPTS))
@settings(max_examples=200, deadline=None)
def test_same_ids_as_the_reference(text: str, o200k: Vocabulary, reference: oh.HarmonyEncoding) -> None:
    ids = o200k.encode(text)
    assert ids == reference.encode(text, disallowed_special=())
    assert o200k.decode(ids) == text
    assert o200k.encode_fixed(text) == tuple(ids)


@pytest.fixture(scope="module")
def tiktokens() -> tiktoken.Encoding:
    """tiktoken's o200k_harmony, from the ranks on this machine instead of a download."""
    lines = gzip.decompress(files("bpe_openai").joinpath("data/o200k_base.tiktoken.gz").read_bytes()).splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks)
        return tiktoken.Encoding(**openai_public.o200k_harmony())


@pytest.mark.parametrize("block", BLOCKS)
def test_every_script_as_tiktoken_has_it(block: str, o200k: Vocabulary, tiktokens: tiktoken.Encoding) -> None:
    """Encoded the same, decoded to itself, and streamed in whole characters."""
    for text in strings(block, 120):
        ids = o200k.encode(text)
        assert ids == tiktokens.encode_ordinary(text)
        assert o200k.decode(ids) == tiktokens.decode(ids) == text
        decoder = o200k.decoder()
        pieces = [decoder.feed(id_) for id_ in ids]
        assert "".join(pieces) == text
        assert decoder.flush() == ""


def test_nanos_vocabulary_holds_every_script(nano: Path) -> None:
    vocabulary = Vocabulary.from_file(nano / "tokenizer.json")
    for block in BLOCKS:
        for text in strings(block, 10):
            ids = vocabulary.encode(text)
            assert vocabulary.decode(ids) == text
            assert not vocabulary.special_ids & set(ids)
            decoder = vocabulary.decoder()
            assert "".join(map(decoder.feed, ids)) == text


def test_every_token_as_tiktoken_has_it(o200k: Vocabulary, tiktokens: tiktoken.Encoding) -> None:
    for id_ in range(o200k.size):
        assert o200k.token_bytes(id_) == tiktokens.decode_single_token_bytes(id_)


@pytest.mark.parametrize("block", BLOCKS)
def test_names_of_control_tokens_in_any_text_stay_text(
    block: str, o200k: Vocabulary, tiktokens: tiktoken.Encoding
) -> None:
    names = sorted(o200k.specials)
    for n, text in enumerate(strings(block, 15)):
        mixed = f"{text}{names[n]}{text[::-1]}{names[-n]}"
        ids = o200k.encode(mixed)
        assert ids == tiktokens.encode_ordinary(mixed)
        assert not o200k.special_ids & set(ids)
        known = tiktokens.encode(mixed, allowed_special="all")
        assert o200k.encode(mixed, parse_special=True) == known


@given(ids=st.lists(st.integers(0, 200_018), max_size=30))
@settings(max_examples=200, deadline=None)
def test_decodes_as_the_reference_and_streams_whole(
    ids: list[int], o200k: Vocabulary, reference: oh.HarmonyEncoding
) -> None:
    known = [id_ for id_ in ids if id_ not in o200k.special_ids]
    text = o200k.decode(known)
    assert text == reference.decode(known)
    decoder = o200k.decoder()
    pieces = [decoder.feed(id_) for id_ in known]
    assert "".join(pieces) + decoder.flush() == text
    assert decoder.flush() == ""


def test_characters_split_over_tokens_stream_whole(o200k: Vocabulary) -> None:
    ids = o200k.encode("🫠🦊")
    assert len(ids) > 2
    decoder = o200k.decoder()
    assert [piece for piece in map(decoder.feed, ids) if piece] == ["🫠", "🦊"]


@pytest.mark.parametrize("tokenizer", [small(), small(special=False)], ids=["special", "added"])
def test_text_never_becomes_a_control_token(tokenizer: Tokenizer, o200k: Vocabulary) -> None:
    for vocabulary in (Vocabulary(tokenizer), o200k):
        text = "".join(f"a{name} b" for name in vocabulary.specials)
        for ids in (vocabulary.encode(text), *vocabulary.encode_batch([text, "<|end|>"])):
            assert not vocabulary.special_ids & set(ids)
        assert vocabulary.decode(vocabulary.encode(text)) == text
        parsed = vocabulary.encode(text, parse_special=True)
        assert vocabulary.special_ids <= set(parsed)
        assert vocabulary.decode(parsed) == text
        assert vocabulary.decode(parsed, skip_special=True) == "a b" * len(vocabulary.specials)


def test_prompts_rendered_elsewhere_read_as_the_reference_reads_them(
    o200k: Vocabulary, reference: oh.HarmonyEncoding
) -> None:
    prompt = "<|start|>user<|message|>Hi <|end> <|end|><|start|>assistant<|channel|>"
    assert o200k.encode(prompt, parse_special=True) == reference.encode(prompt, allowed_special="all")


def test_the_published_ids(o200k: Vocabulary) -> None:
    assert o200k.size == 200_019
    assert o200k.special("<|start|>") == o200k.control.start == 200_006
    assert o200k.stop_ids == {200_002, 200_012, 199_999}


def test_another_vocabulary_has_its_own_ids() -> None:
    vocabulary = Vocabulary(small(NAMES[:-1]))
    assert vocabulary.size == 256 + 7
    assert vocabulary.stop_ids == {vocabulary.special("<|return|>"), vocabulary.special("<|call|>")}
    for text in SCRIPTS:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_ids_without_a_token(o200k: Vocabulary) -> None:
    assert o200k.decode([200_019, 201_087, -1, 10**12]) == "\ufffd" * 4
    assert not any(map(o200k.has_token, (200_019, -1)))
    byte = next(id_ for id_ in range(300) if o200k.token_bytes(id_) == b"\xff")
    assert o200k.has_token(byte)
    assert o200k.decode([byte, 17]) == "\ufffd2"


def test_lone_surrogates_become_replacement_characters(o200k: Vocabulary) -> None:
    assert o200k.decode(o200k.encode("a\ud800b\udc00 \ud83e\udd8a")) == "a\ufffdb\ufffd 🦊"
    with pytest.raises(BadRequest, match="not int"):
        o200k.encode(3)  # type: ignore[arg-type]


def test_travels_to_another_process(o200k: Vocabulary) -> None:
    copy = pickle.loads(pickle.dumps(Vocabulary(small())))
    assert copy.encode("<|end|>") == Vocabulary(small()).encode("<|end|>")
    assert not copy.special_ids & set(copy.encode("<|end|>"))


def test_unusable_files_are_named(tmp_path: Path) -> None:
    def refused(write: bytes | Tokenizer | None) -> str:
        path = tmp_path / "tokenizer.json"
        if isinstance(write, Tokenizer):
            write.save(str(path))
        elif write is not None:
            path.write_bytes(write)
        with pytest.raises(BadCheckpoint) as caught:
            Vocabulary.from_file(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "missing" in refused(None)
    assert "cannot be read" in refused(b'{"version": "1.0", "mod')
    assert "<|call|>" in refused(small(("start", "end", "message", "channel", "constrain", "return")))
    assert "not byte-level" in refused(Tokenizer(models.BPE({"a": 0, "b": 1}, [])))


PIECES = (
    "the ",
    "Tokyo's",
    "日本語",
    "、",
    "1234",
    "12",
    "!?",
    "\n\n",
    "  ",
    "don't.",
    "x" * 9,
    "é",
    "e\u0301",
    '"',
    "²",
)


@pytest.fixture(scope="module")
def small_vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=60), size=st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_a_long_text_is_cut_where_no_id_changes(
    pieces: list[str], size: int, o200k: Vocabulary, small_vocabulary: Vocabulary
) -> None:
    text = "".join(pieces)
    assert "".join(windows(text, size)) == text
    for one in (o200k, small_vocabulary):
        assert [id_ for window in windows(text, size) for id_ in one.encode(window)] == one.encode(text)


def test_a_text_that_cannot_fit_is_not_read_to_its_end(small_vocabulary: Vocabulary) -> None:
    text = "The capital of Australia is Canberra. " * 4000
    assert len(text) > 2 * WINDOW
    ids = small_vocabulary.encode(text)
    assert [ids] == small_vocabulary.encode_batch([text])
    assert small_vocabulary.encode(text, most=len(ids)) == [*small_vocabulary.encode_fixed(text)] == ids
    for parse_special in (False, True):
        with pytest.raises(PromptTooLong, match="more than 20000 tokens"):
            small_vocabulary.encode(text, parse_special, most=20000)
    for run in ("x", " "):
        with pytest.raises(PromptTooLong, match="characters without a space"):
            small_vocabulary.encode(run * (LONGEST_RUN + 1), most=10**9)
