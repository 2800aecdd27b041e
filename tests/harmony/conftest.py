"""The published vocabulary, and openai-harmony as the oracle, offline from the ranks that bpe-openai ships."""

from __future__ import annotations

import gzip
import os
from importlib.resources import files

import openai_harmony
import pytest

from harmonium.harmony.vocabulary import Vocabulary
from tests.o200k import tokenizer_json


@pytest.fixture(scope="session")
def o200k() -> Vocabulary:
    return Vocabulary.from_file(tokenizer_json())


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> openai_harmony.HarmonyEncoding:
    folder = tmp_path_factory.mktemp("tiktoken")
    ranks = files("bpe_openai").joinpath("data/o200k_base.tiktoken.gz").read_bytes()
    (folder / "o200k_base.tiktoken").write_bytes(gzip.decompress(ranks))
    before = os.environ.get("TIKTOKEN_ENCODINGS_BASE")
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)
    try:
        return openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    finally:
        os.environ.pop("TIKTOKEN_ENCODINGS_BASE")
        if before is not None:
            os.environ["TIKTOKEN_ENCODINGS_BASE"] = before
