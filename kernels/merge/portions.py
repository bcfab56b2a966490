"""Who moved what: a merge taken apart into what each contribution put into it.

Every method of the rounds is a sum over the contributors. Here the terms are handed out one by one, in the very arithmetic of the
merge; they add up to it, but for float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from ..entry import backend as default_backend
from ..layout import Layout
from ..seam import Backend
from .contribution import Contribution, Policy, limited_weights
from .fisher import fisher_portions
from .sparse_average import divisors

Portions = Callable[[Layout, Sequence[Contribution], Policy, Backend], Iterator[dict[str, Tensor]]]


def _average(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> Iterator[dict[str, Tensor]]:
    for each, weight in zip(contributions, limited_weights(contributions, policy), strict=True):
        portion = layout.zeros()
        backend.accumulate(portion, [(each.payload, weight * each.clip)], layout)
        yield portion


def _sparse_average(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> Iterator[dict[str, Tensor]]:
    divided_by = divisors(layout, contributions, policy, backend)
    for portion in _average(layout, contributions, policy, backend):
        yield {name: portion[name] / divided_by[name] for name in layout.names}


PORTIONS: dict[str, Portions] = {"average": _average, "sparse-average": _sparse_average, "fisher": fisher_portions}


def portions(
    method: str,
    layout: Layout,
    contributions: Sequence[Contribution],
    *,
    cap: float,
    damping: float = 0.0,
    backend: Backend | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield each contribution's part of the merged pseudo-gradient, float32, in the order given.

    Raises `PayloadError` if a payload does not decode, `ValueError` on a method that is no sum or a number out of range.
    """
    if method not in PORTIONS:
        raise ValueError(f"a merge by {method!r} cannot be taken apart, only by {', '.join(PORTIONS)}")
    policy = Policy(cap, damping)
    return PORTIONS[method](layout, contributions, policy, backend or default_backend()) if contributions else iter(())
