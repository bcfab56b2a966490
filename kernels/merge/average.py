"""Σ weight · clip · patch: federated averaging with error feedback (McMahan et al. 2017; Stich et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..layout import Layout
from ..seam import Backend
from .contribution import Contribution, Policy, limited_weights


def average(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> dict[str, Tensor]:
    """A contributor moves no coordinate further than its limited weight times its clipped patch. Ignores Fishers."""
    merged = layout.zeros()
    weights = limited_weights(contributions, policy)
    parts = [(each.payload, weight * each.clip) for each, weight in zip(contributions, weights, strict=True)]
    backend.accumulate(merged, parts, layout)
    return merged


def average_portions(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> Iterator[dict[str, Tensor]]:
    """Yield weight · clip · patch, contribution after contribution."""
    for each, weight in zip(contributions, limited_weights(contributions, policy), strict=True):
        portion = layout.zeros()
        backend.accumulate(portion, [(each.payload, weight * each.clip)], layout)
        yield portion
