"""The command: train with every setting and seed, print a table, write rows and the picture."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from collab.node.files import atomic_write

from .picture import draw
from .runs import Run, rows
from .settings import EVENTS, all_settings

_QUICK = ("dense fp16", "sparse 144, 1 bit")


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    console, progress = Console(), Console(stderr=True)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="collab-bench-") as cache:
        tasks = list(_tasks(arguments, Path(cache)))
        if not tasks:
            print(f"error: no setting is named {' or '.join(arguments.only)}", file=sys.stderr)
            return 1
        try:
            with progress.status(f"0 of {len(tasks)} runs") as status:
                for row in rows(tasks, arguments.jobs):
                    found.append(row)
                    status.update(f"{len(found)} of {len(tasks)} runs")
                    if not progress.is_terminal:
                        progress.print(f"{row['event']}, {row['name']}, seed {row['seed']}: loss {row['end_loss']:.4f}")
        except KeyboardInterrupt:
            progress.print(f"stopped after {len(found)} of {len(tasks)} runs")
            return 130
    console.print(_table(found))
    if arguments.json is not None:
        atomic_write(arguments.json, (json.dumps(found, indent=1) + "\n").encode())
    if arguments.picture is not None:
        try:
            draw(found, arguments.picture)
        except ImportError:
            print("error: the picture needs matplotlib: pip install 'collab-node[plots]'", file=sys.stderr)
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench codec", description="Compare updates by bytes, error and end loss.")
    parser.add_argument("--event", choices=[*EVENTS, "all"], default="all")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="settings whose name matches; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    parser.add_argument("--quick", action="store_true", help="two settings, two short rounds: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row a setting and seed there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw loss against bytes there, as a PNG")
    return parser.parse_args()


def _tasks(arguments: argparse.Namespace, cache: Path) -> Iterator[Run]:
    events = list(EVENTS) if arguments.event == "all" else [arguments.event]
    wanted = _QUICK if arguments.quick else arguments.only or ["*"]
    for seed in range(1 if arguments.quick else arguments.seeds):
        for event in events:
            for setting in all_settings():
                if any(fnmatchcase(setting.name, pattern) for pattern in wanted):
                    yield Run(event, setting.name, seed, arguments.quick, cache)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("event", "setting", "outer rate", "bits/parameter", "× fp16", "relative error", "end loss", "above dense"):
        table.add_column(heading, justify="left" if heading in ("event", "setting") else "right")
    dense = {event: _median(rows, event, "dense fp16", "end_loss") for event in {row["event"] for row in rows}}
    for event, name in dict.fromkeys((row["event"], row["name"]) for row in rows):
        found = [row for row in rows if (row["event"], row["name"]) == (event, name)]
        losses = [row["end_loss"] for row in found]
        bits = _median(rows, event, name, "bits_per_parameter")
        loss = statistics.median(losses)
        above = f"{100 * (loss / dense[event] - 1):+.1f}%" if dense[event] else ""
        table.add_row(
            event, name, f"{found[0]['outer_rate']:g}", f"{bits:.3f}", f"{16 / bits:.0f}",
            f"{_median(rows, event, name, 'relative_error'):.3f}", f"{loss:.3f} ({min(losses):.3f}–{max(losses):.3f})", above,
        )  # fmt: skip
    return table


def _median(rows: Sequence[dict[str, Any]], event: str, name: str, key: str) -> float:
    found = [row[key] for row in rows if (row["event"], row["name"]) == (event, name)]
    return statistics.median(found) if found else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
