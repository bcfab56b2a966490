"""Who moved what in a merge of models: its update taken apart into what each party put into it.

`average` and `task_arithmetic` are sums, and their terms are the parts. The other methods select, weigh by statistics or draw:
there what the merge did at a coordinate is divided among those who moved it that way, in proportion to weight · |δ|, and by
weight where nobody did. Either way the parts add up to the merge, but for float32 rounding. `slerp` depends on the base, which is
not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..floats import scalar
from ..layout import Layout, Tensors
from .models import merge_updates, model_method
from .task_arithmetic import TaskArithmetic
from .update import Update, shares

_WHOLE = ("slerp",)


def can_be_divided(method: str) -> bool:
    """Whether `model_portions` takes a merge by this method apart."""
    return method not in _WHOLE


def model_portions(
    method: str, parameters: Mapping[str, float], layout: Layout, updates: Sequence[Update]
) -> list[dict[str, Tensor]]:
    """Each update's part of the merged one, float32, in the order given. Raises what `merge_updates` raises."""
    chosen = model_method(method, **parameters)
    weights = shares(updates)
    if method == "average":
        return [_scaled(update.delta, weight) for update, weight in zip(updates, weights, strict=True)]
    if isinstance(chosen, TaskArithmetic):
        whole = chosen.scale * len(updates)
        return [_scaled(update.delta, whole * weight) for update, weight in zip(updates, weights, strict=True)]
    merged = merge_updates(chosen, layout.zeros(), updates)
    divided = {name: _divided(merged[name], [update.delta[name] for update in updates], weights) for name in layout.names}
    return [{name: divided[name][at] for name in layout.names} for at in range(len(updates))]


def _scaled(delta: Tensors, factor: float) -> dict[str, Tensor]:
    return {name: scalar(factor) * tensor for name, tensor in delta.items()}


def _divided(merged: Tensor, deltas: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """(updates, …) whose sum is `merged`."""
    pushes = torch.stack([weight * delta.double() for delta, weight in zip(deltas, weights, strict=True)])
    agreeing = (pushes * merged.sign()).clamp(min=0)
    whole = agreeing.sum(dim=0)
    plain = torch.tensor(weights, dtype=torch.float64).view(-1, *[1] * merged.dim()).expand_as(pushes)
    part = torch.where(whole > 0, agreeing / torch.where(whole > 0, whole, 1.0), plain)
    return (part * merged.double()).float()
