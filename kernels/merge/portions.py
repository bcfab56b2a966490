"""Who moved what: a merge taken apart into what each contribution put into it.

Every method of the rounds is a sum Σ sᵢ clipᵢ δᵢ whose shares sᵢ come from weights, supports and Fishers, never from clips. So
the part of one contributor is the same merge with everybody else's clip set to zero, in the very arithmetic of the merge; the
parts add up to it, but for float32 rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from ..entry import backend as default_backend
from ..layout import Layout
from ..seam import Backend
from . import merge
from .contribution import Contribution, Policy, limited_weights


def portions(
    method: str,
    layout: Layout,
    contributions: Sequence[Contribution],
    *,
    cap: float,
    damping: float = 0.0,
    backend: Backend | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield each contribution's part of the merged pseudo-gradient, float32, in the order given. Raises as `merge` does.

    Takes a merge for each contribution; `average`, where nobody's silence counts, decodes each payload once.
    """
    chosen = backend or default_backend()
    if method == "average":
        weights = limited_weights(contributions, Policy(cap, damping))
        for each, weight in zip(contributions, weights, strict=True):
            part = layout.zeros()
            chosen.accumulate(part, [(each.payload, weight * each.clip)], layout)
            yield part
        return
    muted = [replace(each, clip=0.0) for each in contributions]
    for at, each in enumerate(contributions):
        yield merge(method, layout, [*muted[:at], each, *muted[at + 1 :]], cap=cap, damping=damping, backend=chosen)
