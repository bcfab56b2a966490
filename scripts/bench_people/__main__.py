"""The command: measure what can be measured here, print it, write the JSON. A figure that was not measured has no key."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from collab.node.errors import UserError
from collab.node.files import atomic_write
from collab.node.local_swarm import SwarmError

from . import dashboard, monitoring, outage, page, volunteer
from .prometheus import PrometheusError

Measure = Callable[..., dict[str, Any]]

# One line a group of figures: `measure(folder, quick=…)` in a module of its own, and what its keys mean.
FIGURES: dict[str, tuple[Measure, dict[str, str]]] = {
    "volunteer": (volunteer.measure, volunteer.DEFINITIONS),
    "dashboard": (dashboard.measure, dashboard.DEFINITIONS),
    "monitoring": (monitoring.measure, monitoring.DEFINITIONS),
}
# What takes as long as it is told to: `measure(folder, minutes=…)`, what its keys mean, and what the flag of its name does.
LONG: dict[str, tuple[Measure, dict[str, str], str]] = {
    "outage": (outage.measure, outage.DEFINITIONS, "instead: a volunteer of a swarm loses its network for so long (needs root)"),
    "page": (page.measure, page.DEFINITIONS, "instead: a dashboard stays open beside a swarm for so long"),
}


def main() -> int:
    """Run the bench and return the exit code: 1 if anything could not be measured."""
    arguments = _arguments()
    found: dict[str, Any] = {}
    definitions: dict[str, str] = {}
    failed = False
    for name, (measure, meanings) in _wanted(arguments).items():
        print(f"measuring {name} …", file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(prefix="collab-people-", ignore_cleanup_errors=True) as folder:
                found |= measure(Path(folder))
            definitions |= meanings
        except (SwarmError, PrometheusError, UserError, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            if isinstance(error, UserError) and error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
            failed = True
    for key, value in found.items():
        print(f"{key:32} {value}")
    if arguments.json is not None:
        figures = {**found, "quick": arguments.quick, "definitions": definitions}
        atomic_write(arguments.json, (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode())
    return int(failed)


def _wanted(arguments: argparse.Namespace) -> dict[str, tuple[Measure, dict[str, str]]]:
    long = {name: minutes for name in LONG if (minutes := getattr(arguments, name)) is not None}
    short = arguments.only or ([] if long else FIGURES)
    wanted: dict[str, tuple[Measure, dict[str, str]]] = {}
    for name in short:
        wanted[name] = (partial(FIGURES[name][0], quick=arguments.quick), FIGURES[name][1])
    for name, minutes in long.items():
        wanted[name] = (partial(LONG[name][0], minutes=minutes), LONG[name][1])
    return wanted


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
