"""Averaging: Σ weight · patch, federated averaging (McMahan et al. 2017) with error feedback (Stich et al. 2018).

Of whole models it is a model soup (Wortsman et al. 2022): Σ wᵢθᵢ / Σ wᵢ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..layout import Layout, Tensors
from ..seam import Backend
from .contribution import Contribution, Policy, limited_weights
from .update import Update, combine, shares


def average(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> dict[str, Tensor]:
    """A contributor moves no coordinate further than its limited weight times its clipped patch. Ignores Fishers."""
    merged = layout.zeros()
    weights = limited_weights(contributions, policy)
    parts = [(each.payload, weight * each.clip) for each, weight in zip(contributions, weights, strict=True)]
    backend.accumulate(merged, parts, layout)
    return merged


@dataclass(frozen=True)
class Average:
    """Of models. Has no parameters."""

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        return combine([update.delta for update in updates], shares(updates))
