"""The diagonal of the empirical Fisher information, estimated while training, at the price of one multiply-add a parameter.

Exact would be the mean of squared *per-sample* gradients at the final weights. This takes the gradients that training computes
anyway: of micro batches, along the last inner steps. The square of a mean of m independent gradients has 1/m of the variance
that single ones have, so the estimate is (near an optimum, where the mean gradient is small) the Fisher diagonal over m: a
factor that is the same for all parameters, and a merge divides every trainer's Fisher by its mean (Matena & Raffel 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_WINDOW = 16


class FisherEstimate:
    """A running mean of squared gradients: plain over the first `window` of them, then forgetting the oldest."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._window = window
        self._mean: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Take in the gradients of one micro batch's mean loss."""
        if not self._mean:
            self._mean = {name: torch.zeros_like(gradient) for name, gradient in gradients.items()}
        self.count += 1
        share = 1.0 / min(self.count, self._window)
        means = [self._mean[name] for name in gradients]
        values = list(gradients.values())
        torch._foreach_mul_(means, 1.0 - share)
        torch._foreach_addcmul_(means, values, values, share)

    def reset(self) -> None:
        """Start anew."""
        self._mean = {}
        self.count = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return the diagonal: non-negative float32 CPU tensors by parameter name; empty before the first `add`."""
        return {name: self._mean[name].cpu() for name in sorted(self._mean)}
