"""Products and equations agree with the library's, and their bits with themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.kernels.canonical import BLOCK, cosine, dot
from collab.kernels.solve import product, solve


@given(seed=st.integers(0, 1 << 20), size=st.integers(1, 24), columns=st.integers(0, 9))
@settings(max_examples=25)
def test_as_the_library_finds_them(seed: int, size: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2 * size, size, dtype=torch.float64, generator=generator)
    right = torch.randn(size, columns, dtype=torch.float64, generator=generator)
    left = rows.T @ rows + 0.1 * torch.eye(size, dtype=torch.float64)
    before = left.clone()
    torch.testing.assert_close(product(rows, right), rows @ right)
    torch.testing.assert_close(left @ solve(left, right), right)
    assert torch.equal(left, before)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    for diagonal in ([1.0, 0.0], [1.0, -1.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="positive definite"):
            solve(torch.diag(torch.tensor(diagonal, dtype=torch.float64)), torch.zeros(2, 1, dtype=torch.float64))


def test_dot_and_cosine() -> None:
    a, b = (torch.randn(BLOCK + 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    exact = float(a.double() @ b.double())
    assert dot(a, b) == pytest.approx(exact, rel=1e-9)
    assert cosine(a, b) == pytest.approx(exact / float(a.double().norm() * b.double().norm()), rel=1e-9)
    assert cosine(a, 3 * a) == pytest.approx(1.0)
    assert cosine(a, torch.zeros_like(a)) is None
