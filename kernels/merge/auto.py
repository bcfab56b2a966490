"""Try every method and keep what scores best, with the record of why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import MissingStatisticsError
from ..layout import Tensors
from .models import MODEL_METHODS, ModelMethod, merge_models
from .update import Update

Score = Callable[[Tensors], float]
"""Of a model's weights, higher is better; NaN if it cannot be told."""


@dataclass(frozen=True)
class Choice:
    """Why a method won: every score by name, in the order tried, and why others were not tried."""

    winner: str
    scores: tuple[tuple[str, float], ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Candidate:
    """A merged model, or why there is none."""

    name: str
    weights: dict[str, Tensor] | None
    reason: str = ""


def candidates(
    base: Tensors, updates: Sequence[Update], methods: Mapping[str, ModelMethod] | None = None
) -> Iterator[Candidate]:
    """Merge with every method, one after the other: all with their defaults, if none are given."""
    chosen = methods if methods is not None else {name: make() for name, make in MODEL_METHODS.items()}
    for name, method in chosen.items():
        try:
            yield Candidate(name, merge_models(method, base, updates))
        except MissingStatisticsError as error:
            yield Candidate(name, None, str(error))


def auto(candidates: Iterable[Candidate], score: Score) -> tuple[dict[str, Tensor], Choice]:
    """The weights that score highest, the first of equals, and the record. Holds two models at a time.

    Raises `ValueError` if no candidate has a score.
    """
    best: tuple[float, str, dict[str, Tensor]] | None = None
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
