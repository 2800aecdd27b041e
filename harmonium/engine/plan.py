"""What a model will take on a device, and by which kernels, before anything is loaded. Refuses; never falls back.

`make` refuses what the device or this version cannot do at all (Unsupported), `Plan.check` what does not fit
(NotEnoughMemory). Loading asks both, so that what `harmonium plan` prints is what happens. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from harmonium import hardware
from harmonium.engine import sizes
from harmonium.engine.sizes import PageCounts, shown
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
    """One model on one device: concurrency requests of context tokens each. dtype: of what is not packed.

    int8 is that of attention's matrices and the head's, and bfloat16 of the rest.
    """

    model: Outline
    hardware: Hardware
    dtype: str
    context: int
    concurrency: int

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every part of the model, and the sampling."""
        found = sizes.weight_bytes(self.config, self.model.is_packed, self.dtype)
        sums = {
            name: sum(size for tensor, size in found.items() if any(word in tensor for word in words))
            for name, words in PARTS.items()
        }
        return (*map(self._part, sums, sums.values()), Part("sampling", 0, "", "float32", "torch"))

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

    @property
    def pages(self) -> PageCounts:
        return PageCounts.needed(self.config, self.context, self.concurrency, self.token_budget)

    @property
    def cache_bytes(self) -> int:
        return self.pages.bytes(self.config, self.cache_dtype)

    @property
    def graphs_bytes(self) -> int:
        return sizes.graphs_bytes(self.config, self.hardware.device, self.dtype, self.concurrency)

    @property
    def token_budget(self) -> int:
        left = self.hardware.free_bytes - self.weights_bytes - self.program_bytes
        defaults = sizes.defaults_within(self.config, self.hardware.device, self.dtype, left)
        return max(defaults.token_budget, self.concurrency)

    @property
    def workspace_bytes(self) -> int:
        return sizes.workspace_bytes(self.config, self.hardware.device, self.dtype, self.concurrency, self.token_budget)

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
        """How many requests of that length fit at once; no more than an engine takes by default."""
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

    def table(self) -> list[tuple[int, int]]:
        """Context to the number of requests of that length that fit at once."""
        lengths = {context for context in CONTEXTS if context < self.config.context} | {self.context}
        return [(context, self.most_requests(context)) for context in sorted(lengths | {self.config.context})]

    def advice(self) -> list[str]:
        """What to change where it does not fit; each of it is enough."""
        if self.fits:
            return []
        memory = replace(self, hardware=Hardware("cpu", "", 0, 0, 0, "numba")).total_bytes
        return list(self._advice()) or [f"a CPU, --device cpu, with {shown(memory)} of memory"]

    def _advice(self) -> Iterator[str]:
        if self.concurrency > 1 and (most := self.most_requests(self.context)):
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


def make(
    model: Outline,
    device: Hardware,
    *,
    context: int | None = None,
    concurrency: int = 1,
    dtype: str | None = None,
    tensor_parallel: int = 1,
) -> Plan:
    """A plan, which may not fit. dtype: as loading has it, by default the model's own on a CPU and bfloat16 on a GPU.

    Raises Unsupported for what the device or this version cannot do, BadRequest for numbers that mean nothing.
    """
    config = model.config
    if context is not None and not 1 < context <= config.context:
        raise BadRequest(f"context is {context}; this model takes 2 to {config.context} tokens.")
    if concurrency < 1 or tensor_parallel < 1:
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
    head_dim = model.config.head_dim
    if head_dim & (head_dim - 1):
        raise Unsupported(
            f"The GPU's attention needs a head_dim that is a power of two, and this model's is {head_dim}; run it on "
            "the CPU, with --device cpu."
        )
