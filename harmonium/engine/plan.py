"""What a model will take on a device, and by which kernels, before anything is loaded. Refuses; never falls back.

`make` refuses what the device or this version cannot do at all (Unsupported), `Plan.check` what does not fit
(NotEnoughMemory). Loading asks both, and what an engine takes is asked of its own `Allotment`, so that what
`harmonium plan` prints is what happens. A draft model is planned by itself, as it has an engine of its own. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import MappingProxyType

from harmonium import hardware
from harmonium.engine import sizes
from harmonium.engine.sizes import Allotment, shown
from harmonium.errors import BadRequest, NotEnoughMemory, Unsupported
from harmonium.hardware import Hardware
from harmonium.model.config import PAGE_SIZE, ModelConfig
from harmonium.model.outline import PUBLISHED, Outline

MANY = "triton; torch for many tokens"
SHORTEST_ADVISED = 512
CONTEXTS = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072)


@dataclass(frozen=True)
class Part:
    """n_bytes of weights: how they are stored, what they are multiplied in, and by which kernel."""

    name: str
    n_bytes: int
    stored: str
    computed: str
    kernel: str


PARTS = {
    "embedding": ("embed_tokens.",),
    "q, k, v and RoPE": ("q_proj.", "k_proj.", "v_proj.", "input_layernorm."),
    "attention, cache": ("sinks",),
    "output projection": ("o_proj.",),
    "router": ("router.", "post_attention_layernorm."),
    "experts": ("experts.",),
    "head": ("lm_head.", "model.norm."),
}
"""A part's name to what the names of its tensors contain."""
INT8_PARTS = ("q, k, v and RoPE", "output projection", "head")


