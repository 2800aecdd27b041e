"""One function per operation: it takes a layer's tensors and gives the operation, prepared for their device, to call.

The operations of a layer are norm_qkv, attend, project_add, norm_route and experts_add; of the model's end, norm_head.
What each takes and gives is written at the class of its name in `reference`. A backend is a module with classes of
those names, each built from the reference's object (its weights, and what to do in cases it leaves alone). Operations
that a backend lacks stay the reference's. A backend may also have `ProjectRoute`, two operations in one; `draw`, which
does in one operation what the engine's sampler does in many where a row wants only a temperature and a table's mask;
and `draw_row`, the same for one row, whose mask the host knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonium.hardware import has_vnni
from harmonium.kernels import reference
from harmonium.kernels.batch import PageGroup, StepBatch
from harmonium.kernels.coded import can_be_coded
from harmonium.kernels.int8 import BLOCK, Int8Matrix
from harmonium.kernels.matrices import Matrix
from harmonium.kernels.reference import ExpertWeights

BACKENDS = {"cpu": "harmonium.kernels.cpu", "cuda": "harmonium.kernels.triton"}
"""Device type to the module of its kernels, imported when first used."""

LEAST_TO_SHARE = 2**24
"""Products in one dense matrix of a step, tokens * hidden**2, from which torch's threads earn the time to wake them."""
LEAST_TO_WAKE = 2**20
"""The same for the threads of the CPU's kernels, which are woken once a step."""
LEAST_CODED = 2**20
"""Weights of a matrix above which a CPU's caches hold no model of such matrices, and fewer bytes are read sooner."""

Operation = TypeVar("Operation")


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


class ProjectRoute(Protocol):
    def __call__(self, x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...


class ExpertsAdd(Protocol):
    def __call__(self, x: Tensor, normed: Tensor, indices: Tensor, weights: Tensor) -> Tensor: ...


class NormHead(Protocol):
    def __call__(self, x: Tensor, rows: Tensor | None) -> Tensor: ...


class Draw(Protocol):
    def __call__(
        self,
        logits: Tensor,
        inverse_temperature: Tensor,
        scale: Tensor,
        keys: Tensor,
        lanes: Tensor,
        places: Tensor,
        budgets: Tensor,
        states: Tensor,
        edges: Tensor,
        masks: Tensor,
        lane_places: Tensor,
        last_ids: Tensor,
    ) -> Tensor: ...


class DrawRow(Protocol):
    def __call__(
        self,
        logits: NDArray[np.float32],
        id_hashes: NDArray[np.uint32],
        forbidden: NDArray[np.bool_],
        edges: NDArray[np.int32],
        inverse: float,
        scale: float,
        first: int,
        second: int,
    ) -> int: ...


@contextmanager
def threads_for(x: Tensor) -> Iterator[None]:
    """A step's threads, for its x (tokens, hidden): on a CPU a short step keeps to one, since the others sleep.

    torch's count holds for the process; it is what it was once the step is over.
    """
    n_products = x.numel() * x.shape[1]
    if x.device.type != "cpu" or n_products >= LEAST_TO_SHARE:
        with _workers(x):
            yield
        return
    workers = _workers(x) if n_products >= LEAST_TO_WAKE else nullcontext()  # they are as many as torch's at first
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with workers:
            yield
    finally:
        torch.set_num_threads(n_threads)


def _workers(x: Tensor) -> AbstractContextManager[None]:
    """The kernels' own threads, awake."""
    if x.device.type != "cpu":
        return nullcontext()
    from harmonium.kernels.cpu.pool import POOL

    return POOL.working()


def norm_qkv(
    norm: Tensor,
    q: Matrix,
    q_bias: Tensor,
    k: Matrix,
    k_bias: Tensor,
    v: Matrix,
    v_bias: Tensor,
    *,
    head_dim: int,
    eps: float,
) -> NormQKV:
    return _prepare(reference.NormQKV(norm, q, q_bias, k, k_bias, v, v_bias, head_dim, eps), q.device)


def attend(sinks: Tensor, *, window: int | None) -> Attend:
    return _prepare(reference.Attend(sinks, window), sinks.device)


def project_add(weight: Matrix, bias: Tensor) -> ProjectAdd:
    return _prepare(reference.ProjectAdd(weight, bias), weight.device)


def norm_route(norm: Tensor, weight: Tensor, bias: Tensor, *, k: int, eps: float) -> NormRoute:
    return _prepare(reference.NormRoute(norm, weight, bias, k, eps), weight.device)


def project_route(project: ProjectAdd, route: NormRoute, device: torch.device) -> ProjectRoute:
    """Both of a device's operations, one after the other: what project gives, and what route makes of it."""
    fused: Callable[[ProjectAdd, NormRoute], ProjectRoute] | None = getattr(_backend(device), "ProjectRoute", None)

    def each(x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = project(x, attended)
        return x, *route(x)

    return each if fused is None else fused(project, route)


def experts_add(weights: ExpertWeights) -> ExpertsAdd:
    return _prepare(reference.ExpertsAdd(weights), weights.device)


def norm_head(norm: Tensor, weight: Matrix, *, eps: float) -> NormHead:
    return _prepare(reference.NormHead(norm, weight, eps), weight.device)


def arranged(weights: ExpertWeights) -> ExpertWeights:
    """A layer's experts as the kernels of their device keep them, to hold in place of those given.

    What is read of them is the same; on a GPU, packed ones are made anew for it.
    """
    arrange = getattr(_backend(weights.device), "arranged", None)
    return weights if arrange is None else arrange(weights)


def adjacent(parts: list[Matrix]) -> list[Matrix]:
    """A layer's q, k and v as the kernels of their device keep them, to hold in place of those given."""
    join = getattr(_backend(parts[0].device), "adjacent", None)
    return parts if join is None else join(parts)


def draw(device: torch.device) -> Draw | None:
    """The device's operation, or None where it has none; see `triton.sampling`."""
    found: Draw | None = getattr(_backend(device), "draw", None)
    return found


def draw_row(device: torch.device) -> DrawRow | None:
    """The device's operation, or None where it has none; see `cpu.sampling`."""
    found: DrawRow | None = getattr(_backend(device), "draw_row", None)
    return found


def to_int8(weight: Tensor) -> Int8Matrix:
    """A matrix (out, in) in int8, made in one reading where it is a CPU's bfloat16 in whole blocks."""
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not weight.shape[1] % BLOCK:
        from harmonium.kernels.cpu.quantize import quantize

        return quantize(weight)
    return Int8Matrix.quantize(weight)


def compact(weight: Tensor) -> Matrix:
    """A matrix (out, in) to the bit the same in fewer bytes, where a CPU's kernels read those; else as it is.

    What is as small as a processor's caches stays as it is, too.
    """
    if weight.device.type == "cpu" and weight.numel() > LEAST_CODED and can_be_coded(weight) and has_vnni():
        from harmonium.kernels.cpu.coding import code

        coded = code(weight)
        return weight if coded is None else coded
    return weight


def _prepare(plain: Operation, device: torch.device) -> Operation:
    """The backend's operation in place of the reference's, if it has one."""
    kind = getattr(_backend(device), type(plain).__name__, None)
    return plain if kind is None else kind(plain)


def _backend(device: torch.device) -> ModuleType | None:
    return importlib.import_module(BACKENDS[device.type]) if device.type in BACKENDS else None
