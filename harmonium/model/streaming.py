"""Stretches of files as tensors: mapped, or on a device, by several threads, through pinned memory.

One thread copies some 4 GB/s out of the page cache, a GPU's link takes 25 to 50. Each thread has a pinned buffer and a
stream of its own, so that reading, copying, and what the caller does with the tensors that it has overlap. No more than
AHEAD_BYTES and one tensor are under way, which is what loading takes beside what it keeps.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harmonium.errors import BadCheckpoint
from harmonium.model import outline

N_THREADS = 8
CHUNK_BYTES = 16 * 2**20
AHEAD_BYTES = 768 * 2**20
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "U8": torch.uint8}


@dataclass(frozen=True)
class Extent:
    """Where a tensor's values lie, one after the other."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> Extent:
        """Of the first axis."""
        shape = (stop - start, *self.shape[1:])
        return replace(self, offset=self.offset + start * (self.n_bytes // self.shape[0]), shape=shape)


def extents(path: Path) -> Iterator[tuple[str, Extent]]:
    """What a file of safetensors holds, and where."""
    found = outline.header(path)
    start = path.stat().st_size - max((about["data_offsets"][1] for about in found.values()), default=0)
    for name, about in found.items():
        yield name, Extent(path, start + about["data_offsets"][0], tuple(about["shape"]), DTYPES[about["dtype"]])


def mapped(extent: Extent) -> Tensor:
    """An extent as pages of its file, which are given back with the tensor.

    They are asked for in pages of 2 MB, which Linux gives where its file system can and the file is not in memory yet.
    """
    start = extent.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    before = extent.offset - start
    with extent.path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), before + extent.n_bytes, access=mmap.ACCESS_COPY, offset=start)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    values = torch.from_numpy(np.frombuffer(pages, np.uint8, extent.n_bytes, before))
    return values.view(extent.dtype).view(extent.shape)


def read(extents: Sequence[tuple[str, Extent]], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """The named tensors on the device, in their order. Raises BadCheckpoint where a file cannot be read or is short."""
    under_way: deque[tuple[str, Tensor, list[Future[None]]]] = deque()
    n_bytes = 0
    with _Reader({extent.path for _, extent in extents}, device) as reader:
        for name, extent in extents:
            under_way.append((name, *reader.start(extent)))
            n_bytes += extent.n_bytes
            while n_bytes > AHEAD_BYTES and len(under_way) > 1:
                n_bytes -= under_way[0][1].nbytes
                yield _finished(*under_way.popleft())
        while under_way:
            yield _finished(*under_way.popleft())


def _finished(name: str, tensor: Tensor, parts: list[Future[None]]) -> tuple[str, Tensor]:
    for part in parts:
        part.result()
    return name, tensor


class _Reader:
    """The threads, their buffers, and the files that they have open."""

    def __init__(self, paths: Iterable[Path], device: torch.device) -> None:
        self._device, self._own = device, threading.local()
        self._files: dict[Path, FileIO] = {}
        for path in paths:
            with _reading(path):
                self._files[path] = FileIO(path)
        self._pool = ThreadPoolExecutor(N_THREADS, "read", self._prepare)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for file in self._files.values():
            file.close()

    def _prepare(self) -> None:
        """A thread's buffer and stream."""
        is_cuda = self._device.type == "cuda"
        self._own.buffer = torch.empty(CHUNK_BYTES, dtype=torch.uint8, pin_memory=is_cuda)
        self._own.stream = torch.cuda.Stream(self._device) if is_cuda else None

    def start(self, extent: Extent) -> tuple[Tensor, list[Future[None]]]:
        """A new tensor, and what fills it."""
        target = torch.empty(extent.n_bytes, dtype=torch.uint8, device=self._device)
        # What the memory was used for before may still run in the caller's stream.
        is_free = torch.cuda.current_stream(self._device).record_event() if self._device.type == "cuda" else None
        parts = [
            self._pool.submit(self._fill, part, extent, place, is_free)
            for part, place in zip(target.split(CHUNK_BYTES), range(0, extent.n_bytes, CHUNK_BYTES), strict=True)
        ]
        return target.view(extent.dtype).view(extent.shape), parts

    def _fill(self, part: Tensor, extent: Extent, place: int, is_free: torch.cuda.Event | None) -> None:
        buffer, stream = self._own.buffer[: len(part)], self._own.stream
        self._read(extent.path, extent.offset + place, memoryview(buffer.numpy()))
        if stream is None or is_free is None:
            part.copy_(buffer)
            return
        with torch.cuda.stream(stream):
            stream.wait_event(is_free)
            part.copy_(buffer, non_blocking=True)
        stream.synchronize()

    def _read(self, path: Path, offset: int, into: memoryview) -> None:
        done = 0
        with _reading(path):
            while done < len(into):
                n = os.preadv(self._files[path].fileno(), [into[done:]], offset + done)
                if not n:
                    raise OSError(f"it ends after {offset + done:,} bytes")
                done += n


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadCheckpoint(f"{path} is damaged or cut short ({error}); fetch it again.") from None
