"""Checkpoints written and read by us and by transformers, in every layout; and what is said of broken ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GptOssForCausalLM, Mxfp4Config

from harmonium.errors import BadCheckpoint, CannotWrite
from harmonium.model import checkpoint, config_file, mxfp4
from harmonium.model.config import GPT_OSS_20B, TINY, ModelConfig
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer

SMALL = TINY.with_layers(2)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def dense(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Packed experts decoded to Hugging Face's dense layout, in bfloat16."""
    found = {name: tensor for name, tensor in tensors.items() if not name.endswith(("_blocks", "_scales"))}
    for name in tensors:
        if name.endswith("_scales"):
            name = name.removesuffix("_scales")
            weight = mxfp4.decode(tensors[f"{name}_blocks"], tensors[f"{name}_scales"], torch.bfloat16)
            found[name] = weight.transpose(1, 2)
    return found


@pytest.fixture(scope="module")
def packed() -> dict[str, Tensor]:
    return dict(Dummy(SMALL).tensors())


@pytest.fixture
def folder(tmp_path: Path, packed: dict[str, Tensor]) -> Path:
    """A checkpoint in several files, some layer split over two."""
    checkpoint.save(tmp_path / "model", SMALL, packed.items(), max_shard_bytes=400_000)
    return tmp_path / "model"


def read(folder: Path) -> dict[str, Tensor]:
    return dict(checkpoint.open(folder).tensors())


IDS = torch.randint(0, SMALL.vocab_size, (2, 140), generator=torch.Generator().manual_seed(0))


def our_logits(folder: Path) -> Tensor:
    with torch.no_grad():
        return Transformer.load(checkpoint.open(folder), dtype=torch.float32).forward(IDS)


def their_logits(model: GptOssForCausalLM) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(IDS).logits
    return logits


def their_model(folder: Path, dtype: torch.dtype = torch.float32) -> GptOssForCausalLM:
    is_packed = "quantization_config" in json.loads((folder / "config.json").read_text())
    options = {"quantization_config": Mxfp4Config(dequantize=True)} if is_packed else {}
    return GptOssForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype, **options)


