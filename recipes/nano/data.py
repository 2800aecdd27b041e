"""Drills to training rows: rendered, packed and written by worker processes that never touch a GPU.

A shard is a function of (seed, number) alone, whoever makes it. A row holds whole documents, never a part of one;
attention stays within a document, so packing changes nothing that is learned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

import numpy as np

from harmonium.harmony.messages import Conversation
from harmonium.harmony.render import render_for_training
from harmonium.harmony.vocabulary import Vocabulary
from recipes.nano.curriculum import drills

ROW = 2048
"""Tokens in a training row, the longest conversation that can be learned."""
ROWS_PER_SHARD = 1024
PADDING = 65_535
N_OPEN = 16
"""Rows kept open while packing: more waste less, 16 leave under 2 % empty."""

Document = tuple[list[int], list[int]]
"""Token ids, and for each whether the model is to learn to say it (a channel's code) or not (0)."""


@dataclass(frozen=True)
class Rows:
    """tokens: (rows, ROW) uint16. learned: (rows, ROW) uint8, 1 where the model is to say the token.

    document: (rows, ROW) uint16, numbers from 1 within a row, rising; PADDING behind the last.
    """

    tokens: np.ndarray
    learned: np.ndarray
    document: np.ndarray

    def save(self, path: Path) -> None:
        """Write whole or not at all: readers poll for the name."""
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, tokens=self.tokens, learned=self.learned, document=self.document)
        partial.rename(path)

    @staticmethod
    def load(path: Path) -> Rows:
        with np.load(path) as file:
            return Rows(file["tokens"], file["learned"], file["document"])


def document(conversation: Conversation, vocabulary: Vocabulary, n_given: int) -> Document:
    """One conversation as training sees it; earlier turns are context."""
    ids, mask = render_for_training(conversation, vocabulary, learn_from=n_given)
    return ids, mask


def documents(seed: str, vocabulary: Vocabulary) -> Iterator[Document]:
    """The curriculum's endless stream, rendered; conversations longer than a row are left out."""
    for drill in drills(seed):
        ids, mask = document(drill.conversation, vocabulary, drill.n_given)
        if len(ids) <= ROW:
            yield ids, mask


def pack(stream: Iterable[Document], n_rows: int) -> Rows:
    """Take documents from the stream until n_rows are closed: each goes into the fullest open row that holds it."""
    shape = n_rows, ROW
    rows = Rows(np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), np.full(shape, PADDING, np.uint16))
    unopened = iter(range(n_rows))
    room = {next(unopened): ROW for _ in range(min(N_OPEN, n_rows))}
    n_documents = dict.fromkeys(range(n_rows), 0)
    for ids, mask in stream:
        while fitting := [row for row in room if room[row] >= len(ids)] or list(room):
            row = min(fitting, key=room.__getitem__)
            if room[row] >= len(ids):
                break
            del room[row]
            if (fresh := next(unopened, None)) is not None:
                room[fresh] = ROW
        if not room:
            return rows
        start = ROW - room[row]
        room[row] -= len(ids)
        n_documents[row] += 1
        rows.tokens[row, start : start + len(ids)] = ids
        rows.learned[row, start : start + len(ids)] = np.asarray(mask) > 0
        rows.document[row, start : start + len(ids)] = n_documents[row]
    return rows


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.npz"


def _make_shards(folder: Path, tokenizer: Path, seed: str, numbers: range) -> None:
    vocabulary = Vocabulary.from_file(tokenizer)
    for number in numbers:
        path = shard_path(folder, number)
        if not path.exists():
            pack(documents(f"{seed}/{number}", vocabulary), ROWS_PER_SHARD).save(path)


def make_shards(folder: Path, tokenizer: Path, seed: str, numbers: range, n_workers: int) -> None:
    """Write the shards of these numbers, in order, on n_workers processes; shards already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    strides = [numbers[i::n_workers] for i in range(n_workers)]
    workers = [context.Process(target=_make_shards, args=(folder, tokenizer, seed, stride)) for stride in strides]
    for worker in workers:
        worker.start()
    running = {worker.sentinel: worker for worker in workers}
    while running:
        for sentinel in wait(list(running)):
            if running.pop(cast(int, sentinel)).exitcode:
                for worker in running.values():
                    worker.terminate()
                raise RuntimeError("a worker that makes training data failed; its traceback is above")


def wait_for(path: Path, is_coming: Callable[[], bool]) -> Rows:
    """The shard at path, as soon as the workers have written it."""
    while not path.exists():
        if not is_coming() and not path.exists():
            raise RuntimeError(f"{path.name} is missing and nobody makes it: see what the data workers printed above")
        time.sleep(0.05)
    return Rows.load(path)
