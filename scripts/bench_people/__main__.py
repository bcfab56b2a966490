"""The command: measure what can be measured here, print it, write the JSON. A figure that was not measured has no key."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from collab.node.errors import UserError
from collab.node.files import atomic_write
from collab.node.local_swarm import SwarmError

from . import dashboard, monitoring, outage, page, volunteer
from .prometheus import PrometheusError
from .stage import Stage

Figures = dict[str, Any]
Meanings = dict[str, str]

# One line a group of figures: `measure(stage)` in a module of its own, and what its keys mean.
FIGURES: dict[str, tuple[Callable[[Stage], Figures], Meanings]] = {
    "dashboard": (dashboard.measure, dashboard.DEFINITIONS),
    "volunteer": (volunteer.measure, volunteer.DEFINITIONS),
    "monitoring": (monitoring.measure, monitoring.DEFINITIONS),
}
# Of these, the groups that need the stage's swarm.
_IN_A_SWARM = {"volunteer", "monitoring"}
# What takes as long as it is told to: `measure(folder, minutes=…)`, what its keys mean, and what the flag of its name does.
LONG: dict[str, tuple[Callable[..., Figures], Meanings, str]] = {
    "outage": (outage.measure, outage.DEFINITIONS, "instead: a volunteer of a swarm loses its network for so long (needs root)"),
    "page": (page.measure, page.DEFINITIONS, "instead: a dashboard stays open beside a swarm for so long"),
}


@dataclass
class Report:
    """What was measured so far, what it means, and whether something could not be."""

    found: Figures = field(default_factory=dict)
    meanings: Meanings = field(default_factory=dict)
    failed: bool = False

    def measure(self, name: str, measure: Callable[[], Figures], meanings: Meanings) -> None:
        """Take in what `measure` returns, or say why it does not."""
        print(f"measuring {name} …", file=sys.stderr)
        try:
            self.found |= measure()
            self.meanings |= meanings
        except (SwarmError, PrometheusError, UserError, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            if isinstance(error, UserError) and error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
            self.failed = True


def main() -> int:
    """Run the bench and return the exit code: 1 if anything could not be measured."""
    arguments, report = _arguments(), Report()
    long = {name: minutes for name in LONG if (minutes := getattr(arguments, name)) is not None}
    with tempfile.TemporaryDirectory(prefix="collab-people-", ignore_cleanup_errors=True) as folder:
        for name, minutes in long.items():
            measure, meanings, _ = LONG[name]
            report.measure(name, partial(measure, Path(folder, name), minutes=minutes), meanings)
        if arguments.only or not long:
            _measure_on_a_stage(report, Path(folder), arguments.only or list(FIGURES), arguments.quick)
    for key, value in report.found.items():
        print(f"{key:32} {value}")
    if arguments.json is not None:
        figures = {**report.found, "quick": arguments.quick, "definitions": report.meanings}
        atomic_write(arguments.json, (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode())
    return int(report.failed)


def _measure_on_a_stage(report: Report, folder: Path, names: list[str], quick: bool) -> None:
    with Stage(folder, quick=quick, swarm=not _IN_A_SWARM.isdisjoint(names)) as stage:
        for name in names:
            measure, meanings = FIGURES[name]
            report.measure(name, partial(measure, stage), meanings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench people", description="Measure what volunteers and coordinators meet.")
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", action="append", choices=list(FIGURES), help="measure this alone; may be given again")
    for name, (_, _, what) in LONG.items():
        parser.add_argument(f"--{name}", type=_minutes, metavar="MINUTES", help=what)
    return parser.parse_args()


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("more than 0")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
