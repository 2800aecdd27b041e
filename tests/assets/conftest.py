"""nano's vocabulary as we read it and as transformers does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from harmonium.harmony.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def vocabulary(nano: Path) -> Vocabulary:
    return Vocabulary.from_file(nano / "tokenizer.json")


@pytest.fixture(scope="session")
def tokenizer(nano: Path) -> Any:
    return AutoTokenizer.from_pretrained(nano)
