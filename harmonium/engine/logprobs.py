"""How likely the model found the chosen ids, and which others it found likelier: reported, never acted upon.

The chances are the model's own, of all ids: before penalties, biases, masks, temperature and filters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonium.engine.request import TokenLogprob


@dataclass(frozen=True)
class Reports:
    """rows: those that want their chances, on the host and on the device (m,) int64; n_top: the most alternatives."""

    rows: list[int]
    at: Tensor
    n_top: int


@dataclass(frozen=True)
class Found:
    """For rows: their ids (m, 1) and alternatives (m, n_top), and the chances of both, (m, 1 + n_top)."""

    rows: list[int]
    ids: Tensor
    others: Tensor
    chances: Tensor

    def map(self, move: Callable[[Tensor], Tensor]) -> Found:
        return Found(self.rows, move(self.ids), move(self.others), move(self.chances))

    def by_row(self) -> dict[int, TokenLogprob]:
        return {
            row: TokenLogprob(id_, logprob, tuple(zip(others, tops, strict=True)))
            for row, [id_], others, (logprob, *tops) in zip(
                self.rows, self.ids.tolist(), self.others.tolist(), self.chances.tolist(), strict=True
            )
        }


def chances(logits: Tensor, reports: Reports) -> Tensor:
    """Logarithms of the chances (m, vocabulary) of logits (n, vocabulary) float32."""
    return logits.index_select(0, reports.at).log_softmax(dim=-1)


def collect(chances: Tensor, ids: Tensor, reports: Reports) -> Found:
    """The chances of the ids chosen, ids (n,), and the n_top likeliest ids with theirs."""
    chosen = ids.index_select(0, reports.at).clamp(min=0).unsqueeze(1)  # (m, 1)
    values, places = chances.topk(min(reports.n_top, chances.shape[-1]), dim=-1)  # (m, n_top)
    return Found(reports.rows, chosen, places, torch.cat((chances.gather(1, chosen), values), dim=1))
