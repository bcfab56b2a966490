"""TIES (Yadav et al. 2023): trim, elect a sign, average those who agree with it.

1. Trim: of each update's tensors the `density` largest magnitudes stay, the rest becomes zero. As mergekit does, tensor by
   tensor; the paper's code ranks the model as a whole. Of equal magnitudes the first in the tensor stay.
2. Elect: a coordinate's sign is that of Σ wᵢδᵢ. Where it is zero nobody is elected, and the coordinate stays as in the base.
3. Disjoint mean: Σ wᵢδᵢ / Σ wᵢ over those with the elected sign. Times `scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..floats import magnitude_keys, scalar
from ..layout import Tensors
from .update import Update, combine, require_number, shares


@dataclass(frozen=True)
class Ties:
    """`density`: the share of each tensor that is kept (0 to 1). `scale` multiplies the result (the paper's λ)."""

    density: float = 0.2
    scale: float = 1.0

    def __post_init__(self) -> None:
        require_number("density", self.density, 0, 1)
        require_number("scale", self.scale, -10, 10)

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        weights = shares(updates)
        trimmed = [{name: trim(tensor, self.density) for name, tensor in update.delta.items()} for update in updates]
        elected = {name: tensor.sign() for name, tensor in combine(trimmed, weights).items()}
        return {name: scalar(self.scale) * _disjoint_mean(name, trimmed, weights, sign) for name, sign in elected.items()}


def trim(tensor: Tensor, density: float) -> Tensor:
    """The tensor with all but its `density` largest magnitudes zero; at least one stays, unless density is 0."""
    count = tensor.numel()
    kept = min(count, max(1, int(density * count))) if density > 0 else 0
    if kept == count:
        return tensor
    if kept == 0:
        return torch.zeros_like(tensor)
    keys = magnitude_keys(tensor.contiguous().view(-1))
    threshold = keys.kthvalue(count - kept + 1).values
    above, ties = keys > threshold, keys == threshold
    ties &= ties.cumsum(0) <= kept - int(above.sum())
    return torch.where((above | ties).view(tensor.shape), tensor, 0.0)


def _disjoint_mean(name: str, deltas: Sequence[Tensors], weights: Sequence[float], elected: Tensor) -> Tensor:
    above, below = torch.zeros_like(elected), torch.zeros_like(elected)
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = (delta[name].sign() == elected) & (elected != 0)
        above = above + torch.where(agrees, scalar(weight) * delta[name], 0.0)
        below = below + torch.where(agrees, scalar(weight), 0.0)
    return above / torch.where(below > 0, below, 1.0)
