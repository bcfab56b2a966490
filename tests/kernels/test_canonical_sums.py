"""Sums with a defined order, and the outer optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import canonical
from collab.kernels.outer import nesterov, sgd

Make = Callable[..., dict[str, torch.Tensor]]


def halving(values: list[float]) -> float:
    while len(values) > 1:
        half = (len(values) + 1) // 2
        values = [a + b for a, b in zip(values[:half], [*values[half:], 0.0], strict=False)]
    return values[0] if values else 0.0


@given(st.lists(st.floats(-1e6, 1e6), max_size=70))
@settings(deadline=None, derandomize=True)
def test_pairwise_sum_is_repeated_halving(values: list[float]) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    assert canonical.pairwise_sum(tensor) == halving(values)
    assert tensor.tolist() == values, "the argument was changed"


def test_blocks_are_part_of_the_definition(make: Make) -> None:
    values = make(1, "heavy", {"w": (canonical.BLOCK + 1000,)})["w"]
    parts = [canonical.pairwise_sum(part.double()) for part in (values[: canonical.BLOCK], values[canonical.BLOCK :])]
    assert canonical.total(values) == parts[0] + parts[1]
    assert canonical.total(values) == pytest.approx(math.fsum(values.tolist()), abs=1e-6)


def test_norm_is_the_norm_in_any_order_of_names_and_threads(make: Make) -> None:
    tensors = make(2, "heavy")
    expected = math.sqrt(math.fsum(x * x for tensor in tensors.values() for x in tensor.reshape(-1).tolist()))
    backwards = dict(reversed(tensors.items()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert kernels.norm(backwards) == kernels.norm(tensors) == pytest.approx(expected, rel=1e-12)
    finally:
        torch.set_num_threads(before)
    assert kernels.norm({}) == 0


def test_sgd_subtracts_and_changes_nothing(make: Make) -> None:
    weights, update = make(1), make(2)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    after = sgd(weights, update, rate=1.7)
    for name in weights:
        assert torch.equal(weights[name], before[name])
        assert torch.equal(after[name], weights[name] - torch.tensor(1.7) * update[name])


def test_nesterov_is_torchs(make: Make) -> None:
    weights, momentum = make(1), None
    theirs = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    optimiser = torch.optim.SGD(theirs.values(), lr=0.7, momentum=0.9, nesterov=True)
    for step in range(3):
        update = make(10 + step)
        weights, momentum = nesterov(weights, momentum, update, rate=0.7, momentum_factor=0.9)
        for name, tensor in theirs.items():
            tensor.grad = update[name].clone()
        optimiser.step()
    for name in weights:
        torch.testing.assert_close(weights[name], theirs[name].detach(), rtol=1e-5, atol=1e-7)


def test_outer_steps_refuse_other_layouts_and_numbers(make: Make) -> None:
    weights = make(1)
    with pytest.raises(ValueError, match="update"):
        sgd(weights, {"w": torch.zeros(1)}, rate=1.0)
    with pytest.raises(ValueError, match="rate"):
        sgd(weights, weights, rate=float("nan"))
    with pytest.raises(ValueError, match="momentum_factor"):
        nesterov(weights, None, weights, rate=1.0, momentum_factor=-1.0)
