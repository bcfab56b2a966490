"""Spherical linear interpolation (Shoemake 1985) of weights, tensor by tensor.

Between a and b at angle Ω, t = w_b / (w_a + w_b): (sin((1−t)Ω) a + sin(tΩ) b) / sin Ω, which keeps the length that an average
of different directions loses. As in mergekit, directions within `STRAIGHT` of parallel or opposite are interpolated linearly.
More than two models are folded in their order: the result so far weighs what its parts weighed.

Libraries differ in the last bit of sin and acos, so both are taken with 120 bits and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mpmath
from torch import Tensor

from ..canonical import cosine
from ..floats import scalar
from ..layout import Tensors
from .update import Update

STRAIGHT = 0.9995
"""|cos Ω| above which the arc is taken for a line."""

_BITS = 120


@dataclass(frozen=True)
class Slerp:
    """Has no parameters: t follows from the weights."""

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        first, *others = updates
        names, weight = sorted(base), first.weight
        result = {name: base[name] - first.delta[name] for name in names}
        for update in others:
            weight += update.weight
            t = update.weight / weight
            result = {name: interpolated(result[name], base[name] - update.delta[name], t) for name in names}
        return {name: base[name] - result[name] for name in names}


def interpolated(a: Tensor, b: Tensor, t: float) -> Tensor:
    """float32, of a's shape, at the share t of the way from a to b."""
    angle_cosine = cosine(a, b)
    toward_a, toward_b = (1 - t, t) if angle_cosine is None else coefficients(angle_cosine, t)
    return scalar(toward_a) * a + scalar(toward_b) * b


def coefficients(angle_cosine: float, t: float) -> tuple[float, float]:
    """sin((1−t)Ω) / sin Ω and sin(tΩ) / sin Ω."""
    if abs(angle_cosine) > STRAIGHT:
        return 1 - t, t
    exact = mpmath.MPContext()
    exact.prec = _BITS
    angle, share = exact.acos(exact.mpf(angle_cosine)), exact.mpf(t)
    return float(exact.sin((1 - share) * angle) / exact.sin(angle)), float(exact.sin(share * angle) / exact.sin(angle))
