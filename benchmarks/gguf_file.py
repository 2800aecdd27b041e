"""A checkpoint as the GGUF that llama.cpp runs: experts in MXFP4 as they are, other matrices in Q8_0, else float32.

llama.cpp's blocks of MXFP4 begin with their scale, and their low codes are the first sixteen values, the high ones the
rest; gate and up are two tensors. There is no vocabulary in it, which benchmarks do not need.
Sources: ggml-org/llama.cpp, ggml/src/ggml-common.h (block_mxfp4), and convert_hf_to_gguf.py (GptOssModel).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from numpy.typing import NDArray
from torch import Tensor

from harmonium.model.checkpoint import Checkpoint
from harmonium.model.config import ModelConfig

WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
WHOLE["lm_head.weight"] = "output.weight"
LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.sinks": "attn_sinks.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "mlp.router.weight": "ffn_gate_inp.weight",
    "mlp.router.bias": "ffn_gate_inp.bias",
    **{f"self_attn.{n}_proj.{part}": f"attn_{n}.{part}" for n in "qkv" for part in ("weight", "bias")},
    **{f"self_attn.o_proj.{part}": f"attn_output.{part}" for part in ("weight", "bias")},
}
ROWS_AT_ONCE = 4096


def write(path: Path, source: Checkpoint) -> None:
    """Tensor after tensor, so that memory holds one; a name and its size come first, then all values.

    The file has its name once it is whole.
    """
    draft = path.with_name(f"{path.name}.draft")
    writer = gguf.GGUFWriter(draft, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT_OSS])
    _describe(writer, source.config)
    for name, values, kind in _tensors(source, is_outline=True):
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, values, _ in _tensors(source, is_outline=False):
        writer.write_tensor_data(values)
    writer.close()
    draft.replace(path)


def _describe(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(config.rope.factor)
    writer.add_rope_scaling_orig_ctx_len(config.rope.original_length)
    writer.add_sliding_window(config.window)
    writer.add_expert_count(config.n_experts)
    writer.add_expert_used_count(config.experts_per_token)
    writer.add_expert_feed_forward_length(config.intermediate_size)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_MXFP4_MOE)
    writer.add_tokenizer_model("no_vocab")


def _tensors(source: Checkpoint, *, is_outline: bool) -> Iterator[tuple[str, NDArray[Any], Kind]]:
    """Name, bytes and kind; where only the outline is wanted, of the right shape and type and without values."""
    blocks: dict[str, Tensor] = {}
    for name, tensor in source.tensors():
        prefix, _, part = name.removeprefix("model.layers.").partition(".")
        if name in WHOLE:
            yield WHOLE[name], *_stored(name, tensor, is_outline)
        elif part in LAYER:
            yield f"blk.{prefix}.{LAYER[part]}", *_stored(name, tensor, is_outline)
        elif part.endswith("_blocks"):
            blocks[name.removesuffix("_blocks")] = tensor
        else:
            projection = name.removesuffix("_scales")
            packed = tensor if name.endswith("bias") else (blocks.pop(projection), tensor)
            for kind, rows in (("gate", slice(0, None, 2)), ("up", slice(1, None, 2))):
                if "gate_up" in name:
                    yield f"blk.{prefix}.ffn_{kind}_exps.{_end(name)}", *_expert(packed, rows, is_outline)
            if "gate_up" not in name:
                yield f"blk.{prefix}.ffn_down_exps.{_end(name)}", *_expert(packed, slice(None), is_outline)


def _end(name: str) -> str:
    return "bias" if name.endswith("bias") else "weight"


def _stored(name: str, tensor: Tensor, is_outline: bool) -> tuple[NDArray[Any], Kind]:
    """Matrices in Q8_0, but the router's; the rest in float32."""
    if tensor.dim() == 1 or "router" in name:
        return tensor.float().numpy(), Kind.F32
    n_bytes = tensor.shape[1] // 32 * 34
    if is_outline:
        return np.broadcast_to(np.uint8(0), (len(tensor), n_bytes)), Kind.Q8_0
    parts = [gguf.quants.quantize(part.float().numpy(), Kind.Q8_0) for part in tensor.split(ROWS_AT_ONCE)]
    return np.concatenate(parts), Kind.Q8_0


def _expert(stored: Tensor | tuple[Tensor, Tensor], rows: slice, is_outline: bool) -> tuple[NDArray[Any], Kind]:
    """Biases (experts, out), or blocks and scales, of some rows."""
    if isinstance(stored, Tensor):
        return stored[:, rows].float().contiguous().numpy(), Kind.F32
    blocks, scales = stored[0][:, rows], stored[1][:, rows]  # (experts, out, n, 16), (experts, out, n)
    if is_outline:
        return np.broadcast_to(np.uint8(0), (*scales.shape[:2], scales.shape[2] * 17)), Kind.MXFP4
    return mxfp4_bytes(blocks, scales).flatten(2).numpy(), Kind.MXFP4


def mxfp4_bytes(blocks: Tensor, scales: Tensor) -> Tensor:
    """blocks (..., n, 16) and scales (..., n) to llama.cpp's (..., n, 17)."""
    codes = torch.stack((blocks & 15, blocks >> 4), -1).flatten(-2)  # (..., n, 32), in the values' order
    return torch.cat((scales.unsqueeze(-1), codes[..., :16] | codes[..., 16:] << 4), -1)
