"""Rows in a JSON file: written as runs end, so that a bench that was stopped can go on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collab.node.files import atomic_write

from .runs import Run

Row = dict[str, Any]


class RowsError(Exception):
    """A file that holds no rows; the message says so in a line."""


@dataclass
class Kept:
    """The rows of a bench, and the file that has them, if there is one."""

    path: Path | None = None
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep one more row."""
        self.rows.append(row)
        if self.path is not None:
            lines = ",\n".join(json.dumps(row) for row in self.rows)
            atomic_write(self.path, f"[\n{lines}\n]\n".encode())

    def missing(self, runs: Sequence[Run]) -> list[Run]:
        """Those of which there is no row."""
        there = {(row["event"], row["name"], row["seed"]) for row in self.rows}
        return [run for run in runs if (run.event, run.setting, run.seed) not in there]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file. Raises `RowsError`."""
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RowsError(f"{path} cannot be read: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= _KEYS for row in rows):
        raise RowsError(f"{path} holds no rows of this bench")
    return rows


_KEYS = {"event", "name", "seed", "quick", "outer_rate", "bits_per_parameter", "relative_error", "end_loss"}
