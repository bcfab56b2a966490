"""What gates showed, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table

from ...protocol.commit import Commit
from ...protocol.verdict import Measurement
from ..units import short

_LEFT = ("gate", "kind", "")


def gates_table(title: str, measurements: Iterable[Measurement]) -> Table:
    """Return a row a gate."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("gate", "kind", "before", "now", "worse by", "within", "allowed", "batches", ""):
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for measured in measurements:
        doubt = ", not clear" if measured.reason == "unclear" else ""
        table.add_row(
            measured.gate, measured.kind, number(measured.base), number(measured.candidate), number(measured.change, "+"),
            interval(measured), f"{measured.tolerance:g}", str(measured.batches),
            ("passed" if measured.passed else "FAILED") + doubt,
        )  # fmt: skip
    return table


def compared(candidate: Commit, base: Commit) -> str:
    """Return which two versions are compared, in words."""
    return f"round {candidate.round} ({short(candidate.digest)}) against round {base.round} ({short(base.digest)})"


def interval(measured: Measurement) -> str:
    """Return the bounds of a change; nothing where it is not bounded."""
    return "" if measured.low is None or measured.high is None else f"{measured.low:+.4g} … {measured.high:+.4g}"


def number(value: float | None, sign: str = "") -> str:
    """Return a measure in four digits."""
    return "not a number" if value is None else format(value, f"{sign}.4g")