def test_packed_round_trip_keeps_every_byte(folder: Path, packed: dict[str, Tensor], tmp_path: Path) -> None:
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    opened = checkpoint.open(folder)
    assert opened.config == SMALL and same(dict(opened.tensors()), packed)
    checkpoint.save(tmp_path / "again", opened.config, opened.tensors(), max_shard_bytes=400_000)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_packed_one_of_ours_loads_there_with_equal_logits(folder: Path) -> None:
    torch.testing.assert_close(our_logits(folder), their_logits(their_model(folder)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("save_original_format", [True, False], ids=["dense-named-blocks", "dense"])
def test_what_transformers_decoded_and_saved_loads_here(
    folder: Path, tmp_path: Path, save_original_format: bool
) -> None:
    theirs = their_model(folder, torch.bfloat16)
    theirs.save_pretrained(tmp_path / "theirs", save_original_format=save_original_format)
    names = load_file(tmp_path / "theirs" / "model.safetensors").keys()
    assert any(name.endswith("proj_blocks") for name in names) == save_original_format
    assert same(read(tmp_path / "theirs"), dense(read(folder)))
    torch.testing.assert_close(our_logits(tmp_path / "theirs"), their_logits(theirs.float()), rtol=0, atol=1e-5)


def test_dense_one_of_ours_loads_there_and_packs_without_loss(
    folder: Path, packed: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "dense", SMALL, dense(packed).items())
    assert [path.name for path in (tmp_path / "dense").glob("*.safetensors")] == ["model.safetensors"]
    torch.testing.assert_close(our_logits(tmp_path / "dense"), our_logits(folder), rtol=0, atol=1e-5)
    torch.testing.assert_close(their_logits(their_model(tmp_path / "dense")), our_logits(folder), rtol=0, atol=1e-5)
    checkpoint.save(tmp_path / "packed", SMALL, checkpoint.pack(checkpoint.open(tmp_path / "dense").tensors()))
    assert same(dense(read(tmp_path / "packed")), dense(packed))


def to_original(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names for Hugging Face's tensors."""
    found = {
        "embedding.weight": tensors["model.embed_tokens.weight"],
        "norm.scale": tensors["model.norm.weight"],
        "unembedding.weight": tensors["lm_head.weight"],
    }
    for layer in range(SMALL.n_layers):
        ours, theirs = f"model.layers.{layer}.", f"block.{layer}."
        found[theirs + "attn.norm.scale"] = tensors[ours + "input_layernorm.weight"]
        found[theirs + "attn.sinks"] = tensors[ours + "self_attn.sinks"]
        found[theirs + "mlp.norm.scale"] = tensors[ours + "post_attention_layernorm.weight"]
        for part in ("weight", "bias"):
            rows = [tensors[f"{ours}self_attn.{name}_proj.{part}"] for name in "qkv"]
            found[f"{theirs}attn.qkv.{part}"] = torch.cat(rows)
            found[f"{theirs}attn.out.{part}"] = tensors[f"{ours}self_attn.o_proj.{part}"]
            found[f"{theirs}mlp.gate.{part}"] = tensors[f"{ours}mlp.router.{part}"]
        for number, projection in ((1, "gate_up_proj"), (2, "down_proj")):
            experts = f"{ours}mlp.experts.{projection}"
            found[f"{theirs}mlp.mlp{number}_bias"] = tensors[f"{experts}_bias"]
            for part in ("blocks", "scales"):
                found[f"{theirs}mlp.mlp{number}_weight.{part}"] = tensors[f"{experts}_{part}"]
    return found


@pytest.mark.parametrize("n_files", [1, 3])
def test_original_layout(packed: dict[str, Tensor], tmp_path: Path, n_files: int) -> None:
    folder = tmp_path / "original"
    folder.mkdir()
    config = config_file.to_json(SMALL, is_packed=False)
    renamed = {
        "num_experts": SMALL.n_experts,
        "rope_scaling_factor": 32.0,
        "rope_ntk_alpha": 1.0,
        "rope_ntk_beta": 32.0,
    }
    left_out = ("model_type", "num_local_experts", "num_experts_per_tok", "rope_scaling", "layer_types")
    config = {key: value for key, value in config.items() if key not in left_out} | renamed
    (folder / "config.json").write_text(json.dumps(config))
    tensors = to_original(packed)
    for i in range(n_files):
        part = {name: tensors[name] for name in sorted(tensors)[i::n_files]}
        save_file(
            part, folder / (f"model--{i + 1:05}-of-{n_files:05}.safetensors" if n_files > 1 else "model.safetensors")
        )
    for given in (folder, tmp_path):
        opened = checkpoint.open(given)
        assert opened.config == SMALL and same(dict(opened.tensors()), packed)
        assert same(dict(opened.tensors_on(torch.device("cpu"))), packed)


def test_the_published_20b_in_miniature(tmp_path: Path) -> None:
    """Its names, types, numbers of dimensions, 24 layers and three files counted from 0, with layers cut in two."""
    config = replace(
        GPT_OSS_20B, **{key: getattr(TINY, key) for key in ("hidden_size", "intermediate_size", "n_heads")}
    )
    config = replace(config, n_kv_heads=2, head_dim=32, vocab_size=64)
    tensors = dict(Dummy(config).tensors())
    names = sorted(tensors)
    assert len(names) == 3 + 24 * 19
    cuts = (
        0,
        names.index("model.layers.18.mlp.experts.down_proj_scales"),
        names.index("model.layers.4.mlp.router.bias"),
    )
    files = {}
    for i, (start, stop) in enumerate(zip(cuts, (*cuts[1:], len(names)), strict=True)):
        file = f"model-{i:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names[start:stop]}, tmp_path / file, metadata={"format": "pt"})
        files |= dict.fromkeys(names[start:stop], file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (tmp_path / "config.json").write_text(json.dumps(config_file.to_json(config, is_packed=True)))
    opened = checkpoint.open(tmp_path)
    assert opened.config == config and same(dict(opened.tensors()), tensors)
    assert same(dict(opened.tensors_on(torch.device("cpu"))), tensors)
    assert Transformer.load(opened).forward(torch.tensor([[1, 2, 3]])).isfinite().all()


def test_tensors_are_streamed_from_the_mapped_file(tmp_path: Path) -> None:
    config = replace(SMALL, vocab_size=300_000)  # embeddings of 38 MB
    checkpoint.save(tmp_path, config, Dummy(config).tensors())
    own = psutil.Process()

    def private_bytes() -> int:
        memory = own.memory_info()
        return int(memory.rss - memory.shared)

    before, peak = private_bytes(), 0
    for _, tensor in checkpoint.open(tmp_path).tensors():
        assert tensor.view(torch.uint8).flatten()[-1] >= 0
        peak = max(peak, private_bytes())
    assert peak - before < 10_000_000


NORM = "model.layers.0.input_layernorm.weight"


def index(folder: Path) -> Path:
    return folder / "model.safetensors.index.json"


def first(folder: Path) -> Path:
    return min(folder.glob("*.safetensors"))


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Changes the tensors of the file that holds NORM."""
    file = folder / json.loads(index(folder).read_text())["weight_map"][NORM]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def rewrite_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no config.json"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no weights": (lambda folder: [path.unlink() for path in folder.glob("model*")], "lacks model.safetensors"),
    "file missing": (lambda folder: first(folder).unlink(), "lacks model-00001"),
    "index damaged": (lambda folder: index(folder).write_text("{"), "index.json cannot be read"),
    "index empty": (lambda folder: index(folder).write_text("[]"), "index.json cannot be read"),
    "cut short": (lambda folder: first(folder).write_bytes(first(folder).read_bytes()[:-1]), "damaged or cut short"),
    "empty file": (lambda folder: first(folder).write_bytes(b""), "damaged or cut short"),
    "pointer file": (lambda folder: first(folder).write_text("version https://git-lfs"), "damaged or cut short"),
    "tensor missing": (lambda folder: edit(folder, lambda tensors: tensors.pop(NORM)), f"lacks tensor {NORM}"),
    "tensor unknown": (
        lambda folder: edit(folder, lambda tensors: tensors.update(x=torch.ones(1))),
        "unknown tensor x",
    ),
    "shape": (lambda folder: edit(folder, lambda tensors: tensors.update({NORM: torch.ones(3)})), r"F32 \[3\]"),
    "type": (lambda folder: edit(folder, lambda tensors: tensors.update({NORM: torch.ones(64).int()})), "I32"),
    "repeated": (
        lambda folder: edit(folder, lambda tensors: tensors.update(load_file(first(folder)))),
        "repeats tensors of another",
    ),
    "sizes": (lambda folder: rewrite_config(folder, num_local_experts=4), "calls for"),
    "layers": (lambda folder: rewrite_config(folder, num_hidden_layers=1, layer_types=None), "and 18 more"),
    "foreign": (lambda folder: rewrite_config(folder, model_type="llama"), "model_type is 'llama'"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_checkpoints_say_what_is_wrong_and_what_to_do(folder: Path, name: str) -> None:
    change, words = BREAKS[name]
    change(folder)
    with pytest.raises(BadCheckpoint, match=words) as raised:
        checkpoint.open(folder)
    message = str(raised.value)
    assert str(folder) in message and "\n" not in message
    assert any(remedy in message for remedy in ("fetch", "give", "convert"))


def test_saving_replaces_an_older_checkpoint_and_leaves_other_files(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("card")
    (tmp_path / "tokenizer.json").write_text("{}")
    other = TINY.with_layers(1)
    checkpoint.save(folder, other, Dummy(other, seed=1).tensors(), files=[tmp_path / "tokenizer.json"])
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert same(read(folder), dict(Dummy(other, seed=1).tensors()))


def test_a_checkpoint_can_be_saved_over_itself(folder: Path, packed: dict[str, Tensor]) -> None:
    checkpoint.save(folder, SMALL, checkpoint.open(folder).tensors())
    assert same(read(folder), packed)


def test_a_save_that_fails_leaves_the_older_checkpoint(folder: Path, packed: dict[str, Tensor]) -> None:
    def failing() -> Iterator[tuple[str, Tensor]]:
        yield from list(packed.items())[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, SMALL, failing(), max_shard_bytes=1)
    with pytest.raises(BadCheckpoint, match="lacks tensor"):
        checkpoint.save(folder, SMALL, list(packed.items())[:5])
    assert same(read(folder), packed) and not list(folder.glob(".saving*"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, packed: dict[str, Tensor]) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(CannotWrite, match="give another folder"):
            checkpoint.save(target, SMALL, packed.items())


def test_nothing_is_quantized_that_was_packed(packed: dict[str, Tensor]) -> None:
    assert same(dict(checkpoint.pack(packed.items())), packed)


def test_packing_a_float32_model(tmp_path: Path, packed: dict[str, Tensor]) -> None:
    floats = {name: tensor.float() * 1.01 for name, tensor in dense(packed).items()}
    checkpoint.save(tmp_path, SMALL, checkpoint.pack(floats.items()))
    written = read(tmp_path)
    assert {tensor.dtype for tensor in written.values()} == {torch.uint8, torch.bfloat16}
    for name, tensor in dense(written).items():
        expected = floats[name]
        if name.endswith("_proj"):
            expected = mxfp4.fake_quantize(expected.transpose(1, 2)).transpose(1, 2)
        assert torch.equal(tensor, expected.bfloat16())


def test_config_and_tensors_must_agree(tmp_path: Path, packed: dict[str, Tensor]) -> None:
    wrong: ModelConfig = replace(SMALL, n_heads=8)
    with pytest.raises(BadCheckpoint, match="calls for"):
        checkpoint.save(tmp_path / "model", wrong, packed.items())
    assert not (tmp_path / "model" / "config.json").exists()
