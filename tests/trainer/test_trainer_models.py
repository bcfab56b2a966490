from __future__ import annotations

import hashlib
import sys
from typing import Any

import pytest
import torch

from collab.node.trainer.errors import WorkerError, translated
from collab.node.trainer.gates.version import Version, reading
from collab.node.trainer.models import FAMILIES, IGNORED, LanguageModel, build
from collab.node.trainer.models.initial import fill_normal
from collab.node.trainer.state import SharedState
from collab.protocol.event import AlbertModel, GptModel, HuggingFaceModel, OuterOptimiser

ALBERT = AlbertModel(
    family="albert", layers=3, width=16, heads=2, feed_forward=32, embedding=8, vocabulary=300, mask_share=0.2
)
GPT2 = HuggingFaceModel(
    family="huggingface", task="causal-lm", architecture="gpt2",
    config={"vocab_size": 256, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32},
)  # fmt: skip
BERT = HuggingFaceModel(
    family="huggingface", task="masked-lm", architecture="bert",
    config={
        "vocab_size": 260, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 32,
    },
)  # fmt: skip
MODELS = {
    "gpt": GptModel(family="gpt", layers=2, width=16, heads=2),
    "albert": ALBERT,
    "gpt2": GPT2,
    "bert": BERT,
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, make_event: Any) -> LanguageModel:
    built = build(make_event(model=MODELS[request.param]))
    built.initialise(5)
    return built.eval()


def test_every_family_of_the_manifest_is_built_in() -> None:
    assert set(FAMILIES) == {"gpt", "albert", "huggingface"}


def test_a_fresh_model_knows_nothing(model: LanguageModel) -> None:
    tokens = torch.arange(64).view(4, 16)
    loss = model(tokens, tokens.roll(-1, 1))
    assert loss.dtype == torch.float32
    assert abs(float(loss.detach()) - torch.tensor(float(model.vocabulary)).log()) < 0.3


def test_ignored_targets_have_no_part_in_the_loss(model: LanguageModel) -> None:
    tokens = torch.arange(32).view(2, 16)
    targets = tokens.clone()
    targets[1] = IGNORED
    torch.testing.assert_close(model(tokens, targets), model(tokens[:1], targets[:1]))


def test_readings_for_gates_are_those_that_the_loss_is_taken_of(model: LanguageModel) -> None:
    tokens = torch.arange(64).view(4, 16)
    scores = model.logits(tokens)
    assert scores.shape == (4, 16, model.vocabulary)
    loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), tokens.flatten())
    torch.testing.assert_close(loss, model(tokens, tokens))
    assert model.hidden(tokens).shape == (4, 16, model.width) == (4, 16, 16)
    assert model.token_embedding().num_embeddings == model.vocabulary


def test_a_version_stands_in_for_the_models_own_weights(model: LanguageModel) -> None:
    tokens = torch.arange(64).view(4, 16)
    own = {name: weight.detach().clone() for name, weight in model.weights().items()}
    model.initialise(6)
    other = {name: weight.detach().clone() for name, weight in model.weights().items()}
    with reading(model):
        wanted = model.logits(tokens)
        here, there = (Version(model, weights, b"").logits(tokens) for weights in (own, other))
    torch.testing.assert_close(there, wanted, rtol=0, atol=0)
    assert not torch.equal(here, there)
    assert all(torch.equal(weight, other[name]) for name, weight in model.weights().items())


