"""The command: measure what can be measured here, print it, write the JSON. A figure that was not measured has no key."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collab.node.errors import UserError
from collab.node.files import atomic_write
from collab.node.local_swarm import SwarmError

from . import dashboard, monitoring, volunteer
from .prometheus import PrometheusError

Measure = Callable[..., dict[str, Any]]

# One line a group of figures: `measure(folder, quick=…)` in a module of its own, and what its keys mean.
FIGURES: dict[str, tuple[Measure, dict[str, str]]] = {
    "volunteer": (volunteer.measure, volunteer.DEFINITIONS),
    "dashboard": (dashboard.measure, dashboard.DEFINITIONS),
    "monitoring": (monitoring.measure, monitoring.DEFINITIONS),
}


def main() -> int:
    """Run the bench and return the exit code: 1 if anything could not be measured."""
    arguments = _arguments()
    found: dict[str, Any] = {}
    definitions: dict[str, str] = {}
    failed = False
    for name in arguments.only or FIGURES:
        measure, meanings = FIGURES[name]
        print(f"measuring {name} …", file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(prefix="collab-people-", ignore_cleanup_errors=True) as folder:
                found |= measure(Path(folder), quick=arguments.quick)
            definitions |= meanings
        except (SwarmError, PrometheusError, UserError, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = True
    for key, value in found.items():
        print(f"{key:32} {value}")
    if arguments.json is not None:
        figures = {**found, "quick": arguments.quick, "definitions": definitions}
        atomic_write(arguments.json, (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode())
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench people", description="Measure what volunteers and coordinators meet.")
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", action="append", choices=list(FIGURES), help="measure this alone; may be given again")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
