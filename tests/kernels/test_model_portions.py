"""A merge of models taken apart: the parts add up to it, and go to those who moved it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.kernels import Layout
from collab.kernels.merge import MODEL_METHODS, Update, merge_updates, model_method
from collab.kernels.merge.model_portions import can_be_divided, model_portions

Make = Callable[..., dict[str, torch.Tensor]]

SHAPES = {"layer": (5, 7), "bias": (40,), "none": (0,), "scalar": ()}
DIVIDED = [method for method in MODEL_METHODS if can_be_divided(method)]


def updates_of(make: Make, seed: int, count: int) -> list[Update]:
    found = []
    for at in range(count):
        inputs = make(seed + 900 + at, "normal", {"x": (30, 7)})["x"]
        fisher = {name: tensor.square() for name, tensor in make(seed + 500 + at, "normal", SHAPES).items()}
        found.append(Update(make(seed + at, "normal", SHAPES), 1.0 + at, fisher, {"layer": inputs.T @ inputs / 30}, bytes([at])))
    return found


def test_all_methods_but_slerp_can_be_taken_apart() -> None:
    assert set(MODEL_METHODS) - set(DIVIDED) == {"slerp"}


@pytest.mark.parametrize("method", DIVIDED)
@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 4))
@settings(max_examples=8)
def test_the_parts_add_up_to_the_merge(make: Make, method: str, seed: int, count: int) -> None:
    updates = updates_of(make, seed, count)
    layout = Layout.of(updates[0].delta)
    merged = merge_updates(model_method(method), layout.zeros(), updates)
    parts = model_portions(method, {}, layout, updates)
    assert len(parts) == count
    for name, tensor in merged.items():
        torch.testing.assert_close(sum(part[name] for part in parts), tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", DIVIDED)
def test_who_changed_nothing_has_no_part(make: Make, method: str) -> None:
    """RegMean alone may answer where nobody pushed that way; what is left then goes by weight."""
    mover, other = updates_of(make, 3, 2)
    still = Update({name: torch.zeros_like(tensor) for name, tensor in other.delta.items()}, 2.0, other.fisher, other.grams)
    layout = Layout.of(mover.delta)
    _, part = model_portions(method, {}, layout, [mover, still])
    left = {name: tensor for name, tensor in part.items() if not (method == "regmean" and name == "layer")}
    assert not any(bool(tensor.any()) for tensor in left.values())


def test_opposed_updates_each_have_their_own_term_of_an_average() -> None:
    updates = [Update({"w": torch.tensor([2.0, 1.0])}, 3.0), Update({"w": torch.tensor([-1.0, 1.0])}, 1.0)]
    first, second = model_portions("average", {}, Layout.of(updates[0].delta), updates)
    assert first["w"].tolist() == [1.5, 0.75]
    assert second["w"].tolist() == [-0.25, 0.25]
