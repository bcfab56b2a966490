"""Task arithmetic (Ilharco et al. 2023): the sum of what each model learned, scaled.

θ = base − scale · Σ vᵢδᵢ with vᵢ = wᵢ / mean w, so that equal weights give the paper's plain sum whatever their unit. Without
data to tune it on, the paper finds a scale of 0.3 to 0.5 a good choice. With scale 1/n this is the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..layout import Tensors
from .update import Update, combine, require_number, shares


@dataclass(frozen=True)
class TaskArithmetic:
    """`scale` multiplies the sum; a negative one unlearns."""

    scale: float = 0.4

    def __post_init__(self) -> None:
        require_number("scale", self.scale, -10, 10)

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        factors = [self.scale * len(updates) * share for share in shares(updates)]
        return combine([update.delta for update in updates], factors)
