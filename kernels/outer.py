"""Outer optimisers: the step that a merge takes on the shared weights.

The pseudo-gradient is base − local, so a step subtracts it. Functions return new tensors: the base stays what it was
until the commit is final. Every line is one IEEE float32 operation a coordinate, so all nodes get the same bits.
"""

from __future__ import annotations

import math

from torch import Tensor

from .floats import scalar
from .layout import Layout, Tensors


def sgd(weights: Tensors, update: Tensors, *, rate: float) -> dict[str, Tensor]:
    """weights − rate · update. With sparse updates every version is its base plus a chain of patches."""
    Layout.of(weights).require(update, "the update")
    factor = _factor(rate, "rate")
    return {name: weights[name] - factor * update[name] for name in sorted(weights)}


def nesterov(
    weights: Tensors, momentum: Tensors | None, update: Tensors, *, rate: float, momentum_factor: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """DiLoCo's outer step (Douillard et al. 2023); returns the new weights and the new momentum.

    m' = momentum_factor · m + update; weights' = weights − rate · (update + momentum_factor · m'). As torch's SGD with
    nesterov=True. `momentum` None stands for zeros. The momentum is part of the shared state.
    """
    layout = Layout.of(weights)
    layout.require(update, "the update")
    before: Tensors = layout.zeros() if momentum is None else momentum
    layout.require(before, "the momentum")
    factor, decay = _factor(rate, "rate"), _factor(momentum_factor, "momentum_factor")
    after = {name: decay * before[name] + update[name] for name in layout.names}
    steps = {name: update[name] + decay * after[name] for name in layout.names}
    return {name: weights[name] - factor * steps[name] for name in layout.names}, after


def _factor(value: float, what: str) -> Tensor:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{what} must be a finite number of at least 0, not {value}")
    return scalar(value)
