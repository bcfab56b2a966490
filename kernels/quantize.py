"""Values as a sign and one of a few levels fitted to their chunk, in integer arithmetic.

Magnitudes are brought to the chunk's largest exponent as 24-bit integers (what falls below is cut off), split at their
mean, each part at its own mean and so on until there are 2^(bits-1) cells, then improved by four steps of Lloyd's
algorithm (Lloyd 1982). Means are ⌊sum / count⌋ of integers, so their order does not matter and every machine finds the
same levels. Levels are stored as bf16.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .floats import bf16_from_keys, magnitude_keys

LLOYD_STEPS = 4


def level_count(value_bits: int) -> int:
    """One bit is the sign; the others choose a level."""
    return 1 << (value_bits - 1)


def fit(values: Tensor, value_bits: int) -> tuple[Tensor, Tensor]:
    """Levels and codes of finite float32 (rows, n).

    Returns bf16 bits (rows, levels) int32, ascending, and for each value the number of its level, (rows, n) int64.
    A level no value uses repeats or lies between its neighbours. Magnitudes below the normal range of bf16 become 0.
    """
    magnitudes, exponent = _align(values)
    codes = torch.zeros_like(magnitudes)
    means = _cell_means(magnitudes, codes, torch.zeros((len(values), 1), dtype=torch.int64))
    for _ in range(value_bits - 1):
        codes = 2 * codes + (magnitudes > means.gather(1, codes)).to(torch.int64)
        means = _cell_means(magnitudes, codes, means.repeat_interleave(2, dim=1))
    for _ in range(LLOYD_STEPS if value_bits > 1 else 0):
        boundaries = (means[:, :-1] + means[:, 1:]) >> 1
        codes = (magnitudes.unsqueeze(-1) > boundaries.unsqueeze(1)).sum(dim=-1)
        means = _cell_means(magnitudes, codes, means)
    return _to_bf16(means, exponent), codes


def values_of(levels: Tensor, codes: Tensor, signs: Tensor) -> Tensor:
    """float32 (rows, n) from bf16 bits (rows, levels) and, per value, a code and a sign (1: negative)."""
    magnitude = levels.to(torch.int64).gather(1, codes) << 16
    return (magnitude - (signs.to(torch.int64) << 31)).to(torch.int32).view(torch.float32)


def _align(values: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes as integers below 2^24 in units of 2^(exponent-150), and that biased exponent, (rows, 1)."""
    keys = magnitude_keys(values)
    exponents = (keys >> 23).clamp(min=1)
    mantissas = (keys & 0x7FFFFF) | ((keys >= 0x800000).to(torch.int32) << 23)
    top = exponents.amax(dim=1, keepdim=True)
    return (mantissas >> (top - exponents).clamp(max=24)).to(torch.int64), top


def _cell_means(magnitudes: Tensor, codes: Tensor, fallback: Tensor) -> Tensor:
    """⌊mean⌋ of each cell; an empty cell takes its fallback. (rows, cells) int64."""
    counts = torch.zeros_like(fallback).scatter_add_(1, codes, torch.ones_like(codes))
    sums = torch.zeros_like(fallback).scatter_add_(1, codes, magnitudes)
    return torch.where(counts > 0, sums // counts.clamp(min=1), fallback)


def _to_bf16(levels: Tensor, exponent: Tensor) -> Tensor:
    # An integer below 2^24 is exact in float32; moving its exponent field multiplies it by a power of two, exactly.
    keys = levels.to(torch.float32).view(torch.int32) + ((exponent - 150) << 23)
    return torch.where(levels > 0, bf16_from_keys(keys), 0)