def test_in_bf16_the_loss_is_about_the_same(model: LanguageModel) -> None:
    tokens = torch.arange(64).view(4, 16)
    exact = model(tokens, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(tokens, tokens)
    gradients = torch.autograd.grad(rounded, list(model.weights().values()), materialize_grads=True)
    assert rounded.dtype == torch.float32
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


def test_weights_are_sorted_and_tied_ones_come_once(model: LanguageModel) -> None:
    names = list(model.weights())
    assert names == sorted(names)
    assert len({id(weight) for weight in model.weights().values()}) == len(names)


def test_every_weight_is_trained(model: LanguageModel) -> None:
    tokens = torch.arange(64).view(4, 16)
    weights = model.weights()
    gradients = torch.autograd.grad(model(tokens, tokens.roll(-1, 1)), list(weights.values()), materialize_grads=True)
    untouched = {name for name, g in zip(weights, gradients, strict=True) if not bool(g.any())}
    assert untouched <= {"bert.embeddings.token_type_embeddings.weight"}


def test_initialisation_is_a_function_of_the_seed(model: LanguageModel) -> None:
    def state() -> bytes:
        return SharedState.start(model.weights(), OuterOptimiser()).hash()

    first = state()
    model.initialise(6)
    assert state() != first
    torch.randn(3)
    model.initialise(5)
    assert state() == first


def test_initial_values_are_these_bits_on_every_machine() -> None:
    tensor = torch.empty(1000)
    fill_normal(tensor, 1, "name", 0.02)
    assert hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16] == "c25363a605492e45"
    assert abs(float(tensor.mean())) < 0.002
    assert abs(float(tensor.std()) - 0.02) < 0.002


def test_the_gpt_does_not_see_what_comes(make_event: Any) -> None:
    model = build(make_event(model=MODELS["gpt"])).eval()
    model.initialise(1)
    tokens = torch.arange(16)[None]
    changed = tokens.clone()
    changed[0, 10:] = 99
    targets = tokens.clone()
    targets[0, 10:] = IGNORED
    torch.testing.assert_close(model(tokens, targets), model(changed, targets))


def test_the_gpt_knows_the_order_of_what_was(make_event: Any) -> None:
    model = build(make_event(model=MODELS["gpt"])).eval()
    model.initialise(1)
    with torch.no_grad():
        for weight in model.weights().values():
            weight.mul_(5)  # at initialisation attention is nearly uniform
    tokens = torch.arange(16)[None]
    targets = torch.full_like(tokens, IGNORED)
    targets[0, 15] = 1
    swapped = tokens.clone()
    swapped[0, [2, 7]] = tokens[0, [7, 2]]
    assert abs(float((model(tokens, targets) - model(swapped, targets)).detach())) > 1e-4


def test_albert_shares_its_layers(make_event: Any) -> None:
    def count(layers: int) -> int:
        model = build(make_event(model=ALBERT.model_copy(update={"layers": layers})))
        return sum(weight.numel() for weight in model.weights().values())

    assert count(1) == count(12)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (GPT2.model_copy(update={"config": {"auto_map": "x"}}), "cannot bring code"),
        (GPT2.model_copy(update={"config": {"trust_remote_code": True}}), "cannot bring code"),
        (GPT2.model_copy(update={"config": {"attn_implementation": "evil/kernel"}}), "cannot bring code"),
        (GPT2.model_copy(update={"config": {"_attn_implementation_internal": "evil"}}), "cannot bring code"),
        (GPT2.model_copy(update={"config": {"activation_function": "evil/kernel"}}), "cannot bring code"),
        (GPT2.model_copy(update={"architecture": "no-such-thing"}), "cannot build 'no-such-thing'"),
        (GPT2.model_copy(update={"config": {"n_embd": 15, "n_head": 2}}), "cannot build 'gpt2'"),
        (BERT.model_copy(update={"architecture": "gpt2", "config": {}}), "cannot build 'gpt2'"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(make_event: Any, model: HuggingFaceModel, words: str) -> None:
    with pytest.raises(WorkerError, match=words) as caught:
        build(make_event(model=model))
    assert "\n" not in caught.value.text
    assert caught.value.code == "bad_model"


@pytest.mark.parametrize(
    ("width", "code"), [(1 << 39, "bad_model"), (1 << 12, "out_of_memory")], ids=["overflow", "too large"]
)
def test_a_model_that_no_machine_can_hold_is_one_line(make_event: Any, width: int, code: str) -> None:
    event = make_event(model=GptModel(family="gpt", layers=1, width=width, heads=2, vocabulary=1 << 39))
    with pytest.raises(WorkerError) as caught, translated("building"):
        build(event)
    assert caught.value.code == code


def test_without_transformers_the_line_says_what_to_install(make_event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WorkerError, match=r"pip install 'collab-node\[transformers\]'"):
        build(make_event(model=GPT2))
