"""Muon: what it takes for a hidden matrix, and that it is torch's."""

from __future__ import annotations

import torch
from torch import nn

from collab.node.trainer.adamw import AdamW
from collab.node.trainer.models.gpt import Gpt
from collab.node.trainer.muon import Muon, hidden_matrices, orthogonal


def gpt() -> Gpt:
    model = Gpt(vocabulary=11, layers=2, width=16, heads=2, block=8)
    model.initialise(1)
    return model


def gradients_of(model: Gpt, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=draw) for name, p in model.weights().items()}


def test_tables_and_heads_are_no_hidden_matrices() -> None:
    hidden = hidden_matrices(gpt())
    assert "embedding.weight" not in hidden
    assert sorted(hidden) == sorted(name for name, p in gpt().weights().items() if p.ndim == 2 and name != "embedding.weight")
    model = gpt()
    model.head = nn.Linear(16, 11)
    assert hidden_matrices(model).keys() == hidden.keys()


def test_singular_values_become_alike() -> None:
    draw = torch.Generator().manual_seed(3)
    for shape in ((16, 16), (8, 24), (24, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape, generator=draw)))
        assert values.min() > 0.3
        assert values.max() < 1.3
    assert torch.equal(orthogonal(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_it_is_torchs_muon_on_matrices_and_adamw_on_the_rest() -> None:
    ours, theirs, plain = gpt(), gpt(), gpt()
    muon, adamw = Muon(ours, (0.9, 0.95), 0.1), AdamW(plain.weights(), (0.9, 0.95), 0.1)
    # Torch takes queries, keys and values as one.
    alone = [name for name, p in hidden_matrices(theirs).items() if p.shape[0] != 3 * p.shape[1]]
    reference = torch.optim.Muon(
        [theirs.weights()[name] for name in alone], weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(3):
        gradients, rate = gradients_of(ours, step), 1e-2 / (step + 1)
        muon.step(gradients, rate)
        adamw.step(gradients, rate)
        reference.param_groups[0]["lr"] = rate
        for name in alone:
            theirs.weights()[name].grad = gradients[name]
        reference.step()  # type: ignore[no-untyped-call]
    for name in alone:  # torch iterates in bfloat16
        torch.testing.assert_close(ours.weights()[name], theirs.weights()[name], rtol=0.02, atol=1e-3)
    for name, p in ours.weights().items():
        assert torch.equal(p, plain.weights()[name]) == (name not in hidden_matrices(ours))


def test_queries_keys_and_values_are_taken_one_by_one() -> None:
    together, alone = gpt(), gpt()
    gradients = gradients_of(together, 5)
    name = "layers.0.attention_in.weight"
    Muon(together, (0.9, 0.95), 0.0).step(gradients, 1e-2)
    gradients[name][:32] = 0
    Muon(alone, (0.9, 0.95), 0.0).step(gradients, 1e-2)
    torch.testing.assert_close(together.weights()[name][32:], alone.weights()[name][32:])


def test_what_it_saved_goes_on_as_it_would_have() -> None:
    one, other = gpt(), gpt()
    first, second = Muon(one, (0.9, 0.95), 0.1), Muon(other, (0.9, 0.95), 0.1)
    first.step(gradients_of(one, 1), 1e-2)
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == second.shapes()
    second.load(saved)
    other.load_state_dict(one.state_dict())
    first.step(gradients_of(one, 2), 1e-2)
    second.step(gradients_of(one, 2), 1e-2)
    assert all(torch.equal(p, other.weights()[name]) for name, p in one.weights().items())


def test_after_a_reset_it_steps_as_a_new_one() -> None:
    one, other = gpt(), gpt()
    first = Muon(one, (0.9, 0.95), 0.1)
    first.step(gradients_of(one, 1), 1e-2)
    first.reset()
    other.load_state_dict(one.state_dict())
    first.step(gradients_of(one, 2), 1e-2)
    Muon(other, (0.9, 0.95), 0.1).step(gradients_of(one, 2), 1e-2)
    assert all(torch.equal(p, other.weights()[name]) for name, p in one.weights().items())
