"""The command: train with every setting and seed, print a table, write rows and the picture."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from .kept import Kept, RowsError, read_rows
from .picture import draw
from .runs import Run, rows
from .settings import DENSE_NAME, EVENTS, MUON, RECIPE_NAME, all_settings
from .table import tables

_QUICK = (DENSE_NAME + MUON, RECIPE_NAME)


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    try:
        kept = _kept(arguments)
    except RowsError as error:
        return _failed(str(error))
    if not arguments.source:
        with tempfile.TemporaryDirectory(prefix="collab-bench-") as cache:
            runs = list(_runs(arguments, Path(cache)))
            if not runs:
                return _failed(f"no setting is named {' or '.join(arguments.only)}")
            if not _train(kept.missing(runs), kept, arguments.jobs):
                return 130
    Console().print(*tables(kept.rows))
    if arguments.picture is not None:
        try:
            draw(kept.rows, arguments.picture)
        except ImportError:
            return _failed("the picture needs matplotlib: pip install 'collab-node[plots]'")
    return 0


def _kept(arguments: argparse.Namespace) -> Kept:
    if arguments.source:
        return Kept(rows=read_rows(arguments.source))
    if not arguments.resume:
        return Kept(arguments.json)
    return Kept(arguments.json, [row for row in read_rows(arguments.json) if row["quick"] == arguments.quick])


def _train(runs: list[Run], kept: Kept, jobs: int) -> bool:
    """Keep a row a run. False if the user stopped it."""
    progress, done = Console(stderr=True), 0
    try:
        with progress.status(f"0 of {len(runs)} runs") as status:
            for row in rows(runs, jobs):
                kept.add(row)
                done += 1
                status.update(f"{done} of {len(runs)} runs")
                if not progress.is_terminal:
                    progress.print(f"{row['event']}, {row['name']}, seed {row['seed']}: loss {row['end_loss']:.4f}")
    except KeyboardInterrupt:
        progress.print(f"stopped after {done} of {len(runs)} runs")
        return False
    return True


def _failed(what: str) -> int:
    print(f"error: {what}", file=sys.stderr)
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench codec", description="Compare updates by bytes, error and end loss.")
    parser.add_argument("--event", choices=[*EVENTS, "all"], default="all")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="settings whose name matches; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    parser.add_argument("--quick", action="store_true", help="two settings, two short rounds: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row a setting and seed there, as runs end")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the JSON has, and train only what it lacks")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="train nothing: show and draw the rows of FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw loss against bytes there, as a PNG")
    arguments = parser.parse_args()
    if arguments.resume and not arguments.json:
        parser.error("--resume needs --json FILE")
    return arguments


def _runs(arguments: argparse.Namespace, cache: Path) -> Iterator[Run]:
    events = list(EVENTS) if arguments.event == "all" else [arguments.event]
    wanted = _QUICK if arguments.quick else arguments.only or ["*"]
    for seed in range(1 if arguments.quick else arguments.seeds):
        for event in events:
            for setting in all_settings():
                if any(fnmatchcase(setting.name, pattern) for pattern in wanted):
                    yield Run(event, setting.name, seed, arguments.quick, cache)


if __name__ == "__main__":
    raise SystemExit(main())
