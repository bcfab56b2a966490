"""Matrix products and linear equations whose bits no library decides: BLAS and LAPACK split sums as the machine suggests.

Everything is a sequence of elementwise float64 operations, n of them over whole matrices for n rows. Slower than BLAS by
an order of magnitude, which a merge can afford.
"""

from __future__ import annotations

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (m, n) · b (n, p), float64, as a sum of n outer products in order."""
    result = torch.zeros(a.shape[0], b.shape[1], dtype=torch.float64)
    for column, row in zip(a.unbind(1), b.unbind(0), strict=True):
        result += column.unsqueeze(1) * row
    return result


def solve(a: Tensor, b: Tensor) -> Tensor:
    """x (n, p) with a · x = b for a positive definite (n, n): Gauss and Jordan's elimination, float64.

    Pivots are taken in order, which is stable for such matrices. Raises `ValueError` if a is not positive definite.
    """
    size = a.shape[0]
    work = torch.cat((a, b), dim=1)
    for at in range(size):
        pivot = work[at, at]
        if not pivot > 0:
            raise ValueError("the matrix is not positive definite")
        row = work[at, at:] / pivot
        factors = work[:, at].clone()
        work[:, at:] -= factors.unsqueeze(1) * row
        work[at, at:] = row
    return work[:, size:].clone()
