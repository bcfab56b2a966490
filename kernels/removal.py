"""Taking contributions out of the weights again: what they added to their merge, and the step back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .entry import backend as default_backend
from .floats import scalar
from .layout import Layout, Tensors
from .merge import Contribution, merge
from .seam import Backend


def added_by(
    method: str, layout: Layout, contributions: Sequence[Contribution], kept: Sequence[bool], *, cap: float,
    damping: float = 0.0, backend: Backend | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """The merged update less the same merge of those that are `kept`, their weights unchanged; float32, the same bits everywhere.

    For `average` that is the patches of the others, by weight and clip. Where these say nothing it is 0 for every method: taking
    somebody out moves no coordinate that he did not move. Raises what `merge` raises.
    """
    whole = merge(method, layout, contributions, cap=cap, damping=damping, backend=backend)
    if not any(kept):
        return whole
    staying = [each for each, stays in zip(contributions, kept, strict=True) if stays]
    leaving = [each for each, stays in zip(contributions, kept, strict=True) if not stays]
    rest = merge(method, layout, staying, cap=cap, damping=damping, backend=backend)
    moved = touched(layout, leaving, backend)
    return {name: torch.where(moved[name], whole[name] - rest[name], 0.0) for name in layout.names}


def touched(layout: Layout, contributions: Sequence[Contribution], backend: Backend | None = None) -> dict[str, Tensor]:
    """Where any of these patches says something: a bool for every coordinate. Raises `PayloadError`."""
    found = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in layout.tensors}
    for contribution in contributions:
        for name, entries in (backend or default_backend()).entries(contribution.payload, layout).items():
            entries.put(found[name], torch.ones_like(entries.values, dtype=torch.bool))
    return found


def step_back(tensors: Tensors, added: Tensors, factor: float) -> dict[str, Tensor]:
    """tensors + factor · added, each product and sum one float32 operation."""
    by = scalar(factor)
    return {name: tensors[name] + by * added[name] for name in sorted(tensors)}
