"""Our models as `transformers` has them: the same losses, and the same weights back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from store_samples import COORDINATOR, draft

from collab.node.errors import UserError
from collab.node.interchange.families import counterpart_of
from collab.node.interchange.read import convert
from collab.node.interchange.write import write_transformers
from collab.node.trainer.models import IGNORED, LanguageModel, build
from collab.protocol.event import AlbertModel, Data, EventManifest, GptModel, HuggingFaceModel, Start

MODELS: dict[str, Any] = {
    "gpt": GptModel(family="gpt", layers=2, width=32, heads=4),
    "albert": AlbertModel(family="albert", layers=3, width=32, heads=4, feed_forward=48, embedding=16, vocabulary=300),
    "gpt2": HuggingFaceModel(
        family="huggingface", task="causal-lm", architecture="gpt2",
        config={"vocab_size": 256, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32},
    ),
    "bert": HuggingFaceModel(
        family="huggingface", task="masked-lm", architecture="bert",
        config={
            "vocab_size": 260, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
            "max_position_embeddings": 32,
        },
    ),
}  # fmt: skip
BLOCK = 24


def event_of(model: Any, block: int = BLOCK) -> EventManifest:
    changed = draft().model_copy(update={"model": model, "data": Data(source="stdlib", block=block)})
    return changed.manifest(COORDINATOR.peer_id, 1, Start(state=bytes(32)))


def random_model(event: EventManifest) -> LanguageModel:
    """A model with all of its weights at random, norms and biases too."""
    model = build(event).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.weights().values():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2 + (weight.ndim == 1))
    return model


def write(event: EventManifest, model: LanguageModel, folder: Path) -> dict[str, torch.Tensor]:
    """Write what an export would, and return the weights."""
    folder.mkdir()
    weights = {name: weight.detach().clone() for name, weight in model.weights().items()}
    save_file(weights, folder.with_suffix(".ours"))
    write_transformers(event, folder.with_suffix(".ours"), folder)
    return weights


def loaded(event: EventManifest, folder: Path) -> Any:
    """What `transformers` makes of a directory: nothing missing, nothing left over."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    causal = getattr(event.model, "family", "") == "gpt" or getattr(event.model, "task", "") == "causal-lm"
    factory = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, loading = factory.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert not loading["mismatched_keys"]
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_from_pretrained_computes_the_same(name: str, tmp_path: Path) -> None:
    event = event_of(MODELS[name])
    model = random_model(event)
    write(event, model, tmp_path / "out")
    theirs = loaded(event, tmp_path / "out")
    tokens = torch.randint(0, 256, (3, BLOCK), generator=torch.Generator().manual_seed(1))
    targets = tokens.roll(-1, 1)
    targets[:, ::3] = IGNORED
    with torch.no_grad():
        logits = theirs(input_ids=tokens).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        torch.testing.assert_close(model(tokens, targets), expected, rtol=2e-5, atol=2e-5)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [type(theirs).__name__]


@pytest.mark.parametrize("name", MODELS)
def test_what_was_written_is_read_bit_for_bit(name: str, tmp_path: Path) -> None:
    event = event_of(MODELS[name])
    weights = write(event, random_model(event), tmp_path / "out")
    convert(event, tmp_path / "out", tmp_path / "back")
    back = load_file(tmp_path / "back")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("name", ["gpt", "albert"])
def test_what_save_pretrained_writes_is_read_too(name: str, tmp_path: Path) -> None:
    event = event_of(MODELS[name])
    weights = write(event, random_model(event), tmp_path / "out")
    loaded(event, tmp_path / "out").save_pretrained(tmp_path / "again", max_shard_size="8KB")
    assert (tmp_path / "again" / "model.safetensors.index.json").is_file()
    convert(event, tmp_path / "again", tmp_path / "back")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_file(tmp_path / "back").items())


def test_half_precision_becomes_float32_exactly(tmp_path: Path) -> None:
    event = event_of(MODELS["gpt"])
    weights = {name: weight.detach().bfloat16() for name, weight in random_model(event).weights().items()}
    save_file(weights, tmp_path / "half.safetensors")
    convert(event, tmp_path / "half.safetensors", tmp_path / "out")
    assert all(torch.equal(tensor, weights[name].float()) for name, tensor in load_file(tmp_path / "out").items())