@dataclass(frozen=True)
class Plan:
    """One model on one device, and an engine for concurrency requests of context tokens each. dtype: of what is not
    packed.

    concurrency None leaves it to the engine, which has room for one at least. int8 is the dtype of attention's matrices
    and the head's, and bfloat16 that of the rest.
    """

    model: Outline
    hardware: Hardware
    dtype: str
    context: int
    concurrency: int | None

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every part of the model, and the sampling."""
        sums = _bytes_by_part(self.config, self.model.is_packed, self.dtype)
        kernel = "triton" if self.hardware.device == "cuda" else "numba"
        sampling = Part("sampling", 0, "", "float32", f"{kernel}; torch beyond temperature and masks")
        return (*map(self._part, sums, sums.values()), sampling)

    def _part(self, name: str, n_bytes: int) -> Part:
        is_gpu = self.hardware.device == "cuda"
        kernel = "triton" if is_gpu else "numba"
        computed = self.dtype if is_gpu else "float32"
        if name == "attention, cache":
            return Part(name, n_bytes, self.cache_dtype, "float32 sums", kernel)
        if name == "experts" and self.model.is_packed:
            return Part(name, n_bytes, "MXFP4", computed, f"{kernel}, decoded in registers")
        stored = self.dtype
        if stored == "int8" and name not in INT8_PARTS:
            stored = "bfloat16"
        if name in ("embedding", "experts"):
            return Part(name, n_bytes, stored, computed, "torch")
        return Part(name, n_bytes, stored, computed, MANY if is_gpu else kernel)

    @property
    def weights_bytes(self) -> int:
        """The checkpoint's tensors as they are loaded."""
        return sum(part.n_bytes for part in self.parts)

    @property
    def cache_dtype(self) -> str:
        return sizes.cache_dtype(self.hardware.device, self.dtype)

    @cached_property
    def allotment(self) -> Allotment:
        """What the engine takes on this device or, where it has no room for that, the least that would do."""
        n_rows = self.concurrency or 1
        found = self._allotted(self.context)
        if found is None or found.holds(self.context) < n_rows:
            return Allotment.least(self.config, self.context, n_rows)
        return found

    def _allotted(self, context: int | None) -> Allotment | None:
        """What the engine itself says; None where it refuses."""
        device = self.hardware.device
        # the allocator's part of the program's bytes is one for which the engine leaves room by itself
        free_bytes = self.hardware.free_bytes - self.weights_bytes - self.program_bytes + sizes.LEFT_OVER_BYTES[device]
        try:
            return Allotment.of(self.config, device, self.dtype, free_bytes, context=context, n_rows=self.concurrency)
        except NotEnoughMemory:
            return None

    @property
    def context_by_default(self) -> int:
        """The longest request of an engine that is told no context; 0 where nothing fits."""
        found = self._allotted(None)
        return 0 if found is None else found.context

    @property
    def n_at_once(self) -> int:
        """Requests of that context that the engine holds at once."""
        return self.allotment.holds(self.context)

    @property
    def cache_bytes(self) -> int:
        return self.allotment.pages.bytes(self.config, self.cache_dtype)

    @property
    def graphs_bytes(self) -> int:
        return sizes.graphs_bytes(self.config, self.hardware.device, self.dtype, self.allotment.n_rows)

    @property
    def workspace_bytes(self) -> int:
        taken = self.allotment
        return sizes.workspace_bytes(self.config, self.hardware.device, self.dtype, taken.n_rows, taken.token_budget)

    @property
    def program_bytes(self) -> int:
        return sizes.PROGRAM_BYTES[self.hardware.device]

    @property
    def total_bytes(self) -> int:
        needed = self.weights_bytes + self.cache_bytes + self.graphs_bytes
        return needed + self.workspace_bytes + self.program_bytes

    @property
    def left_bytes(self) -> int:
        """What stays free on the device; below zero where it does not fit."""
        return self.hardware.free_bytes - self.total_bytes

    @property
    def fits(self) -> bool:
        return self.left_bytes >= 0

    def most_requests(self, context: int) -> int:
        """How many requests of that length an engine holds at once that is told to; no more rows than by default."""
        low, high = 0, sizes.most_rows(self.config, self.hardware.device)
        while low < high:
            middle = (low + high + 1) // 2
            if replace(self, context=context, concurrency=middle).fits:
                low = middle
            else:
                high = middle - 1
        return low

    def longest_context(self) -> int:
        """The longest context that fits, in whole pages and up to what was asked for; 0 where none does."""
        low, high = 0, -(-self.context // PAGE_SIZE)
        while low < high:
            middle = (low + high + 1) // 2
            if replace(self, context=middle * PAGE_SIZE).fits:
                low = middle
            else:
                high = middle - 1
        return min(low * PAGE_SIZE, self.context)

    def table(self) -> list[tuple[int, int, int]]:
        """Context, and requests of that length at once: of an engine that is told the context only, and at most."""
        lengths = {context for context in CONTEXTS if context < self.config.context} | {self.context}
        return [
            (context, self._by_default(context), self.most_requests(context))
            for context in sorted(lengths | {self.config.context})
        ]

    def _by_default(self, context: int) -> int:
        told = replace(self, context=context, concurrency=None)
        return told.n_at_once if told.fits else 0

    def advice(self) -> list[str]:
        """What to change where it does not fit; each of it is enough."""
        if self.fits:
            return []
        memory = replace(self, hardware=Hardware("cpu", "", 0, 0, 0, "numba")).total_bytes
        return list(self._advice()) or [f"a CPU, --device cpu, with {shown(memory)} of memory"]

    def _advice(self) -> Iterator[str]:
        if (self.concurrency or 1) > 1 and (most := self.most_requests(self.context)):
            yield f"--concurrency {most}"
        if (longest := self.longest_context()) >= SHORTEST_ADVISED:
            yield f"--context {longest}"
        for dtype in ("bfloat16", "int8") if self.hardware.device == "cpu" else ("bfloat16",):
            smaller = replace(self, dtype=dtype)
            if smaller.weights_bytes >= self.weights_bytes:
                continue
            if (longest := smaller.longest_context()) >= min(SHORTEST_ADVISED, self.context):
                yield f"--dtype {dtype}" if smaller.fits else f"--dtype {dtype} --context {longest}"
        for name, config in PUBLISHED.items():
            other = replace(self, model=Outline(name.rpartition("/")[2], config))
            if other.weights_bytes < self.weights_bytes and other.fits:
                yield f"the model {other.model.name}"
        if fitting := self._fitting_gpus():
            yield f"a GPU with more memory: {', '.join(fitting)}"

    def _fitting_gpus(self) -> list[str]:
        dtype = "bfloat16" if self.model.is_packed or self.dtype == "int8" else self.dtype
        gpus = {name: preset.hardware() for name, preset in hardware.PRESETS.items()}
        return [name for name, gpu in gpus.items() if not gpu.refusal and replace(self, hardware=gpu, dtype=dtype).fits]

    def check(self) -> None:
        """Raises NotEnoughMemory where it does not fit."""
        if self.fits:
            return
        weights = self.weights_bytes
        raise NotEnoughMemory(
            f"{self.model.name} needs {shown(weights)} for weights and {shown(self.total_bytes - weights)} besides; "
            f"{self.hardware.name} has {shown(self.hardware.free_bytes)} free. "
            f"What would fit: {'; '.join(self.advice())}."
        )


@cache
def _bytes_by_part(config: ModelConfig, is_packed: bool, dtype: str) -> Mapping[str, int]:
    """Weights of each part; a plan's advice asks for them over and over."""
    found = sizes.weight_bytes(config, is_packed, dtype)
    return MappingProxyType(
        {
            name: sum(size for tensor, size in found.items() if any(word in tensor for word in words))
            for name, words in PARTS.items()
        }
    )


def make(
    model: Outline,
    device: Hardware,
    *,
    context: int | None = None,
    concurrency: int | None = None,
    dtype: str | None = None,
    tensor_parallel: int = 1,
) -> Plan:
    """A plan, which may not fit. dtype: as loading has it, by default the model's own on a CPU and bfloat16 on a GPU.

    Raises Unsupported for what the device or this version cannot do, BadRequest for numbers that mean nothing.
    """
    config = model.config
    if context is not None and not 1 < context <= config.context:
        raise BadRequest(f"context is {context}; this model takes 2 to {config.context} tokens.")
    if (concurrency is not None and concurrency < 1) or tensor_parallel < 1:
        raise BadRequest("concurrency and tensor-parallel count from 1.")
    if tensor_parallel > 1:
        raise Unsupported(
            f"A model runs on one device here, so it cannot be spread over {tensor_parallel}; leave --tensor-parallel "
            "out, and take a GPU that it fits: `harmonium plan` names them."
        )
    if device.refusal:
        raise Unsupported(device.refusal)
    dtype = dtype or (model.dtype if device.device == "cpu" else "bfloat16")
    if device.device == "cuda":
        _refuse_on_a_gpu(model, dtype)
    return Plan(model, device, dtype, context or config.context, concurrency)


def _refuse_on_a_gpu(model: Outline, dtype: str) -> None:
    if dtype == "int8":
        raise Unsupported(
            "int8 is for a CPU, where reading weights takes the time; leave --dtype out, or run with --device cpu."
        )
    if refusal := hardware.head_refusal(model.config.head_dim):
        raise Unsupported(refusal)
