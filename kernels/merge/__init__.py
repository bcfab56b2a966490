"""Merge methods: one file a method, two explicit lists.

`METHODS` are those of a round, in which no contributor's share of a coordinate may exceed a limit, whatever it sends;
`models.MODEL_METHODS` merge models and patches that somebody answers for, as their papers say.

A method of a round is a function of the contributions in the order given, which is the order of their hashes: float32 sums depend
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
from .models import MODEL_METHODS, ModelMethod, merge_models, merge_updates, model_method, parameters
from .sparse_average import sparse_average
from .update import Update

__all__ = [
    "METHODS",
    "MODEL_METHODS",
    "Contribution",
    "ModelMethod",
    "Policy",
    "Update",
    "merge",
    "merge_models",
    "merge_updates",
    "model_method",
    "parameters",
]

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
