"""Ascending positions in about 2 + log2(size / kept) bits each (Elias 1974, Fano 1971).

The low `l` bits of every position are stored as they are. The high parts, which ascend, are stored in unary: bit
(position >> l) + i of the bitmap is set for the i-th position. All fields have a fixed width, so that a chunk's place
in the payload is known without reading the chunks before it. One set of positions has one encoding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .bits import explode, implode
from .errors import PayloadError


def low_width(size: int, kept: int) -> int:
    """⌊log2(size / kept)⌋"""
    return (size // kept).bit_length() - 1


def bitmap_width(size: int, kept: int) -> int:
    return kept + ((size - 1) >> low_width(size, kept)) + 1


def width(size: int, kept: int) -> int:
    """Bits of all positions of a chunk."""
    return kept * low_width(size, kept) + bitmap_width(size, kept)


def encode(positions: Tensor, size: int) -> Tensor:
    """(rows, kept) int64, ascending, below `size` → (rows, width) bits."""
    count, kept = positions.shape
    low = low_width(size, kept)
    bitmap = torch.zeros((count, bitmap_width(size, kept)), dtype=torch.uint8)
    bitmap.scatter_(1, (positions >> low) + torch.arange(kept), 1)
    return torch.cat((explode(positions & ((1 << low) - 1), low), bitmap), dim=1)


def decode(bits: Tensor, size: int, kept: int) -> Tensor:
    """(rows, width) bits → (rows, kept) int64. Raises `PayloadError` on bits that `encode` does not write."""
    low = low_width(size, kept)
    bitmap = bits[:, kept * low :]
    if bool((bitmap.sum(dim=1) != kept).any()):
        raise PayloadError("a chunk marks more or fewer positions than it has values")
    high = bitmap.nonzero()[:, 1].view(-1, kept) - torch.arange(kept)
    positions = high << low
    if low:
        positions |= implode(bits[:, : kept * low], low)
    if bool((positions[:, 1:] <= positions[:, :-1]).any()) or bool((positions[:, -1] >= size).any()):
        raise PayloadError("a chunk's positions do not ascend or lie beyond its end")
    return positions
