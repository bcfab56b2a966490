"""Modules in a base, of each kind and in each family: laws that hold whatever the weights are, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from trainer.conftest import Bench

from collab.node.modules.adapter import PREFIX, apply_adapter
from collab.node.trainer import messages
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.gates.version import Version, reading
from collab.node.trainer.messages import ModuleRef, VersionRef
from collab.node.trainer.modules import applied
from collab.node.trainer.tensor_file import read_tensors
from collab.protocol.event import AlbertModel, GptModel, HuggingFaceModel
from collab.protocol.gates import EventGate, HeadGate, LossGate
from collab.protocol.verdict import Measurement

Kind = Literal["adapter", "expert", "head", "datastore"]
MakeBench = Callable[..., Bench]
WIDTH, EMBEDDING, BLOCK = 16, 8, 16
MODELS = {
    "gpt": GptModel(family="gpt", layers=2, width=WIDTH, heads=2),
    "albert": AlbertModel(
        family="albert", layers=2, width=WIDTH, heads=2, feed_forward=24, embedding=EMBEDDING, vocabulary=257
    ),
}  # fmt: skip
LAYERS = {"gpt": ["layers.0", "layers.1"], "albert": ["layer"]}
TABLES = {"gpt": "embedding.weight", "albert": "tokens.weight"}
LOSS = LossGate(name="held-out", kind="loss", batch=8, max_batches=2)


class Base:
    """A model of a family whose weights are larger than fresh ones, so that what is changed shows, and a folder for a module."""

    def __init__(self, family: str, bench: Bench, folder: Path) -> None:
        self.family, self.bench, self.folder = family, bench, folder
        self.session = bench.service.session
        self.model = self.session.model
        draw = torch.Generator().manual_seed(3)
        fresh = self.session.require_base().weights
        self.weights = {name: weight + 0.2 * torch.randn(weight.shape, generator=draw) for name, weight in fresh.items()}
        self.file = folder.parent / "base.safetensors"
        save_file(self.weights, self.file)
        self.inputs = torch.randint(0, 256, (3, BLOCK), generator=draw)
        folder.mkdir()

    @property
    def alone(self) -> Version:
        return Version(self.model, self.weights, b"base")

    def module(self, kind: Kind, tensors: dict[str, Tensor], config: dict[str, Any]) -> ModuleRef:
        files = {"adapter": ("adapter_model", "adapter_config")}.get(kind, (kind, kind))
        own = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(own, self.folder / f"{files[0]}.safetensors")
        (self.folder / f"{files[1]}.json").write_text(json.dumps(config))
        return ModuleRef(kind=kind, folder=str(self.folder))

    def put_in(self, kind: Kind, tensors: dict[str, Tensor], config: dict[str, Any]) -> Version:
        return applied(self.model, self.weights, b"base", self.module(kind, tensors, config))

    def logits(self, version: Version) -> Tensor:
        with reading(self.model):
            return version.logits(self.inputs)

    def hidden(self, version: Version) -> Tensor:
        with reading(self.model):
            return version.hidden(self.inputs)

    def own_network(self, layer: str, number: int) -> dict[str, Tensor]:
        """The layer's own network as expert `number`."""
        pairs = (("in", "feed_forward_in"), ("out", "feed_forward_out"))
        found = {f"{layer}.experts.{number}.{ours}.{what}": self.weights.get(f"{layer}.{theirs}.{what}")
                 for ours, theirs in pairs for what in ("weight", "bias")}  # fmt: skip
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def measure(self, gate: EventGate, module: ModuleRef | None, against: ModuleRef | None = None) -> Measurement:
        base, candidate = (VersionRef(of="file", path=str(self.file), module=each) for each in (against, module))
        answer = self.bench.ask(messages.RunGate(gate=gate.encode(), base=base, candidate=candidate))
        return Measurement.decode(answer.measurement)


@pytest.fixture(params=MODELS)
def base(request: pytest.FixtureRequest, bench: MakeBench, make_event: Any, tmp_path: Path) -> Base:
    return Base(request.param, bench(event=make_event(model=MODELS[request.param])), tmp_path / "module")


def test_an_adapter_in_a_base_is_the_adapter_merged_into_its_weights(base: Base) -> None:
    name = f"{LAYERS[base.family][0]}.feed_forward_in"
    out, into = base.weights[f"{name}.weight"].shape
    pair = {f"{PREFIX}{name}.lora_A.weight": torch.randn(2, into), f"{PREFIX}{name}.lora_B.weight": torch.randn(out, 2)}
    adapted = base.put_in("adapter", pair, {"peft_type": "LORA", "r": 2, "lora_alpha": 4})
    apply_adapter(base.file, base.folder, base.folder / "merged")
    merged = read_tensors(base.folder / "merged", base.session.shapes)
    assert torch.equal(base.logits(adapted), base.logits(Version(base.model, merged, b"merged")))
    assert not torch.allclose(base.logits(adapted), base.logits(base.alone))


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_experts_like_the_layers_own_network_change_nothing_however_they_are_mixed(base: Base, top_k: int) -> None:
    tensors: dict[str, Tensor] = {}
    for layer in LAYERS[base.family]:
        tensors |= base.own_network(layer, 1) | base.own_network(layer, 2) | {f"{layer}.router.weight": torch.randn(3, WIDTH)}
    mixed = base.put_in("expert", tensors, {"top_k": top_k})
    torch.testing.assert_close(base.logits(mixed), base.logits(base.alone), rtol=1e-4, atol=1e-4)


