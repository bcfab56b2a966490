"""How the data lie: who has which samples, and what the merge is told about how many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Indices = np.ndarray
Split = Callable[[np.random.Generator, Indices], list[Indices]]

WORKERS = 4
LEAST = 10
"""A worker with fewer samples takes no part."""


@dataclass(frozen=True)
class Scenario:
    """`split`: of labels into the workers' indices. `weighted`: a worker's weight is its samples, else all weigh alike."""

    says: str
    split: Split
    weighted: bool = True


def even(rng: np.random.Generator, labels: Indices) -> list[Indices]:
    return list(np.array_split(rng.permutation(len(labels)), WORKERS))


def sizes(rng: np.random.Generator, labels: Indices) -> list[Indices]:
    """64 : 16 : 4 : 1"""
    parts = np.cumsum([4.0 ** -at for at in range(WORKERS)])
    return list(np.split(rng.permutation(len(labels)), (parts[:-1] / parts[-1] * len(labels)).astype(int)))


def classes(rng: np.random.Generator, labels: Indices) -> list[Indices]:
    """Every class is dealt out by shares from Dirichlet(0.3): a worker has much of a few classes, little of others."""
    owned: list[list[Indices]] = [[] for _ in range(WORKERS)]
    for label in range(10):
        samples = rng.permutation(np.flatnonzero(labels == label))
        cuts = (np.cumsum(rng.dirichlet([0.3] * WORKERS))[:-1] * len(samples)).astype(int)
        for worker, part in zip(owned, np.split(samples, cuts), strict=True):
            worker.append(part)
    return [indices for indices in map(np.concatenate, owned) if len(indices) >= LEAST]


def disjoint(rng: np.random.Generator, labels: Indices) -> list[Indices]:
    """Each class has one owner: two or three classes a worker."""
    return [np.flatnonzero(np.isin(labels, owned)) for owned in np.array_split(rng.permutation(10), WORKERS)]


MAIN = "classes"

SCENARIOS: Mapping[str, Scenario] = {
    "classes": Scenario("classes unequally split, weights by samples", classes),
    "even": Scenario("data evenly split", even),
    "sizes": Scenario("sizes 64 : 16 : 4 : 1, weights by samples", sizes),
    "sizes-unknown": Scenario("sizes 64 : 16 : 4 : 1, equal weights", sizes, weighted=False),
    "disjoint": Scenario("every class with one worker alone", disjoint),
}
