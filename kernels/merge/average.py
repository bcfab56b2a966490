"""Σ weight · clip · patch: federated averaging with error feedback (McMahan et al. 2017; Stich et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..layout import Layout
from ..seam import Backend
from .contribution import Contribution, Policy, limited_weights


def average(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> dict[str, Tensor]:
    """A contributor moves no coordinate further than its limited weight times its clipped patch. Ignores Fishers."""
    merged = layout.zeros()
    for contribution, weight in zip(contributions, limited_weights(contributions, policy), strict=True):
        backend.accumulate(merged, contribution.payload, weight * contribution.clip, layout)
    return merged
