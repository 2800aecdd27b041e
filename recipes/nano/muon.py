"""Muon: momentum whose matrices are replaced by the nearest orthogonal ones, batched over matrices of one shape.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the update's scale, which lets it share AdamW's
learning rate, is that of Liu et al. 2025, arXiv:2502.16982.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """(n, rows, columns) -> the same shape with all singular values near 1, by a quintic Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    x = matrices.to(torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    is_tall = x.size(-2) > x.size(-1)
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = (x.mT if is_tall else x).to(matrices.dtype)
    return orthogonal


class Muon(torch.optim.Optimizer):
    """For parameters of two dimensions, or three: then a stack of independent matrices."""

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape[-2:]].append(parameter)
            for parameters in by_shape.values():
                self._step(parameters, group["lr"], group["momentum"], group["weight_decay"])

    def _step(self, parameters: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        rows, columns = parameters[0].shape[-2:]
        updates = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - momentum)
            nesterov = parameter.grad.lerp(state["momentum"], momentum)
            updates.append(nesterov.reshape(-1, rows, columns))
        update = orthogonalize(torch.cat(updates)) * (0.2 * max(rows, columns) ** 0.5)
        for parameter, part in zip(parameters, update.split([u.size(0) for u in updates]), strict=True):
            parameter.mul_(1 - lr * weight_decay)
            parameter.add_(part.view_as(parameter), alpha=-lr)
