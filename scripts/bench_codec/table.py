"""The rows as tables for a terminal, one an event: medians over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from .settings import DENSE_NAME, FULL_BITS, MUON, TITLES

Rows = Sequence[dict[str, Any]]


def tables(rows: Rows) -> Iterator[Table]:
    """Yield a table an event, in the order of the rows."""
    for event in dict.fromkeys(row["event"] for row in rows):
        yield _table(event, [row for row in rows if row["event"] == event])


def _table(event: str, rows: Rows) -> Table:
    table = Table(title=TITLES.get(event, event), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for heading in ("setting", "bits", "× fp16", "error", "loss", "seeds", "to dense"):
        table.add_column(heading, justify="left" if heading == "setting" else "right", no_wrap=heading != "setting")
    for name in dict.fromkeys(row["name"] for row in rows):
        found = [row for row in rows if row["name"] == name]
        bits, error, loss = (_median(found, key) for key in ("bits_per_parameter", "relative_error", "end_loss"))
        figures = f"{bits:.3f}", f"{FULL_BITS / bits:.0f}", f"{error:.3f}", f"{loss:.3f}"
        table.add_row(name, *figures, _spread(found), _beside_dense(found, rows))
    return table


def _median(rows: Rows, key: str) -> float:
    middle: float = statistics.median(row[key] for row in rows)
    return middle


def _spread(found: Rows) -> str:
    losses = [row["end_loss"] for row in found]
    return f"{min(losses):.3f}–{max(losses):.3f}" if len(losses) > 1 else "1"


def _beside_dense(found: Rows, rows: Rows) -> str:
    """How much more than dense averaging with the same inner optimiser: the mean over the seeds that both have."""
    against = DENSE_NAME + (MUON if found[0]["name"].endswith(MUON) else "")
    dense = {row["seed"]: row["end_loss"] for row in rows if row["name"] == against}
    ratios = [row["end_loss"] / dense[row["seed"]] for row in found if row["seed"] in dense]
    return f"{100 * (statistics.fmean(ratios) - 1):+.1f}%" if ratios else ""
