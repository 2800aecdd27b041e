"""nano's training run: one command that resumes, in parts of a few minutes, on one GPU.

Weights are float32, matrix products bfloat16. Matrices follow Muon, the rest AdamW, with one learning rate. From a set
point of the run on the experts are fake-quantized to MXFP4, so that packing them at the end changes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model import checkpoint, mxfp4
from harmonium.model.config import NANO, ModelConfig
from harmonium.model.transformer import Transformer
from recipes.nano.curriculum import WEIGHTS, exam
from recipes.nano.data import ROW, ROWS_PER_SHARD, Rows, document, pack, shard_path, wait_for
from recipes.nano.muon import Muon
from recipes.nano.network import block_masks, grouped_experts, packed_attention

EXPERT_MATRICES = ("experts.gate_up_proj", "experts.down_proj")


@dataclass(frozen=True)
class Start:
    """A packed checkpoint to go on from at a step of the plan, where the run's own state is gone."""

    folder: Path
    step: int


@dataclass(frozen=True)
class Plan:
    """The run's numbers. decay_from and quantize_from are fractions of n_steps."""

    n_steps: int = 23_000
    rows_per_step: int = 32
    learning_rate: float = 2.5e-3
    warmup_steps: int = 300
    decay_from: float = 0.55
    quantize_from: float = 0.75
    weight_decay: float = 0.02
    balance: float = 0.01
    seed: str = "nano"
    n_workers: int = 14
    start: Start | None = None

    def rate(self, step: int) -> float:
        """The learning rate: up, level, then linearly down to a hundredth."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        fall = max(0.0, (step / self.n_steps - self.decay_from) / (1 - self.decay_from))
        return self.learning_rate * warm * (1 - 0.99 * fall)

    @property
    def n_shards(self) -> int:
        return -(-self.n_steps * self.rows_per_step // ROWS_PER_SHARD)


def initial_tensors(config: ModelConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Fresh float32 weights under Hugging Face names. Matrices into the residual stream start small, biases at zero."""
    hidden, inner, n_experts = config.hidden_size, config.intermediate_size, config.n_experts
    queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    depth = (2 * config.n_layers) ** -0.5

    def normal(*shape: int, std: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * std

    tensors = {
        "model.embed_tokens.weight": normal(config.vocab_size, hidden, std=0.1),
        "model.norm.weight": torch.ones(hidden),
        "lm_head.weight": normal(config.vocab_size, hidden, std=0.02),
    }
    for i in range(config.n_layers):
        layer = {
            "input_layernorm.weight": torch.ones(hidden),
            "self_attn.q_proj.weight": normal(queries, hidden, std=hidden**-0.5),
            "self_attn.q_proj.bias": torch.zeros(queries),
            "self_attn.k_proj.weight": normal(keys, hidden, std=hidden**-0.5),
            "self_attn.k_proj.bias": torch.zeros(keys),
            "self_attn.v_proj.weight": normal(keys, hidden, std=hidden**-0.5),
            "self_attn.v_proj.bias": torch.zeros(keys),
            "self_attn.o_proj.weight": normal(hidden, queries, std=queries**-0.5 * depth),
            "self_attn.o_proj.bias": torch.zeros(hidden),
            "self_attn.sinks": torch.zeros(config.n_heads),
            "post_attention_layernorm.weight": torch.ones(hidden),
            "mlp.router.weight": normal(n_experts, hidden, std=hidden**-0.5),
            "mlp.router.bias": torch.zeros(n_experts),
            "mlp.experts.gate_up_proj": normal(n_experts, hidden, 2 * inner, std=hidden**-0.5),
            "mlp.experts.gate_up_proj_bias": torch.zeros(n_experts, 2 * inner),
            "mlp.experts.down_proj": normal(n_experts, inner, hidden, std=inner**-0.5 * depth),
            "mlp.experts.down_proj_bias": torch.zeros(n_experts, hidden),
        }
        tensors |= {f"model.layers.{i}.{name}": tensor for name, tensor in layer.items()}
    return tensors


def optimizers(tensors: dict[str, Tensor], plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, head, norms, biases, sinks and routers."""
    is_matrix = {name for name in tensors if name.endswith(("_proj.weight", *EXPERT_MATRICES))}
    matrices = [tensor for name, tensor in tensors.items() if name in is_matrix]
    others = [tensor for name, tensor in tensors.items() if name not in is_matrix]
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=others[0].is_cuda)
    return [Muon(matrices, weight_decay=plan.weight_decay), adam]


def with_cast_experts(tensors: dict[str, Tensor], *, is_quantized: bool) -> dict[str, Tensor]:
    """The weights as a step trains them: experts bfloat16, rounded to MXFP4 where asked, gradients passing through."""

    def cast(matrix: Tensor) -> Tensor:  # (experts, in, out); blocks run along in
        rounded = mxfp4.fake_quantize(matrix.mT.contiguous()).mT.contiguous() if is_quantized else matrix
        return rounded.to(torch.bfloat16)

    return {name: cast(tensor) if name.endswith(EXPERT_MATRICES) else tensor for name, tensor in tensors.items()}


def judge(
    config: ModelConfig, tensors: dict[str, Tensor], tokens: Tensor, learned: Tensor, masks: dict[bool, BlockMask]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of tokens and learned, (rows, ROW), to: mean cross-entropy of the tokens to be learned, the experts' balance
    loss, and hits (rows, ROW - 1), true where the likeliest token is the one that follows."""
    balance: list[Tensor] = []
    model = Transformer.from_tensors(config, tensors)
    with torch.autocast(tokens.device.type, torch.bfloat16):
        logits = model.forward(tokens, attend=packed_attention(masks), experts=grouped_experts(balance))[:, :-1]
    following = tokens[:, 1:]
    each = F.cross_entropy(logits.flatten(0, 1).float(), following.flatten(), reduction="none")
    wanted = learned[:, 1:].flatten().float()
    loss = (each * wanted).sum() / wanted.sum().clamp(min=1)
    return loss, torch.stack(balance).mean(), logits.argmax(-1) == following


def on_device(rows: Rows, device: torch.device, start: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, learned and documents of n rows, int64."""

    def upload(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array[start : start + n].astype(np.int64)).to(device)

    return upload(rows.tokens), upload(rows.learned), upload(rows.document)


def batches(
    folder: Path, plan: Plan, start: int, device: torch.device, is_coming: Callable[[], bool]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The run's batches from step start on, in an order that the plan alone decides."""
    per_shard = ROWS_PER_SHARD // plan.rows_per_step
    for step in range(start, plan.n_steps):
        shard, place = divmod(step, per_shard)
        if place == 0 or step == start:
            rows = wait_for(shard_path(folder, shard), is_coming)
        yield on_device(rows, device, place * plan.rows_per_step, plan.rows_per_step)


class Run:
    """A training run in a folder: its weights, optimizers and step, saved and resumed whole."""

    def __init__(self, folder: Path, plan: Plan, config: ModelConfig = NANO, device: str = "cuda") -> None:
        self.folder, self.plan, self.config, self.step = folder, plan, config, 0
        self.device = torch.device(device)
        generator = torch.Generator().manual_seed(len(plan.seed))
        self.tensors = {
            name: tensor.to(self.device).requires_grad_() for name, tensor in initial_tensors(config, generator).items()
        }
        self.cast, self.judge = torch.compile(with_cast_experts), torch.compile(judge, dynamic=False)
        self.optimizers = optimizers(self.tensors, plan)
        if plan.start is not None:
            self._take(plan.start)
        if self.state_path.exists():
            state = torch.load(self.state_path, map_location=self.device, weights_only=True)
            self.step = state["step"]
            for name, tensor in self.tensors.items():
                tensor.data.copy_(state["tensors"][name])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)

    def _take(self, start: Start) -> None:
        """Go on from a packed checkpoint: experts decoded, optimizers fresh."""
        self.step = start.step
        packed = dict(checkpoint.open(start.folder).tensors())
        for name, tensor in self.tensors.items():
            if name.endswith(EXPERT_MATRICES):
                value = mxfp4.decode(packed[f"{name}_blocks"], packed[f"{name}_scales"]).mT
            else:
                value = packed[name].float()
            tensor.data.copy_(value)

    @property
    def state_path(self) -> Path:
        return self.folder / "state.pt"

    def save(self) -> None:
        state = {
            "step": self.step,
            "tensors": {name: tensor.detach() for name, tensor in self.tensors.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = self.state_path.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.state_path)

    def tensors_of_step(self) -> dict[str, Tensor]:
        is_quantized = self.step >= self.plan.quantize_from * self.plan.n_steps
        return self.cast(self.tensors, is_quantized=is_quantized)

    def train(self, deadline: float, is_coming: Callable[[], bool]) -> None:
        """Steps until the plan is done or the clock (time.monotonic) passes deadline, then saves.

        is_coming: are the shards that are missing still being made?
        """
        plan, started, first_step = self.plan, time.monotonic(), self.step
        for tokens, learned, number in batches(self.folder / "shards", plan, self.step, self.device, is_coming):
            masks = block_masks(number, self.config.window)
            loss, balance, _ = self.judge(self.config, self.tensors_of_step(), tokens, learned, masks)
            (loss + plan.balance * balance).backward()
            norm = torch.nn.utils.clip_grad_norm_(self.tensors.values(), 1.0)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = plan.rate(self.step)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % 200 == 0 or self.step == first_step + 1:
                seconds = time.monotonic() - started
                pace = (self.step - first_step) * tokens.numel() / seconds / 1000
                print(
                    f"step {self.step} loss {loss.item():.4f} balance {balance.item():.3f} "
                    f"norm {norm.item():.2f} {pace:.0f}k tok/s {seconds:.0f} s",
                    flush=True,
                )
            if time.monotonic() > deadline:
                break
        self.save()

    def exactness(self, rows: Rows) -> tuple[float, float]:
        """How well held-out conversations are predicted: the share of learned tokens, and of whole conversations.

        A conversation predicted whole is one that greedy decoding reproduces to the token.
        """
        n = self.plan.rows_per_step
        is_right: dict[tuple[int, int], bool] = {}
        n_right = n_all = 0
        tensors = self.tensors_of_step()
        for start in range(0, len(rows.tokens), n):
            tokens, learned, number = on_device(rows, self.device, start, n)
            masks = block_masks(number, self.config.window)
            hits = self.judge(self.config, tensors, tokens, learned, masks)[2].cpu()
            wanted, number = learned[:, 1:].bool().cpu(), number[:, 1:].cpu()
            n_right += int((hits & wanted).sum())
            n_all += int(wanted.sum())
            for row, place in wanted.nonzero().tolist():
                key = (start + row, int(number[row, place]))
                is_right[key] = is_right.get(key, True) and bool(hits[row, place])
        return n_right / n_all, sum(is_right.values()) / len(is_right)


def train(folder: Path, tokenizer: Path, plan: Plan, minutes: float) -> Run:
    """One part of the run: start or resume it in folder, stop at the plan's end or after so many minutes.

    The data come from a process of their own, started before the GPU is touched; shards already there are kept.
    """
    deadline = time.monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    first_shard = 0 if plan.start is None else plan.start.step * plan.rows_per_step // ROWS_PER_SHARD
    numbers = f"{first_shard}:{plan.n_shards}"
    command = [sys.executable, "-m", "recipes.nano", "data", str(folder / "shards"), str(tokenizer)]
    command += ["--numbers", numbers, "--seed", plan.seed, "--workers", str(plan.n_workers)]
    maker = subprocess.Popen(command, start_new_session=True)
    try:
        run = Run(folder, plan)
        run.train(deadline, lambda: maker.poll() is None)
    finally:
        if maker.poll() is None:
            os.killpg(maker.pid, signal.SIGTERM)  # its workers too
            maker.wait()
    return run


def save_packed(run: Run, folder: Path, tokenizer: Path) -> None:
    """The run's model as it ships: experts packed, everything else bfloat16, the tokenizer beside it."""
    tensors = ((name, tensor.detach().cpu()) for name, tensor in run.tensors.items())
    checkpoint.save(folder, run.config, checkpoint.pack(tensors), files=[tokenizer])


def report(run: Run, tokenizer: Path, n: int) -> None:
    """Print each skill's exactness on n held-out drills, and one JSON line."""
    vocabulary = Vocabulary.from_file(tokenizer)
    table: dict[str, float] = {}
    for name in WEIGHTS:
        papers = [document(drill.conversation, vocabulary, drill.n_given) for drill in exam(name, n)]
        papers = [paper for paper in papers if len(paper[0]) <= ROW]
        n_steps = 1 + sum(len(ids) for ids, _ in papers) * 5 // (4 * ROW * run.plan.rows_per_step)
        by_token, whole = run.exactness(pack(papers, n_steps * run.plan.rows_per_step))
        print(f"{name:20} {len(papers):5} drills  token {by_token:.4f}  whole {whole:.3f}", flush=True)
        table[name] = round(whole, 4)
    print(json.dumps({"step": run.step, **table}), flush=True)
