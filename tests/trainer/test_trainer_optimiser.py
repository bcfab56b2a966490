from __future__ import annotations

import torch

from collab.node.trainer.adamw import AdamW
from collab.node.trainer.fisher import FisherEstimate

SHAPES = {"bias": (5,), "matrix": (4, 5), "scale": ()}


def parameters(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw) for name, shape in SHAPES.items()}


def test_it_is_torchs_adamw_with_decay_on_matrices_only() -> None:
    ours, theirs = parameters(1), parameters(1)
    optimiser = AdamW(ours, (0.9, 0.95), 0.1)
    groups = [
        {"params": [theirs["matrix"]], "weight_decay": 0.1},
        {"params": [theirs["bias"], theirs["scale"]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.95), foreach=False)
    for step in range(4):
        gradients = parameters(10 + step)
        rate = 1e-2 / (step + 1)
        optimiser.step(gradients, rate)
        for group in reference.param_groups:
            group["lr"] = rate
        for name, gradient in gradients.items():
            theirs[name].grad = gradient
        reference.step()
    torch.testing.assert_close(ours, {name: tensor.detach() for name, tensor in theirs.items()})


def test_a_gradient_in_another_memory_order_is_the_same_gradient() -> None:
    one, other = parameters(1), parameters(1)
    gradients = parameters(2)
    AdamW(one, (0.9, 0.95), 0.1).step(gradients, 1e-2)
    gradients["matrix"] = gradients["matrix"].t().contiguous().t()
    AdamW(other, (0.9, 0.95), 0.1).step(gradients, 1e-2)
    assert all(torch.equal(one[name], other[name]) for name in SHAPES)


def test_what_it_saved_goes_on_as_it_would_have() -> None:
    one, other = parameters(1), parameters(1)
    first = AdamW(one, (0.9, 0.95), 0.1)
    first.step(parameters(2), 1e-2)
    second = AdamW(other, (0.9, 0.95), 0.1)
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == second.shapes()
    second.load(saved)
    for name, tensor in one.items():
        other[name].copy_(tensor)
    first.step(parameters(3), 1e-2)
    second.step(parameters(3), 1e-2)
    assert all(torch.equal(one[name], other[name]) for name in SHAPES)


def test_the_fisher_is_the_mean_of_squares_and_then_forgets() -> None:
    estimate = FisherEstimate(window=2)
    assert estimate.tensors() == {}
    for value in (1.0, 3.0):
        estimate.add({"w": torch.tensor([value])})
    assert float(estimate.tensors()["w"]) == 5.0
    estimate.add({"w": torch.tensor([1.0])})
    assert float(estimate.tensors()["w"]) == 3.0
    estimate.reset()
    assert estimate.tensors() == {}
