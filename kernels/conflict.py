"""What two changes of one base disagree about: coordinates that both moved, in opposite directions.

With o and t the two changes of a tensor, a coordinate is in conflict where o · t < 0. The conflict's share is the part of the
update's squared norm Σ(o² + t²) that stands on such coordinates: 0 where the changes never disagree, 1 where they do wherever
anything moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .canonical import cosine, sum_of_squares
from .layout import Layout, Tensors


@dataclass(frozen=True)
class Conflict:
    """Of one tensor, or of all: counts of coordinates, squared norms, the cosine of the two changes (None: one is zero)."""

    name: str
    elements: int
    ours: int
    theirs: int
    both: int
    opposed: int
    squared_norm: float
    opposed_squared_norm: float
    cosine: float | None

    @property
    def share(self) -> float:
        """The part of the squared norm in conflict, 0 to 1."""
        return self.opposed_squared_norm / self.squared_norm if self.squared_norm > 0 else 0.0


@dataclass(frozen=True)
class ConflictReport:
    """Tensor by tensor in order of name, and the whole model."""

    tensors: tuple[Conflict, ...]
    whole: Conflict


def three_way(base: Tensors, ours: Tensors, theirs: Tensors) -> ConflictReport:
    """Compare two models that come from `base`. `ValueError` unless all have one layout."""
    layout = Layout.of(base)
    layout.require(ours, "our model")
    layout.require(theirs, "their model")
    names = layout.names
    return compare_updates({name: base[name] - ours[name] for name in names}, {name: base[name] - theirs[name] for name in names})


def compare_updates(ours: Tensors, theirs: Tensors) -> ConflictReport:
    """Compare two updates of one base, decoded patches say. `ValueError` unless they have one layout."""
    layout = Layout.of(ours)
    layout.require(theirs, "their update")
    tensors = tuple(_compare(name, ours[name], theirs[name]) for name in layout.names)
    flat = [torch.cat([update[name].reshape(-1) for name in layout.names] or [torch.zeros(0)]) for update in (ours, theirs)]
    return ConflictReport(tensors, _total(tensors, cosine(*flat)))


def _compare(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> Conflict:
    opposed = ours.sign() * theirs.sign() < 0
    zero = torch.zeros(())
    return Conflict(
        name=name,
        elements=ours.numel(),
        ours=int(ours.count_nonzero()),
        theirs=int(theirs.count_nonzero()),
        both=int(((ours != 0) & (theirs != 0)).sum()),
        opposed=int(opposed.sum()),
        squared_norm=sum_of_squares(ours) + sum_of_squares(theirs),
        opposed_squared_norm=sum(sum_of_squares(torch.where(opposed, change, zero)) for change in (ours, theirs)),
        cosine=cosine(ours, theirs),
    )


def _total(tensors: Sequence[Conflict], angle_cosine: float | None) -> Conflict:
    return Conflict(
        name="all",
        elements=sum(each.elements for each in tensors),
        ours=sum(each.ours for each in tensors),
        theirs=sum(each.theirs for each in tensors),
        both=sum(each.both for each in tensors),
        opposed=sum(each.opposed for each in tensors),
        squared_norm=sum(each.squared_norm for each in tensors),
        opposed_squared_norm=sum(each.opposed_squared_norm for each in tensors),
        cosine=angle_cosine,
    )
