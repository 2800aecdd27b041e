"""gpt-oss's published tokenizer.json, rebuilt byte for byte from the o200k ranks that the package bpe-openai ships."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

SHA256 = "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3"
"""Of tokenizer.json in the Hugging Face repository openai/gpt-oss-20b."""

NAMED = {
    199998: "startoftext",
    199999: "endoftext",
    200002: "return",
    200003: "constrain",
    200005: "channel",
    200006: "start",
    200007: "end",
    200008: "message",
    200012: "call",
    200018: "endofprompt",
}
PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def tokenizer_json() -> Path:
    """The file, made once and kept in the system's folder for temporary files; a damaged one is made again."""
    path = Path(tempfile.gettempdir()) / f"harmonium-o200k-{SHA256[:16]}" / "tokenizer.json"
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
        return path
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    build().save(str(draft))
    assert hashlib.sha256(draft.read_bytes()).hexdigest() == SHA256
    draft.replace(path)
    return path


def build() -> Tokenizer:
    data = gzip.decompress(files("bpe_openai").joinpath("data/o200k_base.tiktoken.gz").read_bytes())
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}
    letters = byte_letters()
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [(names[left], names[right]) for token in ranks for left, right in splits(token, ranks)]
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False, byte_fallback=False, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    specials = (f"<|{NAMED.get(i, f'reserved_{i}')}|>" for i in range(199998, 200019))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return tokenizer


def splits(token: bytes, ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every way to make token from two others, by their ranks."""
    halves = ((token[:i], token[i:]) for i in range(1, len(token)))
    known = [(left, right) for left, right in halves if left in ranks and right in ranks]
    return sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))


def byte_letters() -> list[str]:
    """A printable character for each byte: itself where it is one, else the next from U+0100 on (GPT-2's table)."""
    is_printable = [chr(byte).isprintable() and chr(byte) != " " for byte in range(256)]
    spare = iter(range(0x100, 0x200))
    return [chr(byte if is_printable[byte] else next(spare)) for byte in range(256)]


if __name__ == "__main__":
    print(tokenizer_json())
