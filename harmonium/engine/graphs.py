"""Steps as CUDA graphs: a key's first step runs as it is, and is captured behind that; later ones are replayed.

A graph reads and writes the addresses that it was captured with, so whoever gives the same key again has put the step's
inputs where they were before. All graphs share one pool of memory, for no two of them run at once: what a replay
returns is overwritten by the next one, of any key, and has to be copied before. A key whose graph finds no memory runs
as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonium import hardware

ROOM_BYTES = 10**9
"""What is left for a capture, which cannot take what PyTorch keeps unused: more than the largest graph needs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    graph: torch.cuda.CUDAGraph
    result: Tensor


class Graphs:
    def __init__(self) -> None:
        self._captured: dict[Hashable, Captured | None] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """What compute returns: by computing it, or by the key's graph."""
        known = self._captured.get(key)
        if known is None:
            result = compute()  # which compiles and chooses what a capture cannot
            if key not in self._captured:
                self._captured[key] = self._capture_if_it_fits(compute)
            return result
        known.graph.replay()
        return known.result

    def forget(self) -> None:
        """Lets go of all graphs, once the device has done what they were asked for."""
        torch.cuda.synchronize()
        self._captured.clear()
        self._pool = torch.cuda.graph_pool_handle()  # nobody may use a pool again that has lost its graphs

    def _capture_if_it_fits(self, compute: Callable[[], Tensor]) -> Captured | None:
        if hardware.unreserved_bytes() < ROOM_BYTES:
            torch.cuda.empty_cache()
        try:
            return self._capture(compute)
        except torch.OutOfMemoryError as error:
            log.warning("A step runs without its graph, which found no memory: %s", error)
            self._pool = torch.cuda.graph_pool_handle()  # nobody may use the other one after this
            return None

    def _capture(self, compute: Callable[[], Tensor]) -> Captured:
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            # Not torch.cuda.graph, which collects garbage and empties the allocator's cache first.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = compute()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(self._stream)
        return Captured(graph, result)
