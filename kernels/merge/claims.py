"""What claimed statistics may do at most: they raise nobody's share of a coordinate above max(cap, its weight).

Whoever measures says what it measured, and may lie. What shares within these limits can give at a coordinate is an interval,

    { Σ sᵢδᵢ : 0 ≤ sᵢ ≤ max(cap, wᵢ), Σ sᵢ = 1 }

in which the plain average (sᵢ = wᵢ) lies. A result outside of it moves towards the average until it is in; one inside stays to
the bit. So a liar's update counts for at most its limit, whatever it claims, and the others keep the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .update import Update, shares

_BLOCK = 1 << 20
"""Coordinates looked at at once: bounds the float64 copies of all updates. No result depends on it."""


def within_cap(merged: Mapping[str, Tensor], updates: Sequence[Update], cap: float) -> dict[str, Tensor]:
    """`merged`, float32, kept within the interval. With a cap of 1 anything goes: RegMean's own result may leave the hull."""
    if cap >= 1:
        return dict(merged)
    limits = torch.tensor([max(cap, weight) for weight in shares(updates)], dtype=torch.float64)
    return {name: _bounded(tensor, [update.delta[name] for update in updates], limits) for name, tensor in merged.items()}


def _bounded(result: Tensor, deltas: Sequence[Tensor], limits: Tensor) -> Tensor:
    blocks = zip(
        torch.split(result.reshape(-1), _BLOCK), *(torch.split(delta.reshape(-1), _BLOCK) for delta in deltas), strict=True
    )
    bounded = [_block(block, torch.stack(parts).double(), limits) for block, *parts in blocks]
    return torch.cat(bounded).reshape(result.shape)


def _block(result: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """(n,) from (n,), (updates, n) and (updates,)."""
    least, most = (_furthest(deltas, limits, descending=up).float() for up in (False, True))
    return torch.where(result < least, least, torch.where(result > most, most, result))


def _furthest(deltas: Tensor, limits: Tensor, *, descending: bool) -> Tensor:
    """The end of the interval: the largest (or smallest) updates get all they may, until the whole is given away."""
    values, order = deltas.sort(dim=0, descending=descending, stable=True)
    left = torch.ones_like(values[0])
    reached = torch.zeros_like(values[0])
    for value, whose in zip(values, order, strict=True):
        share = torch.minimum(limits[whose], left)
        reached = reached + share * value
        left = left - share
    return reached
