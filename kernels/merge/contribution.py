"""What a merge takes from each contributor, and how much say it may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..layout import Buffer

WEIGHT_SLACK = 1e-6
"""Shares are fractions rounded to float, so their sum may exceed 1 by as much as rounding does."""


NEGLIGIBLE = 1e-12
"""A smaller weight counts as none, so that products of weights stay clear of denormals."""


@dataclass(frozen=True)
class Contribution:
    """A contributor's patch and its say. Raises `ValueError` on numbers out of range.

    `weight` is its share of the round (0 to 1), `clip` the factor (0 to 1) that brings the patch to the largest norm
    allowed, `fisher` a payload of `compress_on_support` for this patch.
    """

    payload: Buffer
    weight: float
    clip: float = 1.0
    fisher: Buffer | None = None

    def __post_init__(self) -> None:
        for what, value in (("weight", self.weight), ("clip", self.clip)):
            if not (math.isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"a contribution's {what} must be between 0 and 1, not {value}")


@dataclass(frozen=True)
class Policy:
    """`cap`: the largest share of any coordinate (0 < cap ≤ 1) unless fewer than 1/cap contribute; `damping` ≥ 0."""

    cap: float
    damping: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cap) and 0 < self.cap <= 1):
            raise ValueError(f"cap must be above 0 and at most 1, not {self.cap}")
        if not (math.isfinite(self.damping) and 0 <= self.damping <= 1e6):
            raise ValueError(f"damping must be between 0 and a million, not {self.damping}")

    def limit(self, contributors: int) -> float:
        """The largest share one of so many contributors may have of a coordinate."""
        return max(self.cap, 1 / contributors)


def limited_weights(contributions: Sequence[Contribution], policy: Policy) -> list[float]:
    """Their weights, none above the limit, negligible ones zero. `ValueError` if the weights given add up to more than 1."""
    if math.fsum(contribution.weight for contribution in contributions) > 1 + WEIGHT_SLACK:
        raise ValueError("the contributions' weights add up to more than 1")
    limit = policy.limit(len(contributions))
    return [min(each.weight, limit) if each.weight >= NEGLIGIBLE else 0.0 for each in contributions]
