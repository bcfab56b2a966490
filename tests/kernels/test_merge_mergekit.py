"""Where mergekit has a method, ours gives what it gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mergekit.merge_methods import merge_state_dicts

from collab.kernels.merge import Update, merge_models, model_method

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

SHAPES = {"a": (400,), "b": (17, 26)}


def models(make: Make, count: int) -> tuple[Tensors, list[Tensors]]:
    base = make(0, "heavy", SHAPES)
    changes = [make(1 + at, "heavy", SHAPES) for at in range(count)]
    return base, [{name: base[name] + change[name] for name in base} for change in changes]


def agree(ours: Tensors, theirs: Tensors) -> None:
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.2, 3.0, 0.7]])
def test_average_is_linear(make: Make, weights: list[float]) -> None:
    base, others = models(make, 3)
    theirs = merge_state_dicts(others, "linear", parameters={"weight": weights})
    updates = [Update.of_model(base, *each) for each in zip(others, weights, strict=True)]
    agree(merge_models(model_method("average"), base, updates), theirs)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("apart", ["far", "near"])
def test_slerp(make: Make, t: float, apart: str) -> None:
    """Near: within the angle that both take for a line."""
    _, (first, second) = models(make, 2)
    if apart == "near":
        second = {name: first[name] + 1e-3 * second[name] for name in first}
    theirs = merge_state_dicts([first, second], "slerp", parameters={"t": t}, base=0)
    zero = {name: torch.zeros_like(tensor) for name, tensor in first.items()}
    updates = [Update.of_model(zero, first, 1 - t), Update.of_model(zero, second, t)]
    agree(merge_models(model_method("slerp"), zero, updates), theirs)


@pytest.mark.parametrize("scale", [0.4, 1.0])
def test_task_arithmetic(make: Make, scale: float) -> None:
    base, others = models(make, 3)
    weights = [0.5, 1.0, 1.5]  # of mean 1, as ours are made
    theirs = merge_state_dicts([base, *others], "task_arithmetic", parameters={"weight": weights, "lambda": scale}, base=0)
    updates = [Update.of_model(base, *each) for each in zip(others, weights, strict=True)]
    agree(merge_models(model_method("task_arithmetic", scale=scale), base, updates), theirs)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.2, 3.0, 0.7]])
def test_ties(make: Make, density: float, weights: list[float]) -> None:
    base, others = models(make, 3)
    theirs = merge_state_dicts([base, *others], "ties", parameters={"weight": weights, "density": density}, base=0)
    updates = [Update.of_model(base, *each) for each in zip(others, weights, strict=True)]
    agree(merge_models(model_method("ties", density=density), base, updates), theirs)
