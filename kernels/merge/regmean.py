"""RegMean (Jin et al. 2023): the weights whose outputs are nearest to every model's own outputs.

For a linear layer y = Wx of model i with Gᵢ = mean of xxᵀ over its wᵢ samples, Σᵢ wᵢ E‖Wx − Wᵢx‖² is least at

    W = (Σ wᵢWᵢGᵢ) (Σ wᵢGᵢ)⁻¹

As in the paper, Gᵢ's values off the diagonal are multiplied by `alpha`, and tensors that come without Gram matrices are averaged.
λ = `damping` · mean of the diagonals is added to every Gᵢ's diagonal: directions no input has then go to the average
instead of having no answer. A `cap` below 1 bounds what claimed matrices can do (`claims.within_cap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..canonical import pairwise_sum
from ..errors import MissingStatisticsError
from ..layout import Tensors
from ..solve import product, solve
from .average import Average
from .claims import within_cap
from .update import Update, require_number, shares


@dataclass(frozen=True)
class RegMean:
    """`alpha`: 0 (inputs taken for uncorrelated) to 1. `damping`: at least 0; 0 needs inputs in every direction."""

    alpha: float = 0.9
    damping: float = 1e-3
    cap: float = 1.0

    def __post_init__(self) -> None:
        require_number("alpha", self.alpha, 0, 1)
        require_number("damping", self.damping, 0, 1e6)
        require_number("cap", self.cap, 0, 1)

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        """The cost is some d²(d + outputs) elementwise operations for a layer of d inputs."""
        told = set.intersection(*(set(update.grams or {}) for update in updates))
        if not told:
            raise MissingStatisticsError("regmean needs Gram matrices of every model")
        merged = Average().merge(base, updates)
        for name in sorted(told):
            merged[name] = self._layer([update.delta[name] for update in updates], self._grams(name, updates))
        return within_cap(merged, updates, self.cap)

    def _grams(self, name: str, updates: Sequence[Update]) -> list[Tensor]:
        """wᵢ(alpha-scaled Gᵢ + λI), float64."""
        weights = shares(updates)
        grams = [update.grams[name].double() * weight for update, weight in zip(updates, weights, strict=True) if update.grams]
        inside = torch.eye(grams[0].shape[0], dtype=torch.float64)
        size = max(1, inside.shape[0])
        mean = sum(pairwise_sum(gram.diagonal().contiguous()) for gram in grams) / size
        scaled = [gram * (self.alpha + (1 - self.alpha) * inside) for gram in grams]
        return [gram + inside * (weight * self.damping * mean) for gram, weight in zip(scaled, weights, strict=True)]

    def _layer(self, deltas: Sequence[Tensor], grams: Sequence[Tensor]) -> Tensor:
        """(out, in) from (out, in) and (in, in) of each. Symmetric grams: the transposed equation is solved."""
        left = torch.zeros_like(grams[0])
        right = torch.zeros(deltas[0].shape[::-1], dtype=torch.float64)
        for delta, gram in zip(deltas, grams, strict=True):
            left, right = left + gram, right + product(gram, delta.double().T)
        return solve(left, right).T.contiguous().float()
