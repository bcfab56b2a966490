"""Values as a sign and one of a few evenly spaced levels between `lo` and `hi`, fitted to their chunk in integer arithmetic.

Magnitudes are brought to the chunk's largest exponent as 24-bit integers (what falls below is cut off). Two steps alternate
between taking the nearest level and the line through levels and magnitudes with the least squared error (Lloyd 1982,
with the levels held to a line). Sums of integers do not depend on their order, so every machine finds the same levels.
Three bytes hold a chunk's scale: `hi` as bf16, `lo` in 256ths of it; then every level is exact in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .floats import bf16_from_keys, float_from_bf16, magnitude_keys
from .form import Form

FIT_STEPS = 2
LEAST_HI = 0x0500
"""bf16 bits of 2^-117: levels and the edges between them stay normal numbers, in case denormals are flushed."""

_LARGEST = (1 << 24) - 1


def fit(values: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """hi (bf16 bits) and lo (256ths of hi) of finite float32 (rows, kept): int64 (rows, 1) each."""
    magnitudes, exponent = _align(values)
    lo, hi = _first_guess(magnitudes, form)
    if form.levels > 1 and not form.dense:
        for _ in range(FIT_STEPS):
            lo, hi = _least_squares(magnitudes, _nearest(magnitudes, lo, hi, form.levels), lo, hi, form.levels)
    share = ((512 * lo + hi) // (2 * hi).clamp(min=1)).clamp(max=255)
    bits = _to_bf16(hi, exponent)
    return bits, torch.where(bits > 0, share, 0)


def encode(values: Tensor, hi: Tensor, lo: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """The number of each value's level, and whether it is negative (and its level not zero): int64, bool (rows, kept)."""
    numerators = _numerators(lo, levels)
    edges = float_from_bf16(hi) * ((numerators[:, :-1] + numerators[:, 1:]).float() / 512)
    codes = torch.searchsorted(edges, values.abs())
    codes = torch.where(hi > 0, codes, 0)
    return codes, (values < 0) & (hi > 0) & (numerators.gather(1, codes) > 0)


def decode(hi: Tensor, lo: Tensor, levels: int, codes: Tensor, negative: Tensor) -> Tensor:
    """float32 (rows, kept)."""
    magnitude = float_from_bf16(hi) * (_numerators(lo, levels).gather(1, codes).float() / 256)
    return torch.where(negative, -magnitude, magnitude)


def level_is_zero(hi: Tensor, lo: Tensor, levels: int, codes: Tensor) -> Tensor:
    """Whether each code's level is zero, (rows, kept)."""
    return (hi == 0) | (_numerators(lo, levels).gather(1, codes) == 0)


def _numerators(lo: Tensor, levels: int) -> Tensor:
    """Each level in 256ths of hi, ascending to 256, (rows, levels) int64."""
    if levels == 1:
        return torch.full_like(lo, 256)
    steps = levels - 1
    return lo + (2 * (256 - lo) * torch.arange(levels) + steps) // (2 * steps)


def _align(values: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes as integers below 2^24 in units of 2^(exponent-150), and that biased exponent, (rows, 1)."""
    keys = magnitude_keys(values)
    exponents = (keys >> 23).clamp(min=1)
    mantissas = (keys & 0x7FFFFF) | ((keys >= 0x800000).to(torch.int32) << 23)
    top = exponents.amax(dim=1, keepdim=True)
    return (mantissas >> (top - exponents).clamp(max=24)).to(torch.int64), top


def _first_guess(magnitudes: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    largest = magnitudes.amax(dim=1, keepdim=True)
    if form.dense:
        return torch.zeros_like(largest), largest
    mean = magnitudes.sum(dim=1, keepdim=True) // form.kept
    if form.levels == 1:
        return torch.zeros_like(mean), mean
    least = magnitudes.amin(dim=1, keepdim=True)
    return least, torch.minimum(largest, least + 3 * (mean - least)) if form.levels == 2 else largest


def _nearest(magnitudes: Tensor, lo: Tensor, hi: Tensor, levels: int) -> Tensor:
    steps = 2 * (levels - 1)
    return torch.searchsorted(lo + (hi - lo) * torch.arange(1, steps, 2) // steps, magnitudes)


def _least_squares(magnitudes: Tensor, codes: Tensor, lo: Tensor, hi: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    kept = magnitudes.shape[1]
    c, cc, m, cm = (part.sum(dim=1, keepdim=True) for part in (codes, codes * codes, magnitudes, codes * magnitudes))
    determinant = kept * cc - c * c
    divisor = determinant.clamp(min=1)
    bottom = m * cc - c * cm
    top = bottom + (levels - 1) * (kept * cm - c * m)
    solvable = determinant > 0
    return (
        torch.where(solvable, (bottom // divisor).clamp(min=0), lo),
        torch.where(solvable, (top // divisor).clamp(max=_LARGEST), hi),
    )


def _to_bf16(numbers: Tensor, exponent: Tensor) -> Tensor:
    # An integer below 2^24 is exact in float32; moving its exponent field multiplies it by a power of two, exactly.
    keys = numbers.to(torch.float32).view(torch.int32) + ((exponent - 150) << 23)
    bits = torch.where(numbers > 0, bf16_from_keys(keys), 0)
    return torch.where(bits < LEAST_HI, 0, bits).to(torch.int64)
