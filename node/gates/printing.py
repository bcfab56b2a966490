"""What gates showed, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table

from ...protocol.commit import Commit
from ...protocol.verdict import Measurement
from ..units import short

_LEFT = ("gate", "")


def gates_table(title: str, measurements: Iterable[Measurement]) -> Table:
    """Return a row a gate; where there is no room, names and outcomes are broken, and no number is."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("gate", "before", "now", "worse by", "within", "allowed", "batches", ""):
        is_number = heading not in _LEFT
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for measured in measurements:
        doubt = ", not clear" if measured.reason == "unclear" else ""
        table.add_row(
            measured.gate, number(measured.base), number(measured.candidate), number(measured.change, "+", 3),
            interval(measured), f"{measured.tolerance:g}", str(measured.batches),
            ("passed" if measured.passed else "FAILED") + doubt,
        )  # fmt: skip
    return table


def compared(candidate: Commit, base: Commit) -> str:
    """Return which two versions are compared, in words."""
    return f"round {candidate.round} ({short(candidate.digest)}) against round {base.round} ({short(base.digest)})"


def interval(measured: Measurement) -> str:
    """Return the bounds of a change; nothing where it is not bounded."""
    return "" if measured.low is None or measured.high is None else f"{measured.low:+.2g} … {measured.high:+.2g}"


def number(value: float | None, sign: str = "", digits: int = 4) -> str:
    """Return a measure in so many digits."""
    return "not a number" if value is None else format(value, f"{sign}.{digits}g")
