"""Proposals and conflicts, as a terminal shows them: at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ...kernels.conflict import Conflict
from ...protocol.messages import Signed
from ...protocol.proposal import STATISTICS, ModelProposal
from ..store import Proposed, Store
from ..units import bytes_text, printable, short
from .conflicts import Comparison
from .making import SAMPLES, Made

ROWS = 12
"""Tensors in a table, those most in conflict first; --json tells of all."""


def conflict_table(comparison: Comparison) -> Table:
    """Return the report of two sides: the whole model, then the tensors."""
    report = comparison.report
    worst = sorted(report.tensors, key=lambda each: (-each.opposed_squared_norm, each.name))[:ROWS]
    left = f" ({len(report.tensors) - len(worst)} more tensors)" if len(report.tensors) > len(worst) else ""
    title = f"ours: {comparison.ours}, theirs: {comparison.theirs}{left}"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("tensor", overflow="ellipsis", no_wrap=True, max_width=25)
    for heading in ("ours", "theirs", "both", "opposed", "conflict", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in (report.whole, *worst):
        table.add_row(Text(row.name), *_cells(row))
    return table


def _cells(row: Conflict) -> list[str]:
    shares = [_percent(count, row.elements) for count in (row.ours, row.theirs, row.both, row.opposed)]
    return [*shares, f"{100 * row.share:.1f}%", "-" if row.cosine is None else f"{row.cosine:+.2f}"]


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f}%" if of else "-"


def conflict_fields(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values, with every tensor."""
    rows = (comparison.report.whole, *comparison.report.tensors)
    whole, *tensors = ({**vars(row), "share": row.share} for row in rows)
    return {"ours": comparison.ours, "theirs": comparison.theirs, "whole": whole, "tensors": tensors}


def proposals_table(store: Store, found: Iterable[Proposed]) -> Table:
    """Return a line a proposal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("proposal", "base", "form", "size", "error", "samples"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("proposal", "form") else "right")
    table.add_column("message", no_wrap=True, overflow="ellipsis")
    for each in found:
        proposal = each.proposal
        first = printable((proposal.message.splitlines() or [""])[0])
        table.add_row(
            short(each.digest), _base(store, each), proposal.form, bytes_text(proposal.payload.size),
            f"{100 * proposal.error:.2g}%", f"{proposal.samples:,}", Text(first if each.merged is None else f"(merged) {first}"),
        )  # fmt: skip
    return table


def _base(store: Store, proposed: Proposed) -> str:
    base = proposed.proposal.base
    return f"round {store.commit(base).round}" if store.has_commit(base) else short(base)


def proposal_fields(proposed: Proposed) -> dict[str, Any]:
    """Return a proposal as plain values."""
    proposal = proposed.proposal
    return {
        "proposal": proposed.digest.hex(), "maker": proposed.maker, "base": proposal.base.hex(), "form": proposal.form,
        "bytes": proposal.payload.size, "payload": proposal.payload.sha256.hex(), "error": proposal.error,
        "samples": proposal.samples, "message": proposal.message, "time": proposal.time,
        "statistics": statistics_sizes(proposal),
        "merged": None if proposed.merged is None else proposed.merged.hex(),
    }  # fmt: skip


def made_fields(signed: Signed, proposal: ModelProposal) -> dict[str, Any]:
    """Return what whoever proposed wants to know, as plain values."""
    return {
        "proposal": signed.digest.hex(), "form": proposal.form, "bytes": proposal.payload.size, "error": proposal.error,
        "statistics": statistics_sizes(proposal),
    }  # fmt: skip


def statistics_sizes(proposal: ModelProposal) -> dict[str, int]:
    """Return the bytes of the statistics that a proposal brings, by the method that needs them."""
    return {method: blob.size for method in STATISTICS for blob in proposal.statistics(method).values()}


def made_lines(made: Made, proposal: ModelProposal, out: Path | None) -> Iterator[str]:
    """Yield what was made, and how large it is; `out`: where it was written too."""
    what = f"{proposal.form}, {bytes_text(proposal.payload.size)}, error {100 * proposal.error:.2g}%"
    yield f"proposal {short(made.signed.digest)}: {what}"
    if measured := statistics_sizes(proposal):
        sizes = ", ".join(f"{name} {bytes_text(size)}" for name, size in measured.items())
        yield f"statistics of {SAMPLES} samples: {sizes}"
    if made.without:
        yield f"too many inputs for regmean, to be averaged: {', '.join(made.without)}"
    if out is not None:
        yield f"wrote {out}: `collab-node review {out.name}` takes it over elsewhere"
