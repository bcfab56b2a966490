"""Fisher-weighted averaging (Matena & Raffel 2021): of models, and in rounds on sparse patches by contributors who may lie.

The paper merges per coordinate as Σ wᵢFᵢδᵢ / Σ wᵢFᵢ; `Fisher` does just that. In a round, at one coordinate, i runs over the
contributors whose patch says something about it:

    fᵢ = clamp(Fᵢ / mean of Fᵢ over i's patch, 1/16, 16) + λ         (1 + λ if i sent no Fisher)
    P  = Σ wᵢ                     the say that `average` would give them together
    qᵢ = P · wᵢfᵢ / Σ wᵢfᵢ         that say, divided by Fisher
    sᵢ = wᵢ + t (qᵢ − wᵢ)          with the largest t ≤ 1 for which no sᵢ exceeds the limit
    r  = Σ sᵢ clipᵢ δᵢ

A contributor whose patch leaves the coordinate out counts as in `average`: it dilutes, but has no view on who is right.
With equal Fishers qᵢ = wᵢ, so this is the average.

What a liar can do: a Fisher's scale is divided out, so reporting it × 10⁹ gains nothing. Its shape can raise the
liar's share up to the limit, no further, and since Σ sᵢ = P always, the others keep P − limit at least. A lie that would
exceed the limit moves the whole coordinate towards the plain average.

Three passes over the payloads (sums, t, result), each decoding one contribution at a time: four tensors of the model's
size, however many contribute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ..canonical import pairwise_sum, total
from ..errors import MissingStatisticsError
from ..floats import scalar
from ..layout import Layout, Tensors
from ..seam import Backend, Entries
from .average import Average
from .claims import within_cap
from .contribution import Contribution, Policy, limited_weights
from .update import Update, require_number, shares

LARGEST_RATIO = 16.0
"""A Fisher value counts as at most this many times, and at least this fraction of, its contributor's mean."""


