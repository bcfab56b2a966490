"""From verdicts on plants to the figures of the bench."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collab.protocol.verdict import Measurement, first_failure

from .plants import GOOD, KINDS, Plant
from .world import World


@dataclass(frozen=True)
class Case:
    """What the gates said of one plant. `named`: the gate that should fail is among those that did."""

    kind: str
    accepted: bool
    named: bool
    batches: tuple[int, ...]


def judge(world: World, planted: Plant, seed: int) -> Case:
    """Run all gates on a plant."""
    measured = [world.compare(gate, planted.weights, seed) for gate in world.event.gate]
    failed = [measurement.gate for measurement in measured if not measurement.passed]
    named = planted.fails in failed if planted.fails else bool(failed) == (planted.fails is None)
    return Case(planted.kind, first_failure(measured) is None, named, tuple(_batches(measured)))


def _batches(measured: Sequence[Measurement]) -> list[int]:
    """Return what the sampled gates cost; an exact gate always costs its cases."""
    return [measurement.batches for measurement in measured if measurement.kind != "exact"]


def figures(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the rates over all cases and by kind of plant."""
    good, bad = ([case for case in cases if (case.kind in GOOD) == wanted] for wanted in (True, False))
    return {
        "cases": len(cases),
        "true_acceptance": _share(good),
        "false_acceptance": _share(bad),
        "batches_median": _median(cases),
        "by_kind": {kind: _of_kind(kind, [case for case in cases if case.kind == kind]) for kind in KINDS},
    }


def _of_kind(kind: str, cases: Sequence[Case]) -> dict[str, Any]:
    return {
        "cases": len(cases),
        "true_acceptance": _share(cases) if kind in GOOD else None,
        "false_acceptance": None if kind in GOOD else _share(cases),
        "named": sum(case.named for case in cases) / len(cases) if cases else None,
        "batches_median": _median(cases),
        "batches_most": max((batches for case in cases for batches in case.batches), default=None),
    }


def _share(cases: Sequence[Case]) -> float | None:
    return sum(case.accepted for case in cases) / len(cases) if cases else None


def _median(cases: Sequence[Case]) -> float | None:
    batches = [batches for case in cases for batches in case.batches]
    return statistics.median(batches) if batches else None
