"""What differs between two versions of the weights, as numbers a tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TensorDiff:
    """One tensor's: `changed` of its `size` coordinates differ. Sums are over float64: of squares of old, new and change, and
    of the product of old and new. `largest` is the change of the coordinate that changed most, with its sign."""

    tensor: str
    size: int
    changed: int
    largest: float
    old_squares: float
    new_squares: float
    product: float
    squares: float

    @property
    def norm(self) -> float:
        """L2 norm of the change."""
        return math.sqrt(self.squares)

    @property
    def share(self) -> float:
        """Share of the coordinates that changed."""
        return self.changed / self.size if self.size else 0.0

    @property
    def cosine(self) -> float | None:
        """Cosine between old and new; None if one of them is all zeros."""
        length = math.sqrt(self.old_squares) * math.sqrt(self.new_squares)
        return max(-1.0, min(1.0, self.product / length)) if length else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "tensor": self.tensor, "size": self.size, "changed": self.changed, "share": self.share, "norm": self.norm,
            "cosine": self.cosine, "largest": self.largest,
        }  # fmt: skip


def combined(parts: Iterable[TensorDiff], name: str = "total") -> TensorDiff:
    """Return several as if they were one tensor."""
    listed = list(parts)
    return TensorDiff(
        name, sum(part.size for part in listed), sum(part.changed for part in listed),
        max((part.largest for part in listed), key=abs, default=0.0),
        math.fsum(part.old_squares for part in listed), math.fsum(part.new_squares for part in listed),
        math.fsum(part.product for part in listed), math.fsum(part.squares for part in listed),
    )  # fmt: skip
