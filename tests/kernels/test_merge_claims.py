"""Claimed statistics: whatever they say, nobody's update counts for more than the cap, and honest ones change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.kernels.merge import Update, merge_updates, model_method

Make = Callable[..., dict[str, torch.Tensor]]

SHAPES = {"layer": (5, 7), "bias": (40,), "none": (0,), "scalar": ()}
LIES = {"fisher": ("large", "steep", "nothing"), "regmean": ("large", "steep")}
CASES = [(method, lie) for method, lies in LIES.items() for lie in lies]


def updates_of(make: Make, seed: int, count: int) -> list[Update]:
    """Updates with statistics as honest parties measure them, and weights 1, 2, …"""
    found = []
    for at in range(count):
        inputs = make(seed + 900 + at, "normal", {"x": (30, 7)})["x"]
        fisher = {name: tensor.square() for name, tensor in make(seed + 500 + at, "normal", SHAPES).items()}
        delta = make(seed + at, "normal", SHAPES)
        found.append(Update(delta, 1.0 + at, fisher, {"layer": inputs.T @ inputs / 30}, bytes([at])))
    return found


def lying(update: Update, lie: str) -> Update:
    """The same update with statistics that nobody measured."""
    assert update.fisher is not None
    factor = {"large": 1e30, "steep": 1e30, "nothing": 0.0}[lie]
    fisher = {name: tensor * factor for name, tensor in update.fisher.items()}
    gram = 1e30 * torch.eye(7)
    if lie == "steep":  # all on one coordinate, as far as a claim can go
        fisher["bias"] = torch.zeros(40)
        fisher["bias"][3] = 3e38
        direction = torch.arange(1.0, 8.0).unsqueeze(1)
        gram = 1e30 * direction @ direction.T
    return Update(update.delta, update.weight, fisher, {"layer": gram}, update.key)


@pytest.mark.parametrize(("method", "lie"), CASES)
@given(seed=st.integers(0, 1 << 20), count=st.integers(2, 5), cap=st.sampled_from((0.1, 0.3, 0.5, 0.8)))
@settings(max_examples=15)
def test_a_liar_counts_for_no_more_than_the_cap(
    make: Make, method: str, lie: str, seed: int, count: int, cap: float
) -> None:
    """Where the others left everything as it was, the result is the liar's share of its own update."""
    liar, *others = updates_of(make, seed, count)
    still = {name: torch.zeros_like(tensor) for name, tensor in liar.delta.items()}
    others = [Update(still, each.weight, each.fisher, each.grams, each.key) for each in others]
    merged = merge_updates(model_method(method, cap=cap), still, [lying(liar, lie), *others])
    limit = max(cap, liar.weight / sum(each.weight for each in (liar, *others)))
    for name, tensor in merged.items():
        assert bool((tensor.abs() <= limit * liar.delta[name].abs() * (1 + 1e-6)).all())
        assert bool((tensor * liar.delta[name] >= 0).all())


@pytest.mark.parametrize(("method", "lie"), CASES)
@given(seed=st.integers(0, 1 << 20), cap=st.sampled_from((0.4, 0.6)))
@settings(max_examples=15)
def test_the_others_keep_the_rest(make: Make, method: str, lie: str, seed: int, cap: float) -> None:
    """All the others agree: the result is between what they say and what the liar pulls it to with its limit."""
    liar, first, second = updates_of(make, seed, 3)
    second = Update(first.delta, second.weight, second.fisher, second.grams, second.key)
    merged = merge_updates(model_method(method, cap=cap), first.delta, [lying(liar, lie), first, second])
    for name, tensor in merged.items():
        pulled = cap * liar.delta[name].double() + (1 - cap) * first.delta[name].double()
        ends = torch.stack((pulled, first.delta[name].double()))
        assert bool((tensor.double() >= ends.amin(0) - 1e-5).all())
        assert bool((tensor.double() <= ends.amax(0) + 1e-5).all())


@pytest.mark.parametrize("method", LIES)
@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 4))
@settings(max_examples=15)
def test_what_is_within_the_cap_stays_to_the_bit(make: Make, method: str, seed: int, count: int) -> None:
    """Fisher and RegMean as their papers have them, wherever a share within the cap gives it; else the end of what can be."""
    cap, updates = 0.7, updates_of(make, seed, count)
    still = {name: torch.zeros_like(tensor) for name, tensor in updates[0].delta.items()}
    plain, capped = (merge_updates(model_method(method, cap=each), still, updates) for each in (1.0, cap))
    weights = torch.tensor([update.weight for update in updates]).double()
    limits = torch.clamp(weights / weights.sum(), min=cap)
    for name in plain:
        deltas = torch.stack([update.delta[name].double() for update in updates])
        # Limits of at least 0.7 each: the furthest that can be is the largest with its limit, the next with what is left.
        ends = []
        for sign in (-1, 1):
            values, order = (sign * deltas).sort(dim=0, descending=True)
            top = limits[order[0]] if len(updates) > 1 else torch.ones(())
            ends.append(sign * (top * values[0] + (1 - top) * values[min(1, len(updates) - 1)]))
        inside = (plain[name].double() > ends[0] + 1e-6) & (plain[name].double() < ends[1] - 1e-6)
        assert torch.equal(capped[name][inside], plain[name][inside])
        assert bool((capped[name].double() >= ends[0] - 1e-5).all())
        assert bool((capped[name].double() <= ends[1] + 1e-5).all())


@pytest.mark.parametrize("method", LIES)
def test_a_cap_below_every_weight_is_the_average(make: Make, method: str) -> None:
    updates = updates_of(make, 3, 4)
    still = {name: torch.zeros_like(tensor) for name, tensor in updates[0].delta.items()}
    average, capped = (merge_updates(each, still, updates) for each in (model_method("average"), model_method(method, cap=0.0)))
    for name in average:
        torch.testing.assert_close(capped[name], average[name])
    with pytest.raises(ValueError, match="cap must be between 0 and 1"):
        model_method(method, cap=1.5)
