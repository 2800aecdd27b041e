"""A vocabulary of a few words, a small random model that speaks it, and a way to put words in its mouth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from harmonium import LLM, SamplingParams
from harmonium.chat.loading import Loaded
from harmonium.engine.constraint import Table, TableConstraint, n_words
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model.config import TINY
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

SPECIALS = ("startoftext", "endoftext", "return", "constrain", "channel", "start", "end", "message", "call")
VOCAB_SIZE = 512
"""256 bytes, pieces of the words below, 9 control tokens, and a few rows of the head that no token belongs to."""
WORDS = """system developer user assistant functions analysis commentary final constrain json code python browser search
to=functions weather Reasoning medium Valid channels Channel must be included for every message Knowledge cutoff You are
ChatGPT, a large language model trained by OpenAI Calls these tools must go the commentary channel namespace type any"""

Say = Callable[..., None]


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=490, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS, WORDS.lower()], trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in SPECIALS])
    return Vocabulary(tokenizer)


@pytest.fixture(scope="session")
def loaded(vocabulary: Vocabulary) -> Loaded:
    config = replace(TINY, n_layers=2, vocab_size=VOCAB_SIZE)
    return Loaded("small", Transformer.load(Dummy(config), dtype=torch.float32), vocabulary)


@pytest.fixture(scope="session")
def shared_llm(loaded: Loaded) -> LLM:
    return LLM(loaded, context=4096)


@pytest.fixture
def llm(shared_llm: LLM) -> Iterator[LLM]:
    """The small model; whatever a test did to it, nothing may be left in its engine."""
    yield shared_llm
    scheduler = shared_llm.engine.scheduler
    assert not scheduler.running and not scheduler.waiting


@pytest.fixture
def say(llm: LLM, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> Say:
    """say(*texts): the model's next generations are these, whatever it would rather say."""
    scripts: list[str] = []
    add = llm.engine.add

    def forced(prompt: Sequence[int], params: SamplingParams, constraint: Any = None) -> int:
        return add(prompt, params, chain(vocabulary.encode(scripts.pop(0), parse_special=True)))

    def begin(*texts: str) -> None:
        scripts[:] = texts

    monkeypatch.setattr(llm.engine, "add", forced)
    return begin


def chain(ids: Sequence[int]) -> TableConstraint:
    """Allows these ids one after the other, and nothing else."""
    n, none = len(ids), np.full(len(ids) + 1, -1, np.int32)
    return TableConstraint(
        Table(
            vocab_size=VOCAB_SIZE,
            masks=np.zeros((0, n_words(VOCAB_SIZE)), np.uint32),
            mask_of=none,
            default_next=none,
            edge_starts=np.minimum(np.arange(n + 2), n).astype(np.int32),
            edge_tokens=np.array(ids, np.int32),
            edge_nexts=np.arange(1, n + 1, dtype=np.int32),
            exits=none,
            matcher_of=none,
        )
    )
