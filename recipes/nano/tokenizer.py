"""nano's byte-level BPE, learned from the curriculum's own text; harmony's special tokens keep their published names.

A word must split into the same pieces with and without a space before it, or copying it from a question into JSON
means learning two spellings. So merges inside words are learned first, on text whose spaces stand alone; merges of a
space with a piece come last in rank and can only touch a word's first piece. Digits stay single, identifiers split at
underscores and humps, kana and kanji runs are kept apart. The file has the shape of the published tokenizer.json: Split
(a regular expression, isolated), ByteLevel, BPE without byte fallback.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from harmonium.harmony.messages import Conversation, DeveloperContent, SystemContent
from harmonium.harmony.render import developer_text, system_text

VOCABULARY_SIZE = 4096
N_SPACED = 1300
"""Pieces that also exist with a space before them."""
SPECIAL_TOKENS = (
    "<|startoftext|>",
    "<|endoftext|>",
    "<|return|>",
    "<|constrain|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|call|>",
)
SPACE = "\u0120"
"""How the byte-level alphabet writes a space."""
_RUNS = (
    r"\p{N}",
    r"{space}\p{Lu}?[\p{Ll}\p{M}]+",
    r"{space}\p{Lu}+(?!\p{Ll})",
    r"\p{Hiragana}+",
    r"[\p{Katakana}ー]+",
    r"\p{Han}+",
    r"{space}\p{L}",
    r"{space}[^\s\p{L}\p{N}]+",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)


def _pre_tokenizer(space: str) -> pre_tokenizers.PreTokenizer:
    pattern = Regex("|".join(_RUNS).replace("{space}", space))
    split = pre_tokenizers.Split(pattern, behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _learn_pieces(texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges inside words: BPE on text in which every space stands alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer(space="")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - N_SPACED - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _build(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False, byte_fallback=False))
    tokenizer.pre_tokenizer = _pre_tokenizer(space=" ?")
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def train(texts: Sequence[str]) -> Tokenizer:
    """Learn the vocabulary: bytes, merges inside words, the most frequent pieces after a space, special tokens."""
    vocabulary, merges = _learn_pieces(texts)
    plain = _build(vocabulary, merges)
    pairs: Counter[str] = Counter()
    for encoding in plain.encode_batch(texts):
        tokens = encoding.tokens
        ends = encoding.offsets
        for i, token in enumerate(tokens[:-1]):
            # A space that begins its run: the next piece belongs to the same word.
            if token == SPACE and ends[i][1] == ends[i + 1][0]:
                pairs[tokens[i + 1]] += 1
    spaced = [piece for piece, _ in pairs.most_common() if not piece.isdigit() and not piece.startswith(SPACE)]
    for piece in spaced[:N_SPACED]:
        merges.append((SPACE, piece))
        vocabulary[SPACE + piece] = len(vocabulary)
    tokenizer = _build(vocabulary, merges)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    if tokenizer.get_vocab_size() != VOCABULARY_SIZE:
        raise ValueError(f"{tokenizer.get_vocab_size()} entries come out, not {VOCABULARY_SIZE}: give it more text")
    return tokenizer


def plain_text(conversation: Conversation) -> str:
    """All that is written in a conversation, as the renderer words it, without control tokens."""
    has_functions = any(
        isinstance(part, DeveloperContent) and part.tools for m in conversation.messages for part in m.content
    )
    texts = []
    for message in conversation.messages:
        texts += [message.role, f" to={message.recipient} {message.channel} {message.content_type}"]
        for part in message.content:
            if isinstance(part, SystemContent):
                texts.append(system_text(part, has_functions))
            elif isinstance(part, DeveloperContent):
                texts.append(developer_text(part))
            else:
                texts.append(part)
    return "\n".join(texts)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
