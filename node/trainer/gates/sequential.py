"""The paired test: pairs of values come in by the batch until the answer is clear or they end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ....protocol.gates import HeadGate, LossGate
from ....protocol.gates_interval import FEWEST, MeanInterval, is_worse
from ....protocol.verdict import Measurement
from ..errors import WorkerError

Pair = tuple[Sequence[float], Sequence[float]]
"""A batch's values of the version before, and of the candidate, sample by sample."""


@dataclass
class Means:
    """How the two versions do on the samples so far."""

    samples: int = 0
    batches: int = 0
    base: float = 0.0
    candidate: float = 0.0

    def add(self, base: Sequence[float], candidate: Sequence[float]) -> None:
        """Count a batch."""
        self.batches += 1
        self.samples += len(base)
        self.base += (math.fsum(base) - self.base * len(base)) / self.samples
        self.candidate += (math.fsum(candidate) - self.candidate * len(candidate)) / self.samples


def run_pairs(
    gate: LossGate | HeadGate, seen: MeanInterval, pairs: Iterable[Pair], *, tolerance: float, sign: float, whole: bool = False
) -> tuple[Measurement, Means]:
    """Compare until it is clear, or all pairs if `whole`; the change is `sign` · (candidate − base), compared with `tolerance`.

    Raises WorkerError("bad_base") where the version before has a value that is not finite.
    """
    means = Means()
    worse: bool | None = None
    for base, candidate in pairs:
        if not all(map(math.isfinite, base)):
            raise WorkerError("bad_base", f"gate {gate.name}: the version to compare with gives no finite {gate.kind}")
        means.add(base, candidate)
        if not all(map(math.isfinite, candidate)):
            return _not_finite(gate, means), means
        seen.add(sign * (after - before) for before, after in zip(base, candidate, strict=True))
        worse = is_worse(seen.interval(), tolerance) if seen.count >= FEWEST else None
        if worse is not None and not whole:
            break
    if not means.samples:
        raise WorkerError("no_data", f"gate {gate.name}: its data has not one sample")
    return _measurement(gate, seen, means, tolerance, worse), means


def _measurement(
    gate: LossGate | HeadGate, seen: MeanInterval, means: Means, tolerance: float, worse: bool | None
) -> Measurement:
    low, high = seen.interval()
    return Measurement(
        gate=gate.name, kind=gate.kind, base=means.base, candidate=means.candidate, change=seen.mean,
        low=low if math.isfinite(low) else None, high=high if math.isfinite(high) else None, tolerance=gate.tolerance,
        samples=means.samples, batches=means.batches, passed=seen.mean <= tolerance if worse is None else not worse,
        reason="unclear" if worse is None else "worse" if worse else "no_worse",
    )  # fmt: skip


def _not_finite(gate: LossGate | HeadGate, means: Means) -> Measurement:
    return Measurement(
        gate=gate.name, kind=gate.kind, base=means.base, candidate=None, change=None, low=None, high=None,
        tolerance=gate.tolerance, samples=means.samples, batches=means.batches, passed=False, reason="not_finite",
    )  # fmt: skip
