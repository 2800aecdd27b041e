"""One function per operation: it takes a layer's tensors and gives the operation ready to call, for their device.

The operations of a layer are norm_qkv, attend, project_add, norm_route, experts_add; of the model's end, norm_head.
What each takes and gives is written at its class of the same name in `reference`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.reference import ExpertWeights


class NormQKV(Protocol):
    def __call__(
        self, x: Tensor, cos: Tensor, sin: Tensor, k_cache: Tensor, v_cache: Tensor, slots: Tensor
    ) -> Tensor: ...


class Attend(Protocol):
    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, batch: StepBatch, group: PageGroup) -> Tensor: ...


class ProjectAdd(Protocol):
    def __call__(self, x: Tensor, attended: Tensor) -> Tensor: ...


class NormRoute(Protocol):
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class ExpertsAdd(Protocol):
    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor: ...


class NormHead(Protocol):
    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor: ...


def norm_qkv(
    norm: Tensor,
    q: Tensor,
    q_bias: Tensor,
    k: Tensor,
    k_bias: Tensor,
    v: Tensor,
    v_bias: Tensor,
    *,
    head_dim: int,
    eps: float,
) -> NormQKV:
    return reference.NormQKV(norm, q, q_bias, k, k_bias, v, v_bias, head_dim, eps)


def attend(sinks: Tensor, *, window: int | None) -> Attend:
    return reference.Attend(sinks, window)


def project_add(weight: Tensor, bias: Tensor) -> ProjectAdd:
    return reference.ProjectAdd(weight, bias)


def norm_route(norm: Tensor, weight: Tensor, bias: Tensor, *, k: int, eps: float) -> NormRoute:
    return reference.NormRoute(norm, weight, bias, k, eps)


def experts_add(weights: ExpertWeights) -> ExpertsAdd:
    return reference.ExpertsAdd(weights)


def norm_head(norm: Tensor, weight: Tensor, *, eps: float) -> NormHead:
    return reference.NormHead(norm, weight, eps)
