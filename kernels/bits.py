"""Rows of small integers as rows of bytes: least significant bit first, in a value and in a byte."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def explode(values: Tensor, width: int) -> Tensor:
    """(rows, n) integers below 2^width → (rows, n·width) bits as uint8."""
    shifts = torch.arange(width)
    return ((values.unsqueeze(-1) >> shifts) & 1).to(torch.uint8).view(values.shape[0], -1)


def implode(bits: Tensor, width: int) -> Tensor:
    """The inverse of `explode`: (rows, n·width) bits → (rows, n) int64."""
    parts = bits.reshape(bits.shape[0], -1, width) if width else bits
    values = torch.zeros(parts.shape[:2], dtype=torch.int64)
    for shift in range(width):
        values |= parts[..., shift].to(torch.int64) << shift
    return values


def pack(bits: Tensor) -> Tensor:
    """(rows, n) bits → (rows, ⌈n/8⌉) bytes, the last byte filled up with zero bits."""
    return torch.from_numpy(np.packbits(bits.numpy(), axis=1, bitorder="little"))


def unpack(rows: Tensor) -> Tensor:
    """(rows, b) bytes → (rows, 8·b) bits."""
    return torch.from_numpy(np.unpackbits(rows.numpy(), axis=1, bitorder="little"))
