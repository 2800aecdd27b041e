"""transformers' gpt-oss in bfloat16 on the weights of one of ours, its experts decoded: 41.8 GB for 20b."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonium.model import config_file, mxfp4
from harmonium.model.transformer import Transformer


def peer(model: Transformer, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A GptOssForCausalLM with eager attention, the only one that knows sinks everywhere."""
    from transformers import GptOssConfig, GptOssForCausalLM

    settings: dict[str, Any] = config_file.to_json(model.config, is_packed=False)
    config = GptOssConfig(**(settings | {"attn_implementation": "eager"}))
    with torch.device("meta"):
        made: Any = GptOssForCausalLM(config)
    made.load_state_dict(dict(dense(model.tensors(), dtype)), assign=True)
    made.model.rotary_emb = type(made.model.rotary_emb)(config).to(model.device)  # its angles are no weights
    made.eval()
    return made


def dense(tensors: Iterator[tuple[str, Tensor]], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The same model with its experts decoded, (experts, in, out)."""
    blocks: Tensor | None = None
    for name, tensor in tensors:
        if name.endswith("_blocks"):
            blocks = tensor
        elif name.endswith("_scales"):
            assert blocks is not None, "blocks come before their scales"
            matrices = [mxfp4.decode(*one, dtype).t() for one in zip(blocks, tensor, strict=True)]
            yield name.removesuffix("_scales"), torch.stack(matrices)
        else:
            yield name, tensor.to(dtype)


def watch_experts(made: Any) -> list[Tensor]:
    """A list that gets each layer's choice of experts, (tokens, k), whenever the peer runs."""
    seen: list[Tensor] = []

    def note(_: Any, __: Any, output: tuple[Tensor, ...]) -> None:
        seen.extend(part for part in output if not part.is_floating_point())

    for layer in made.model.layers:
        layer.mlp.router.register_forward_hook(note)
    return seen


@torch.no_grad()
def layer_by_layer(model: Transformer, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A peer's logits (tokens, vocabulary) and each layer's choice of experts, with one layer decoded at a time.

    ids (tokens,) are within the window, so that layers of both kinds see the same.
    """
    config, seen = model.config.with_layers(1), []
    assert len(ids) <= config.window, "a single layer is one with a window"
    x = F.embedding(ids, model.weights.embedding)[None].bfloat16()
    for layer in model.weights.layers:
        made = peer(Transformer(config, replace(model.weights, layers=[layer])))
        choices, norm = watch_experts(made), made.model.norm
        made.model.norm = torch.nn.Identity()
        x = made.model(inputs_embeds=x, use_cache=False).last_hidden_state
        seen += choices
    return made.lm_head(norm(x))[0], seen
