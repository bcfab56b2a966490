"""What the trainers of a round say of themselves, summed up: a few numbers, however many they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, Self

from ...protocol.messages import Progress


class Spread(NamedTuple):
    """Lowest, median and highest of some values: one liar moves an end, not the middle."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of `values`, None if there are none."""
        found = list(values)
        return cls(min(found), median(found), max(found)) if found else None


@dataclass(frozen=True)
class SwarmStats:
    """`samples` of the round so far; `rate` and `rates` in samples a second; `losses` in nats a token, of those with steps."""

    trainers: int
    samples: int
    rate: float
    rates: Spread | None
    losses: Spread | None

    @classmethod
    def of(cls, said: Iterable[Progress]) -> Self:
        """Sum up the newest progress of each trainer."""
        trainers = list(said)
        moving = [progress for progress in trainers if progress.steps]
        return cls(
            trainers=len(trainers),
            samples=sum(progress.samples for progress in trainers),
            rate=sum(progress.rate for progress in trainers),
            rates=Spread.of(progress.rate for progress in moving),
            losses=Spread.of(progress.loss for progress in moving),
        )
