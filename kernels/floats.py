"""Floating point taken apart as integers, so that no rounding mode, fused operation or library decides a byte."""

from __future__ import annotations

import torch
from torch import Tensor

BF16_SMALLEST = 0x0080
BF16_LARGEST = 0x7F7F


def scalar(value: float) -> Tensor:
    """`value` rounded once to float32. Multiplying by it is an IEEE float32 product on every device."""
    return torch.tensor(value, dtype=torch.float32)


def magnitude_keys(values: Tensor) -> Tensor:
    """int32 keys that order float32 `values` by magnitude: the bits without the sign. NaN and Inf rank highest."""
    return values.view(torch.int32) & 0x7FFFFFFF


def bf16_from_keys(keys: Tensor) -> Tensor:
    """Round non-negative float32 bits (int32) to bf16 bits (int32), to nearest, ties to even.

    Stays finite (the largest bf16 instead of Inf) and normal (zero instead of a denormal), so that a level is the same
    where denormals are flushed.
    """
    rounded = (keys + 0x7FFF + ((keys >> 16) & 1)) >> 16
    return torch.where(rounded < BF16_SMALLEST, 0, rounded.clamp(max=BF16_LARGEST))


def bf16_valid(bits: Tensor) -> bool:
    """Whether all are what `bf16_from_keys` can give: zero, or positive, finite and normal."""
    normal = (bits >= BF16_SMALLEST) & (bits <= BF16_LARGEST)
    return bool((normal | (bits == 0)).all())


def float_from_bf16(bits: Tensor) -> Tensor:
    """The float32 values of non-negative bf16 bits."""
    return (bits.to(torch.int32) << 16).view(torch.float32)


def finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