def test_an_equal_mixture_with_an_expert_that_says_nothing_halves_the_layer(base: Base) -> None:
    layer = LAYERS[base.family][0]
    silent = {name: torch.zeros_like(tensor) for name, tensor in base.own_network(layer, 1).items()}
    mixed = base.put_in("expert", {**silent, f"{layer}.router.weight": torch.zeros(2, WIDTH)}, {"top_k": 2})
    leave = f"{layer}.feed_forward_out"
    halved = {name: weight / 2 if name.startswith(leave) else weight for name, weight in base.weights.items()}
    torch.testing.assert_close(base.logits(mixed), base.logits(Version(base.model, halved, b"")), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(base.logits(mixed), base.logits(base.alone), atol=1e-3)


def test_token_ids_that_were_renamed_are_read_by_a_table_that_was_too(base: Base) -> None:
    table = base.weights[TABLES[base.family]]
    order = torch.randperm(256, generator=torch.Generator().manual_seed(1))
    renamed = table.clone()
    renamed[order] = table[:256]
    version = base.put_in("head", {"input.weight": renamed}, {})
    with reading(base.model):
        torch.testing.assert_close(version.hidden(order[base.inputs]), base.alone.hidden(base.inputs))
    assert not torch.allclose(base.hidden(version), base.hidden(base.alone))


def test_a_table_that_scores_tokens_stands_in_the_place_of_the_bases(base: Base) -> None:
    weight, bias = torch.randn(base.model.vocabulary, WIDTH), torch.randn(base.model.vocabulary)
    version = base.put_in("head", {"output.weight": weight, "output.bias": bias}, {})
    torch.testing.assert_close(base.logits(version), F.linear(base.hidden(base.alone), weight, bias))
    torch.testing.assert_close(base.hidden(version), base.hidden(base.alone))


def test_a_datastore_scores_as_the_paper_says(base: Base) -> None:
    draw = torch.Generator().manual_seed(5)
    keys, values = torch.randn(40, WIDTH, generator=draw), torch.randint(0, 256, (40,), generator=draw).int()
    version = base.put_in("datastore", {"keys": keys, "values": values}, {"k": 5, "temperature": 3.0, "lambda": 0.4})
    hidden, alone = base.hidden(base.alone), base.logits(base.alone).softmax(-1)
    found = base.logits(version)
    assert torch.allclose(found.logsumexp(-1), torch.zeros(()), atol=1e-4)
    for row, place in ((0, 0), (1, 7), (2, BLOCK - 1)):
        distances = ((keys - hidden[row, place]) ** 2).sum(1)
        nearest = distances.argsort()[:5]
        expected = 0.6 * alone[row, place]
        for at, share in zip(nearest, (-distances[nearest] / 3.0).softmax(0), strict=True):
            expected[values[at]] += 0.4 * share
        torch.testing.assert_close(found[row, place].exp(), expected, rtol=1e-3, atol=1e-5)


def test_a_datastore_that_is_searched_in_parts_finds_the_same(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"keys": torch.randn(30, WIDTH), "values": torch.arange(30)}
    version = base.put_in("datastore", tensors, {"k": 4})
    whole = base.logits(version)
    monkeypatch.setattr("collab.node.trainer.modules.datastore._MOST_DISTANCES", 100)
    torch.testing.assert_close(base.logits(version), whole, rtol=1e-4, atol=1e-4)


def test_a_datastore_of_the_text_that_is_measured_makes_its_loss_smaller(base: Base) -> None:
    made = base.bench.ask(messages.MakeModule(
        gate=LOSS.encode(), version=VersionRef(of="file", path=str(base.file)), folder=str(base.folder / "made"), entries=10_000,
        settings=json.dumps({"k": 2, "temperature": 0.1, "lambda": 0.5}),
    ))  # fmt: skip
    assert made.size > 100
    module = ModuleRef(kind="datastore", folder=str(base.folder / "made"))
    measured = base.measure(LOSS.model_copy(update={"significance": 1e-9}), module)
    assert measured.change is not None
    assert measured.change < -1.0  # nats: the text is in it
    assert base.measure(LOSS, None).change == 0.0  # nothing of it is left in the model


def labelled(folder: Path) -> None:
    rows = [{"text": ("abab" if at % 3 else "xyxy") * 3 + str(at), "label": "ab" if at % 3 else "xy"} for at in range(160)]
    (folder / "labelled.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize("kind", ["accuracy", "f1"])
def test_a_head_is_measured_against_the_commonest_label(base: Base, data_dir: Path, kind: Any) -> None:
    labelled(data_dir)
    gate = HeadGate(name="topics", kind=kind, path="labelled.jsonl")
    version = VersionRef(of="file", path=str(base.file))
    made = base.bench.ask(messages.MakeModule(gate=gate.encode(), version=version, folder=str(base.folder / "made")))
    assert made.size == 2
    module = ModuleRef(kind="head", folder=str(base.folder / "made"))
    measured = base.measure(gate, module)
    assert measured.base is not None
    assert measured.candidate is not None
    assert measured.base < 0.8 < 0.95 < measured.candidate
    trained = base.measure(gate, None)
    assert trained.base is not None
    assert measured.candidate == pytest.approx(trained.base, abs=0.03)  # what a gate would train is what was written


def test_labels_of_a_head_are_known_by_name(base: Base, data_dir: Path) -> None:
    labelled(data_dir)
    gate = HeadGate(name="topics", kind="accuracy", path="labelled.jsonl")
    bias = torch.tensor([1.0, 2.0, 0.0])
    tensors = {"classes.weight": torch.zeros(3, WIDTH), "classes.bias": bias}
    always_xy = base.measure(gate, base.module("head", tensors, {"labels": ["ab", "xy", "other"]}))
    assert always_xy.candidate is not None
    assert always_xy.candidate == pytest.approx(1 / 3, abs=0.1)
    neither = base.measure(gate, base.module("head", tensors, {"labels": ["ab", "other", "xy"]}))
    assert neither.candidate == 0.0
    with pytest.raises(WorkerError, match="gate topics has other labels: they are ab, xy, the head's are a, b, c"):
        base.measure(gate, base.module("head", tensors, {"labels": ["a", "b", "c"]}))


def test_what_a_base_has_no_place_for_is_said_in_words(base: Base) -> None:
    layer = LAYERS[base.family][0]
    network = {f"{layer}.experts.1.in.weight": torch.zeros(8, 12), f"{layer}.experts.1.out.weight": torch.zeros(12, 8)}
    elsewhere = {name.replace(layer, "decoder.7"): tensor for name, tensor in network.items()}
    pair = {f"{PREFIX}deep.lora_A.weight": torch.zeros(2, 3), f"{PREFIX}deep.lora_B.weight": torch.zeros(4, 2)}
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    keys = torch.zeros(9, WIDTH)
    cases: list[tuple[Kind, dict[str, Tensor], dict[str, Any], str]] = [
        ("adapter", pair, lora, r"no deep\.weight of shape \(4, 3\), which the adapter changes"),
        ("expert", network | {f"{layer}.router.weight": torch.zeros(2, 12)}, {"top_k": 1}, "for a width of 12, the base's is 16"),
        ("expert", elsewhere | {"decoder.7.router.weight": torch.zeros(2, 12)}, {"top_k": 1}, "no layer 'decoder.7'"),
        ("head", {"input.weight": torch.zeros(5, 5)}, {}, r"input\.weight is \(5, 5\), and the base needs"),
        ("head", {"output.weight": torch.zeros(5, WIDTH)}, {}, r"output\.weight is \(5, 16\), and the base needs"),
        ("head", {"classes.weight": torch.zeros(2, 5)}, {"labels": ["a", "b"]}, "for a width of 5, the base's is 16"),
        ("datastore", {"keys": torch.zeros(9, 5), "values": torch.zeros(9).long()}, {}, "for a width of 5, the base's is 16"),
        ("datastore", {"keys": keys, "values": torch.full((9,), 400)}, {}, "tokens that the base, which knows 25[67], does not"),
        ("datastore", {"keys": keys * torch.nan, "values": torch.zeros(9).long()}, {}, "keys has NaN or infinite values"),
    ]  # fmt: skip
    for kind, tensors, config, words in cases:
        with pytest.raises(WorkerError, match=words) as raised:
            base.measure(LOSS, base.module(kind, tensors, config))
        assert raised.value.code == "unfit"


def test_a_model_of_transformers_takes_all_but_experts(bench: MakeBench, make_event: Any, tmp_path: Path) -> None:
    config: dict[str, Any] = {"vocab_size": 256, "n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": BLOCK}
    model = HuggingFaceModel(family="huggingface", task="causal-lm", architecture="gpt2", config=config)
    base = Base("huggingface", bench(event=make_event(model=model)), tmp_path / "module")
    table = base.weights["transformer.wte.weight"]
    assert torch.equal(base.logits(base.put_in("head", {"input.weight": table}, {})), base.logits(base.alone))
    store = base.put_in("datastore", {"keys": torch.zeros(9, WIDTH), "values": torch.arange(9)}, {})
    assert torch.allclose(base.logits(store).logsumexp(-1), torch.zeros(()), atol=1e-4)
    network = {"h.experts.1.in.weight": torch.zeros(8, WIDTH), "h.experts.1.out.weight": torch.zeros(WIDTH, 8)}
    with pytest.raises(WorkerError, match="a family of models that takes no extra experts"):
        base.put_in("expert", network | {"h.router.weight": torch.zeros(2, WIDTH)}, {"top_k": 1})
