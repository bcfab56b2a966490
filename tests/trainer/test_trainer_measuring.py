"""Statistics of a model: what is measured, on which samples, and that a merge takes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from trainer.conftest import PEER, Bench, MakeService

from collab.kernels import fisher, grams
from collab.kernels.change import smallest
from collab.kernels.merge import Update, merge_models, model_method
from collab.node.trainer import messages
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.tensor_file import write_tensors

SAMPLES = 6
LAYER = "layers.0.attention_in.weight"


def change(made: Bench, folder: Path, seed: int, thin: bool = True) -> tuple[dict[str, Tensor], messages.Change]:
    """Weights near the base, measured, and how they come to a merge."""
    base = made.service.session.require_base().weights
    draws = torch.Generator().manual_seed(seed)
    weights = {name: tensor + 1e-2 * torch.randn(tensor.shape, generator=draws) for name, tensor in base.items()}
    if thin:
        weights = base | {LAYER: base[LAYER] + torch.ones_like(base[LAYER]) * 1e-2 * seed}
    encoded = smallest({name: base[name] - weights[name] for name in base}, 0.02)
    folder.mkdir()
    path, file = folder / "payload", folder / "weights"
    path.write_bytes(encoded.payload)
    write_tensors(file, weights)
    request = messages.Measure(
        weights=str(file), form=encoded.form, path=str(path), peer_id=PEER, round=3, samples=SAMPLES,
        fisher_path=str(folder / "fisher"), grams_path=str(folder / "grams"),
    )  # fmt: skip
    assert made.ask(request).without == ()
    return weights, messages.Change(
        path=str(path), form=encoded.form, weight=float(seed), key=bytes([seed]),
        fisher_path=request.fisher_path, grams_path=request.grams_path,
    )  # fmt: skip


@pytest.mark.parametrize("thin", [True, False])
def test_the_fisher_is_the_mean_of_squared_gradients_of_samples(bench: MakeService, tmp_path: Path, thin: bool) -> None:
    made = bench()
    session = made.service.session
    before = made.local()
    weights, taken = change(made, tmp_path / "change", 1, thin)
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.local().items())
    assert taken.form == ("low-rank" if thin else "dense")
    assert taken.fisher_path is not None
    payload = Path(taken.path).read_bytes()
    measured = fisher.decode(Path(taken.fisher_path).read_bytes(), taken.form, payload, session.layout)
    session.set_local(weights)
    expected = session.layout.zeros()
    for sample in session.require_batches().draw(made.event.digest, 3, PEER, 0, SAMPLES).split(1):
        loss = session.model(sample.inputs, sample.targets)
        parameters = session.model.weights()
        for name, gradient in zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True):
            expected[name] += gradient.square() / SAMPLES
    for name, tensor in measured.items():
        largest = float(expected[name].max())
        assert float((tensor.sqrt() - expected[name].sqrt()).abs().max()) <= 0.02 * largest**0.5


def test_the_matrices_are_those_of_the_inputs(bench: MakeService, tmp_path: Path) -> None:
    made = bench()
    session = made.service.session
    weights, taken = change(made, tmp_path / "change", 2)
    assert taken.grams_path is not None
    measured = grams.decode(Path(taken.grams_path).read_bytes(), session.layout)
    assert set(measured) == {name for name, shape in session.layout.tensors if name.startswith("layers") and len(shape) == 2}
    session.set_local(weights)
    batch = session.require_batches().draw(made.event.digest, 3, PEER, 0, SAMPLES)
    with torch.no_grad():
        rows = session.model.get_submodule("layers.0.attention_norm")(session.model.get_submodule("embedding")(batch.inputs))
    expected = rows.reshape(-1, rows.shape[-1]).T @ rows.reshape(-1, rows.shape[-1]) / (SAMPLES * rows.shape[1])
    assert float((measured[LAYER] - expected).abs().max()) <= 2e-3 * float(expected.max())


@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_a_merge_takes_them_as_the_methods_formula_does(bench: MakeService, tmp_path: Path, method: str) -> None:
    made = bench()
    session = made.service.session
    base = session.require_base().weights
    changes = [change(made, tmp_path / str(seed), seed, thin=False)[1] for seed in (1, 3)]
    updates = []
    for each in changes:
        payload = Path(each.path).read_bytes()
        assert each.fisher_path is not None
        assert each.grams_path is not None
        diagonal = fisher.decode(Path(each.fisher_path).read_bytes(), each.form, payload, session.layout)
        matrices = grams.decode(Path(each.grams_path).read_bytes(), session.layout)
        updates.append(
            Update.of_patch(session.layout, payload, each.weight, grams=matrices, key=each.key)
            if method == "regmean"
            else Update(Update.of_patch(session.layout, payload).delta, each.weight, diagonal, key=each.key)
        )
    merged = made.ask(
        messages.MergeChanges(
            key="k", base=session.base_hash, changes=tuple(changes), method=method, parameters={"cap": 0.9}
        )
    )
    made.ask(messages.Adopt(key="k", commit=b"c" * 32))
    expected = merge_models(model_method(method, cap=0.9), base, updates)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in session.require_base().weights.items())
    assert merged.state == session.base_hash
    assert not torch.equal(expected[LAYER], merge_models(model_method("average"), base, updates)[LAYER])


def test_statistics_of_another_change_are_refused(bench: MakeService, tmp_path: Path) -> None:
    made = bench()
    first, second = (change(made, tmp_path / str(seed), seed, thin=False)[1] for seed in (1, 2))
    mixed = first.model_copy(update={"fisher_path": second.fisher_path})
    request = messages.MergeChanges(
        key="k", base=made.service.session.base_hash, changes=(mixed,), method="fisher", parameters={}
    )
    with pytest.raises(WorkerError) as refused:
        made.ask(request)
    assert refused.value.code == "bad_payload"
    Path(str(first.grams_path)).write_bytes(b"no matrices")
    with pytest.raises(WorkerError, match="safetensors"):
        made.ask(request.model_copy(update={"changes": (first,), "method": "regmean"}))
