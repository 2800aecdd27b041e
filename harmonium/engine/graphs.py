"""Steps as CUDA graphs: a key's first step runs as it is, and is captured behind that; later ones are replayed.

A graph reads and writes the addresses that it was captured with, so whoever gives the same key again has put the step's
inputs where they were before. All graphs share one pool of memory, for no two of them run at once: what a replay
returns is overwritten by the next one, of any key, and has to be copied before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Captured:
    graph: torch.cuda.CUDAGraph
    result: Tensor


class Graphs:
    def __init__(self) -> None:
        self._captured: dict[Hashable, Captured] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """What compute returns: by computing it, or by the key's graph."""
        known = self._captured.get(key)
        if known is None:
            result = compute()  # which compiles and chooses what a capture cannot
            self._captured[key] = self._capture(compute)
            return result
        known.graph.replay()
        return known.result

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
