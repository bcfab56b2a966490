"""Taking contributions out of the weights again: what they added to their merge, and the step back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .entry import backend as default_backend
from .floats import scalar
from .layout import Layout, Tensors
from .merge import Contribution, merge
from .merge.portions import portions
from .seam import Backend


def added_by(
    method: str, layout: Layout, contributions: Sequence[Contribution], kept: Sequence[bool], *, cap: float,
    damping: float = 0.0, backend: Backend | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """What the contributions that are not `kept` put into their merge; float32, the same bits everywhere.

    For `average` that is their patches, by weight and clip. It is 0 where these say nothing: taking somebody out moves no
    coordinate that he did not move. Raises what `merge` raises.
    """
    if not any(kept):
        return merge(method, layout, contributions, cap=cap, damping=damping, backend=backend)
    added: dict[str, Tensor] = layout.zeros()
    terms = portions(method, layout, contributions, cap=cap, damping=damping, backend=backend)
    for portion, stays in zip(terms, kept, strict=True):
        if not stays:
            added = {name: added[name] + portion[name] for name in layout.names}
    return added


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
