"""The command: make a run of real merges, then measure its store, check every version out, and bisect."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from collab.node.event.file import embedded_event
from collab.node.files import atomic_write
from collab.node.home import Home
from collab.node.logs import configure_logs
from collab.node.settings import Settings
from collab.protocol.event import EventDraft

from .local_run import LocalRun, noise
from .measuring import check_out_all, find_broken, sizes

CONTRIBUTORS = 4


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    configure_logs(level="warning")
    torch.set_num_threads(1)
    console, progress = Console(), Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="collab-bench-") as folder:
        try:
            with progress.status("starting") as status:
                found = _bench(Path(folder), arguments, status.update)
        except KeyboardInterrupt:
            progress.print("stopped")
            return 130
    console.print(_table(found))
    if arguments.json is not None:
        atomic_write(arguments.json, (json.dumps(found, indent=1) + "\n").encode())
    return _verdict(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench history", description="A run of real merges: what its versions cost, and how they are had again."
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="fewer steps, every fourth version checked out: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def _bench(folder: Path, arguments: argparse.Namespace, show: Callable[[str], None]) -> dict[str, Any]:
    draft, home = _draft(arguments.quick), Home(folder / "home")
    broken = arguments.rounds * 2 // 3
    local = LocalRun(home, draft, CONTRIBUTORS, folder)
    files = [folder / "whole-0"]
    local.write_weights(files[0])
    for round in range(1, arguments.rounds + 1):
        show(f"round {round} of {arguments.rounds}")
        local.round(spoilt=(1, noise) if round == broken else None)
        files.append(folder / f"whole-{round}")
        local.write_weights(files[-1])
    local.close()
    settings = Settings(home=home.path, cache_dir=home.path / "simulated", data_dir=folder, device="cpu", threads=1)
    with local.reopened() as store:
        found = sizes(local.folder.store_path, store, files).fields()
        found |= asyncio.run(
            check_out_all(local.event, store, settings, files, folder / "checkout", show, every=4 if arguments.quick else 1)
        )
        found |= asyncio.run(find_broken(local.event, store, settings, folder, broken, show))
    return {"rounds": arguments.rounds, "contributors": CONTRIBUTORS, "parameters": local.parameters, **found}


def _draft(quick: bool) -> EventDraft:
    """The demo's event, in which noise is let through, so that there is something to find."""
    demo = embedded_event()
    return demo.model_copy(update={
        "data": demo.data.model_copy(update={"max_bytes": 1 << 20, "block": 32, "held_out_samples": 32}),
        "inner": demo.inner.model_copy(update={"steps": 1 if quick else 4, "batch": 2, "warmup_samples": 0}),
        "merge": demo.merge.model_copy(update={"max_norm": 1000.0}),
        "rounds": demo.rounds.model_copy(update={"snapshot_every": 20, "last_round": 0}),
    })  # fmt: skip


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    for name, value in found.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value))
    return table


def _verdict(found: dict[str, Any]) -> int:
    """Return 1, and say why, if a version is not what it was or costs more than it should."""
    problems = [
        text for wrong, text in (
            (not found["bit_exact"], "a version that was checked out has other bytes"),
            (found["overhead"] > 1.3, "the store is larger than 1.3 times root, snapshots and payloads"),
            (found["patches_applied_max"] > found["snapshot_every"], "a checkout applied more patches than snapshots lie apart"),
            (not found["bisect_found_it"], "the bisection found another commit than the broken one"),
            (found["bisect_evaluations"] > found["bisect_bound"], "the bisection evaluated more than log2 of the versions"),
        ) if wrong
    ]  # fmt: skip
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
