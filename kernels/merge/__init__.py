"""Merge methods: one file a method, one explicit list.

A method is a function of the contributions in the order given, which is the order of their hashes: float32 sums depend
on order, so the caller's sorting is what makes the result independent of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..entry import backend as default_backend
from ..layout import Layout
from ..seam import Backend
from .average import average
from .contribution import Contribution, Policy
from .fisher import fisher
from .sparse_average import sparse_average

__all__ = ["METHODS", "Contribution", "Policy", "merge"]

Method = Callable[[Layout, Sequence[Contribution], Policy, Backend], dict[str, Tensor]]

METHODS: dict[str, Method] = {"average": average, "sparse-average": sparse_average, "fisher": fisher}


def merge(
    method: str,
    layout: Layout,
    contributions: Sequence[Contribution],
    *,
    cap: float,
    damping: float = 0.0,
    backend: Backend | None = None,
) -> dict[str, Tensor]:
    """The merged pseudo-gradient, float32, bit-identical on every machine. Zeros if nobody contributed.

    Raises `PayloadError` if a payload does not decode, `ValueError` on an unknown method or a number out of range.
    """
    if method not in METHODS:
        raise ValueError(f"no merge method {method!r}, only {', '.join(METHODS)}")
    policy = Policy(cap, damping)
    if not contributions:
        return layout.zeros()
    return METHODS[method](layout, contributions, policy, backend or default_backend())
