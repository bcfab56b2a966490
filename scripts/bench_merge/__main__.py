"""The command: run every scenario and seed, print a table a scenario, write the rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from collab.node.files import atomic_write

from .figures import Scores, rows, summary
from .language import Losses, run_language
from .runs import run
from .scenarios import MAIN, SCENARIOS

LANGUAGE_SEEDS = 3


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    console, progress = Console(), Console(stderr=True)
    names = list(dict.fromkeys((MAIN, *([] if arguments.quick else arguments.scenario or SCENARIOS))))
    scores: dict[str, Scores] = {}
    try:
        for name in names:
            with progress.status(name):
                scores[name] = [run(name, seed) for seed in range(arguments.seeds)]
            console.print(_table(name, scores[name]))
        if arguments.language:
            with progress.status("language"):
                losses = [run_language(seed) for seed in range(min(arguments.seeds, LANGUAGE_SEEDS))]
            console.print(_language_table(losses))
    except KeyboardInterrupt:
        progress.print("stopped")
        return 130
    console.print("p: exact paired permutation test against average, two-sided; not corrected for the number of methods")
    if arguments.json is not None:
        atomic_write(arguments.json, (json.dumps(rows(scores, MAIN), indent=1) + "\n").encode())
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench merge", description="Compare merge methods on digits.")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help=f"beside {MAIN!r}; repeatable; else all")
    parser.add_argument("--language", action="store_true", help="also merge two fine-tunes of the demo's model: some minutes")
    parser.add_argument("--seeds", type=_positive, default=8)
    parser.add_argument("--quick", action="store_true", help=f"only {MAIN!r}: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row a method there")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _language_table(losses: Sequence[Losses]) -> Table:
    title = f"two fine-tunes of the demo's model on unlike texts, {len(losses)} seeds: held-out loss, nats a byte"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("model", "prose", "tables", "both"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name in losses[0]:
        prose, tables = ([each[name][of] for each in losses] for of in (0, 1))
        both = [sum(each[name]) / 2 for each in losses]
        table.add_row(name, *(f"{fmean(values):.3f}" for values in (prose, tables, both)))
    return table


def _table(name: str, scores: Scores) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{name}: {SCENARIOS[name].says}", title_justify="left")
    for heading in ("method", "accuracy, %", "beside average", "p"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method in scores[0]:
        found = summary(scores, method)
        table.add_row(
            method,
            f"{found['mean']:.1f} ± {found['deviation']:.1f}",
            f"{found['gain_over_average']:+.1f}",
            "" if method == "average" else f"{found['p_value_against_average']:.3f}",
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