def test_an_albert_with_token_types_and_more_positions_computes_the_same(tmp_path: Path) -> None:
    from transformers import AlbertConfig, AlbertForMaskedLM

    torch.manual_seed(2)
    event = event_of(MODELS["albert"])
    counterpart = counterpart_of(event)
    assert counterpart is not None
    config = AlbertConfig(**{**counterpart.config, "max_position_embeddings": 2 * BLOCK, "type_vocab_size": 2})
    theirs = AlbertForMaskedLM(config).eval()
    assert theirs.albert.embeddings.token_type_embeddings.weight.detach().abs().sum() > 0
    theirs.save_pretrained(tmp_path / "pretrained")
    convert(event, tmp_path / "pretrained", tmp_path / "ours")
    model = build(event).eval()
    with torch.no_grad():
        for name, tensor in load_file(tmp_path / "ours").items():
            model.weights()[name].copy_(tensor)
        tokens = torch.randint(0, 300, (2, BLOCK))
        expected = torch.nn.functional.cross_entropy(theirs(input_ids=tokens).logits.flatten(0, 1), tokens.flatten())
        torch.testing.assert_close(model(tokens, tokens), expected, rtol=2e-5, atol=2e-5)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def retensor(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


NEOX_EMBEDDING = "gpt_neox.embed_in.weight"
BIAS = "gpt_neox.layers.0.mlp.dense_4h_to_h.bias"
SABOTAGE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "layers": ("albert", lambda folder: edit(folder, num_hidden_layers=12), "num_hidden_layers is 12, the event's model has 3"),
    "kind": ("gpt", lambda folder: edit(folder, model_type="llama"), "model_type is 'llama', the event's model has 'gpt_neox'"),
    "activation": ("albert", lambda folder: edit(folder, hidden_act="relu"), "activation is 'relu'"),
    "rotary": ("gpt", lambda folder: edit(folder, rope_parameters=None, rotary_pct=0.25), r"rotary positions \(0.25 of a head"),
    "bias": ("gpt", lambda folder: retensor(folder, lambda all: all[BIAS].add_(1)), "is not zero, and the built-in GPT has no"),
    "lost": ("gpt", lambda folder: retensor(folder, lambda all: all.pop(NEOX_EMBEDDING)), f"no tensor {NEOX_EMBEDDING}"),
    "shape": (
        "gpt",
        lambda folder: retensor(folder, lambda all: all.update({BIAS.replace("4h_to_h.bias", "4h_to_h.weight"): torch.ones(3)})),
        "",
    ),
    "integers": (
        "albert", lambda folder: retensor(folder, lambda all: all.update({"predictions.bias": torch.arange(300)})), "holds int64",
    ),
    "no config": ("gpt", lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "bad config": ("gpt", lambda folder: (folder / "config.json").write_text("[1"), "cannot be read"),
    "empty config": ("gpt", lambda folder: (folder / "config.json").write_text("{}"), "does not say of what model"),
    "no weights": ("gpt", lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
    "cut": ("gpt", lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 20), "is not a safetensors file"),
    "their own": ("bert", lambda folder: edit(folder, num_attention_heads=4), "num_attention_heads is 4, the event's model has"),
    "their lost": (
        "bert", lambda folder: retensor(folder, lambda all: all.pop("bert.embeddings.LayerNorm.weight")), "the checkpoint lacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_checkpoint_of_something_else_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    model, sabotage, why = SABOTAGE[name]
    event = event_of(MODELS[model])
    write(event, random_model(event), tmp_path / "out")
    sabotage(tmp_path / "out")
    if not why:  # its shape is found wrong by whoever reads the converted file
        convert(event, tmp_path / "out", tmp_path / "back")
        assert load_file(tmp_path / "back")["layers.0.feed_forward_out.weight"].shape == (3,)
        return
    with pytest.raises(UserError, match=why) as error:
        convert(event, tmp_path / "out", tmp_path / "back")
    assert "\n" not in error.value.message


def test_pickles_and_files_elsewhere_are_never_opened(tmp_path: Path) -> None:
    event = event_of(MODELS["gpt"])
    write(event, random_model(event), tmp_path / "out")
    weights = (tmp_path / "out" / "model.safetensors").rename(tmp_path / "secret.safetensors")
    (tmp_path / "out" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match=r"no model\.safetensors") as error:
        convert(event, tmp_path / "out", tmp_path / "back")
    assert "never loaded" in error.value.hint
    index = {"weight_map": {NEOX_EMBEDDING: f"../{weights.name}"}}
    (tmp_path / "out" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="names files elsewhere"):
        convert(event, tmp_path / "out", tmp_path / "back")


def test_a_block_longer_than_the_checkpoints_positions_is_refused(tmp_path: Path) -> None:
    event = event_of(MODELS["albert"])
    write(event, random_model(event), tmp_path / "out")
    with pytest.raises(UserError, match="knows 24 positions, the event's blocks have 32"):
        convert(event_of(MODELS["albert"], 32), tmp_path / "out", tmp_path / "back")


def test_heads_are_taken_apart_as_neox_has_them() -> None:
    event = event_of(GptModel(family="gpt", layers=1, width=8, heads=2))
    counterpart = counterpart_of(event)
    assert counterpart is not None
    ours = {name: np.asarray(weight.detach()) for name, weight in random_model(event).weights().items()}
    fused = counterpart.outwards(ours)["gpt_neox.layers.0.attention.query_key_value.weight"].reshape(2, 3, 4, 8)
    query, key, value = np.split(ours["layers.0.attention_in.weight"], 3)
    for part, mine in enumerate((query, key, value)):
        assert np.array_equal(fused[1, part], mine[4:])
