"""The command: plant candidates, run the gates on them, print how many were let through."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from collab.node.files import atomic_write

from .figures import Case, figures, judge
from .plants import KINDS, plant
from .world import World

_CASES, _QUICK_CASES = 200, 25


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    console, progress = Console(), Console(stderr=True)
    torch.set_num_threads(1)  # the model is too small for more
    found: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="collab-bench-") as folder, progress.status("training the base") as status:
        world = World(Path(folder))
        wanted = arguments.cases or (_QUICK_CASES if arguments.quick else _CASES)
        try:
            for at in range(wanted):
                seed = at // len(KINDS)
                found.append(judge(world, plant(list(KINDS)[at % len(KINDS)], world, seed), seed))
                status.update(f"{at + 1} of {wanted} candidates")
        except KeyboardInterrupt:
            progress.print(f"stopped after {len(found)} of {wanted} candidates")
            return 130
    result = figures(found)
    console.print(_table(result))
    if arguments.json is not None:
        atomic_write(arguments.json, (json.dumps(result, indent=1) + "\n").encode())
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench gates", description="How many planted candidates pass the gates.")
    parser.add_argument("--cases", type=int, metavar="N", help=f"candidates, of all kinds in turn (default: {_CASES})")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_CASES} candidates: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def _table(result: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("plant", "cases", "passed", "should pass", "right gate named", "batches: median", "most"):
        table.add_column(heading, justify="left" if heading == "plant" else "right")
    for kind, row in result["by_kind"].items():
        good = row["false_acceptance"] is None
        passed = row["true_acceptance"] if good else row["false_acceptance"]
        table.add_row(
            kind, str(row["cases"]), _percent(passed), "yes" if good else "no", "" if good else _percent(row["named"]),
            f"{row['batches_median']:g}" if row["cases"] else "", str(row["batches_most"] or ""),
        )  # fmt: skip
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"


if __name__ == "__main__":
    raise SystemExit(main())
