"""How likely the model found the chosen ids, and which others it found likelier: reported, never acted upon.

The chances are the model's own, of all ids: before penalties, biases, masks, temperature and filters.
"""

from __future__ import annotations

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


def chances(logits: Tensor, reports: Reports) -> Tensor:
    """Logarithms of the chances (m, vocabulary) of logits (n, vocabulary) float32."""
    return logits.index_select(0, reports.at).log_softmax(dim=-1)


def collect(chances: Tensor, ids: Tensor, reports: Reports) -> dict[int, TokenLogprob]:
    """By row, the chance of its id among ids (n,), and the n_top likeliest ids with theirs."""
    chosen = ids.index_select(0, reports.at).clamp(min=0).unsqueeze(1)  # (m, 1)
    values, places = chances.topk(min(reports.n_top, chances.shape[-1]), dim=-1)  # (m, n_top)
    found = torch.cat((chances.gather(1, chosen), values), dim=1).tolist()
    return {
        row: TokenLogprob(id_, logprob, tuple(zip(others, tops, strict=True)))
        for row, id_, (logprob, *tops), others in zip(
            reports.rows, chosen[:, 0].tolist(), found, places.tolist(), strict=True
        )
    }
