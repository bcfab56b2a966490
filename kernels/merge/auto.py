"""Try every method and keep what scores best, with the record of why.

`auto` takes weights, or whatever stands for them where they are kept by somebody else, such as the worker's candidates by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from ..errors import MissingStatisticsError
from ..layout import Tensors
from .models import MODEL_METHODS, ModelMethod, merge_models
from .update import Update

W = TypeVar("W")


@dataclass(frozen=True)
class Choice:
    """Why a method won: every score by name, in the order tried, and why others were not tried."""

    winner: str
    scores: tuple[tuple[str, float], ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Candidate(Generic[W]):
    """A merged model, or why there is none."""

    name: str
    weights: W | None
    reason: str = ""


def candidates(
    base: Tensors, updates: Sequence[Update], methods: Mapping[str, ModelMethod] | None = None
) -> Iterator[Candidate[dict[str, Tensor]]]:
    """Merge with every method, one after the other: all with their defaults, if none are given."""
    chosen = methods if methods is not None else {name: make() for name, make in MODEL_METHODS.items()}
    for name, method in chosen.items():
        try:
            yield Candidate(name, merge_models(method, base, updates))
        except MissingStatisticsError as error:
            yield Candidate(name, None, str(error))


def auto(candidates: Iterable[Candidate[W]], score: Callable[[W], float]) -> tuple[W, Choice]:
    """The weights that score highest, the first of equals, and the record. Holds two models at a time.

    `score`: higher is better; NaN if it cannot be told. Raises `ValueError` if no candidate has a score.
    """
    best: tuple[float, str, W] | None = None
    scores, skipped = [], []
    for candidate in candidates:
        if candidate.weights is None:
            skipped.append((candidate.name, candidate.reason))
            continue
        value = float(score(candidate.weights))
        if math.isnan(value):
            skipped.append((candidate.name, "its score is not a number"))
            continue
        scores.append((candidate.name, value))
        if best is None or value > best[0]:
            best = value, candidate.name, candidate.weights
    if best is None:
        raise ValueError("no merged model has a score")
    return best[2], Choice(best[1], tuple(scores), tuple(skipped))
