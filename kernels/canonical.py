"""Sums whose result is the same on every machine, because their order is part of their definition.

A library's `sum` may split the work by threads or vector width, and each split rounds differently. Here a sum is a
sequence of elementwise float64 additions: the second half of the vector is added to the first, until one element is
left. Elementwise operations have one IEEE result, whoever computes them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .layout import Tensors

BLOCK = 1 << 20
"""Elements summed at a time; part of the definition. Bounds the float64 copy to 8 MiB."""


def pairwise_sum(values: Tensor) -> float:
    """Sum of a 1-D float64 tensor by repeated halving. An odd length leaves its middle element to the next halving."""
    work = values.clone()
    length = work.numel()
    while length > 1:
        half = (length + 1) // 2
        work[: length - half] += work[half:length]
        length = half
    return float(work[0]) if length else 0.0


def total(values: Tensor) -> float:
    """Sum of a float32 tensor, flattened, in float64: blocks of `BLOCK` by halving, then the blocks' sums likewise."""
    blocks = torch.split(values.detach().reshape(-1), BLOCK)
    return pairwise_sum(torch.tensor([pairwise_sum(block.double()) for block in blocks], dtype=torch.float64))


def sum_of_squares(values: Tensor) -> float:
    """As `total`, of the squares (which float64 holds exactly)."""
    blocks = (block.double() for block in torch.split(values.detach().reshape(-1), BLOCK))
    return pairwise_sum(torch.tensor([pairwise_sum(block * block) for block in blocks], dtype=torch.float64))


def dot(a: Tensor, b: Tensor) -> float:
    """As `total`, of the products of two float32 tensors of one shape (which float64 holds exactly)."""
    blocks = zip(torch.split(a.detach().reshape(-1), BLOCK), torch.split(b.detach().reshape(-1), BLOCK), strict=True)
    sums = [pairwise_sum(x.double() * y.double()) for x, y in blocks]
    return pairwise_sum(torch.tensor(sums, dtype=torch.float64))


def cosine(a: Tensor, b: Tensor) -> float | None:
    """The cosine of the angle between two float32 tensors, -1 to 1; None if one of them is zero."""
    lengths = math.sqrt(sum_of_squares(a)) * math.sqrt(sum_of_squares(b))
    return max(-1.0, min(1.0, dot(a, b) / lengths)) if lengths > 0 else None


def norm(tensors: Tensors) -> float:
    """Euclidean norm over all tensors, in float64; the tensors' sums are added in ascending order of name."""
    squares = 0.0
    for name in sorted(tensors):
        squares += sum_of_squares(tensors[name])
    return math.sqrt(squares)