def fisher(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> dict[str, Tensor]:
    """No contributor's share of a coordinate exceeds the policy's limit, whatever Fisher it claims."""
    merge = _Merge(layout, contributions, policy, backend)
    merge.add_up()
    merge.temper()
    return merge.result()


def fisher_portions(
    layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
) -> Iterator[dict[str, Tensor]]:
    """Yield sᵢ clipᵢ δᵢ, contribution after contribution."""
    merge = _Merge(layout, contributions, policy, backend)
    merge.add_up()
    merge.temper()
    portions = groupby(merge.steps(), key=lambda step: step[0].contributor)
    following, steps = next(portions, (len(contributions), iter(())))
    for contributor in range(len(contributions)):
        portion = layout.zeros()
        if contributor == following:  # who has no weight takes no steps
            for part, step in steps:
                part.entries.put(portion[part.name], step)
            following, steps = next(portions, (len(contributions), iter(())))
        yield portion


@dataclass(frozen=True)
class _Part:
    """One contributor's say about one tensor: its patch and, entry by entry, its fᵢ."""

    contributor: int
    name: str
    weight: Tensor
    clip: Tensor
    entries: Entries
    fisher: Tensor


class _Merge:
    """The coordinates' running values: Σ wᵢ, Σ wᵢfᵢ and t."""

    def __init__(
        self, layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Backend
    ) -> None:
        self._layout = layout
        self._backend = backend
        self._damping = scalar(policy.damping)
        self._limit = scalar(policy.limit(len(contributions)))
        self._weighted = list(zip(contributions, limited_weights(contributions, policy), strict=True))
        self._weights = layout.zeros()
        self._fishers = layout.zeros()
        self._tempers = {name: torch.ones(shape) for name, shape in layout.tensors}

    def add_up(self) -> None:
        for part in self._parts():
            entries, name = part.entries, part.name
            entries.put(self._weights[name], entries.gather(self._weights[name]) + part.weight)
            entries.put(self._fishers[name], entries.gather(self._fishers[name]) + part.weight * part.fisher)

    def temper(self) -> None:
        for part in self._parts():
            gain = self._gain(part)
            allowed = (self._limit - part.weight).expand_as(gain) / gain
            before = part.entries.gather(self._tempers[part.name])
            part.entries.put(self._tempers[part.name], torch.where(gain > 0, torch.minimum(before, allowed), before))

    def steps(self) -> Iterator[tuple[_Part, Tensor]]:
        """Yield what each part adds to the merge, entry by entry."""
        for part in self._parts():
            gain = part.entries.gather(self._tempers[part.name]) * self._gain(part)
            share = torch.minimum(part.weight + gain, self._limit)
            yield part, (share * part.clip) * part.entries.values

    def result(self) -> dict[str, Tensor]:
        merged = self._layout.zeros()
        for part, step in self.steps():
            part.entries.put(merged[part.name], part.entries.gather(merged[part.name]) + step)
        return merged

    def _gain(self, part: _Part) -> Tensor:
        """qᵢ − wᵢ"""
        fraction = (part.weight * part.fisher) / part.entries.gather(self._fishers[part.name])
        return fraction * part.entries.gather(self._weights[part.name]) - part.weight

    def _parts(self) -> Iterator[_Part]:
        """Decode one contribution after another, in the order given."""
        for at, (contribution, weight) in enumerate(self._weighted):
            if weight == 0:
                continue
            patch = self._backend.entries(contribution.payload, self._layout)
            relative = self._relative(contribution, patch)
            for name, entries in patch.items():
                yield _Part(at, name, scalar(weight), scalar(contribution.clip), entries, relative[name] + self._damping)

    def _relative(self, contribution: Contribution, patch: dict[str, Entries]) -> dict[str, Tensor]:
        """Each Fisher value over the mean of all, clamped; ones if there is none or all are zero."""
        if contribution.fisher is None:
            return {name: torch.ones_like(entries.values) for name, entries in patch.items()}
        values = self._backend.values_on_support(contribution.fisher, contribution.payload, self._layout)
        sums = torch.tensor([total(part) for part in values.values()], dtype=torch.float64)
        mean = pairwise_sum(sums) / max(1, sum(part.numel() for part in values.values()))
        return {name: _clamped_ratio(part, mean) for name, part in values.items()}


def _clamped_ratio(values: Tensor, mean: float) -> Tensor:
    if mean == 0:
        return torch.ones_like(values)
    divisor = torch.tensor([mean], dtype=torch.float64).expand_as(values)
    return (values.double() / divisor).clamp(1 / LARGEST_RATIO, LARGEST_RATIO).float()


@dataclass(frozen=True)
class Fisher:
    """Of models: Σ wᵢ(Fᵢ + λ)δᵢ / Σ wᵢ(Fᵢ + λ), in float64, rounded once.

    λ is `damping` times the mean of all Fisher values: the larger, the nearer to the average. Where no Fisher says anything and
    nothing is damped, the average. With quadratic losses of curvature Fᵢ this is the minimum of their weighted sum.
    A `cap` below 1 bounds what a claimed Fisher can do (`claims.within_cap`).
    """

    damping: float = 0.0
    cap: float = 1.0

    def __post_init__(self) -> None:
        require_number("damping", self.damping, 0, 1e6)
        require_number("cap", self.cap, 0, 1)

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        fishers = [_fisher_of(update) for update in updates]
        weights = shares(updates)
        damping = self.damping * _weighted_mean(fishers, weights)
        merged = Average().merge(base, updates)
        for name in merged:
            above = below = torch.zeros_like(merged[name], dtype=torch.float64)
            for update, fisher, weight in zip(updates, fishers, weights, strict=True):
                say = (fisher[name].double() + damping) * weight
                above, below = above + say * update.delta[name].double(), below + say
            told = below > 0
            merged[name] = torch.where(told, (above / torch.where(told, below, 1.0)).float(), merged[name])
        return within_cap(merged, updates, self.cap)


def _fisher_of(update: Update) -> Tensors:
    if update.fisher is None:
        raise MissingStatisticsError("fisher needs a Fisher diagonal of every model")
    return update.fisher


def _weighted_mean(fishers: Sequence[Tensors], weights: Sequence[float]) -> float:
    """The mean Fisher value of all models, each counting by its weight."""
    means = []
    for fisher, weight in zip(fishers, weights, strict=True):
        sums = torch.tensor([total(fisher[name]) for name in sorted(fisher)], dtype=torch.float64)
        means.append(weight * pairwise_sum(sums) / max(1, sum(tensor.numel() for tensor in fisher.values())))
    return math.fsum(means)
