"""The tables of `log`, `show`, `diff` and `blame`: at most 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rich import box
from rich.table import Table

from ...protocol.commit import Commit
from ...protocol.merging import parts
from ..reading import signer_of
from ..units import bytes_text, counted, loss_text, peer_text, percent_text, short, small_text
from .blame import Credit, shares_of
from .diff import TensorDiff, combined
from .log import Work, spans
from .moves import Move, summed

_BAR = 10
_STAT_LINES = 8


def _table(text: Sequence[str], numbers: Sequence[str], tail: Sequence[str] = ()) -> Table:
    """Return a table with columns of text at the left, numbers after them, and text again; text wraps where it must."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in text:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in tail:
        table.add_column(heading, overflow="fold")
    return table


def work_table(works: Sequence[Work]) -> Table:
    """What everybody contributed."""
    table = _table(["contributor"], ["samples", "steps", "bytes", "shares", "refused"], ["rounds"])
    for work in works:
        table.add_row(
            peer_text(work.peer), f"{work.samples:,}", f"{work.steps:,}", bytes_text(work.sent), f"{work.share:.2f}",
            str(work.rejected), spans(work.rounds),
        )  # fmt: skip
    return table


def diff_table(diffs: Sequence[TensorDiff]) -> Table:
    """What differs, tensor by tensor, and in all."""
    table = _table(["tensor"], ["changed", "of", "norm", "cosine", "largest"])
    for each in diffs:
        table.add_row(*_diff_cells(each))
    table.add_section()
    table.add_row(*_diff_cells(combined(diffs)))
    return table


def _diff_cells(each: TensorDiff) -> list[str]:
    cosine = "-" if each.cosine is None else f"{each.cosine:.6f}"
    return [each.tensor, f"{each.changed:,}", percent_text(each.share), small_text(each.norm), cosine, small_text(each.largest)]


def blame_table(credits: Sequence[Credit], size: int) -> Table:
    """Who moved the tensor, how far, where and when."""
    table = _table(["contributor"], ["of change", "norm", "coordinates", "of all"], ["rounds"])
    for credit, share in zip(credits, shares_of(credits), strict=True):
        table.add_row(
            peer_text(credit.peer), percent_text(share), small_text(credit.norm), f"{credit.coordinates:,}",
            percent_text(credit.coordinates / size), spans(credit.rounds),
        )  # fmt: skip
    return table


def tensor_table(rows: Sequence[tuple[Commit, Move]]) -> Table:
    """Which commits moved one tensor, and how far."""
    table = _table(["commit"], ["round", "coordinates", "of all", "norm", "largest", "by"])
    for commit, move in rows:
        table.add_row(
            short(commit.digest), str(commit.round), f"{move.coordinates:,}", percent_text(move.coordinates / move.size),
            small_text(move.norm), small_text(move.largest), str(len(commit.accepted)),
        )  # fmt: skip
    return table


def contributions_table(commit: Commit) -> Table:
    """Who contributed to a commit, and with what weight."""
    table = _table(["contributor"], ["share", "samples", "steps", "loss", "bytes", "clip", "on round"])
    for part in parts(commit):
        claim = part.contribution
        sent = claim.payload.size + (claim.fisher.size if claim.fisher else 0)
        table.add_row(
            peer_text(part.signed.signer), percent_text(float(part.share)), f"{claim.samples:,}", f"{claim.steps:,}",
            loss_text(claim.loss), bytes_text(sent), f"{part.clip:.3g}", str(claim.round),
        )  # fmt: skip
    return table


def rejected_table(commit: Commit) -> Table:
    """Who was left out of a commit, and why."""
    table = _table(["left out"], [], ["reason"])
    for rejected in commit.rejected:
        table.add_row(peer_text(signer_of(rejected.envelope) or "unknown"), rejected.reason)
    return table


def moves_table(moves: Sequence[Move], size: int) -> Table:
    """How far a commit moved each tensor; `size` is that of the whole model, moved or not."""
    table = _table(["tensor"], ["coordinates", "of all", "norm", "largest"])
    for move in moves:
        table.add_row(*_move_cells(move, move.size))
    table.add_section()
    table.add_row(*_move_cells(summed(moves), size))
    return table


def _move_cells(move: Move, size: int) -> list[str]:
    return [
        move.tensor, f"{move.coordinates:,}", percent_text(move.coordinates / size if size else 0.0), small_text(move.norm),
        small_text(move.largest),
    ]  # fmt: skip


def stat_lines(moves: Sequence[Move]) -> list[str]:
    """Return what `log --stat` shows below a commit: the tensors that moved farthest, with bars, and a line for all."""
    if not moves:
        return [" nothing moved"]
    shown = list(islice(moves, _STAT_LINES))
    width = min(40, max(len(move.tensor) for move in shown))
    lines = [
        f" {_clipped(move.tensor, width):<{width}} | {move.coordinates:>11,} {small_text(move.norm):>9} "
        + "+" * max(1, round(_BAR * move.norm / shown[0].norm))
        for move in shown
    ]
    more = f"… and {len(moves) - len(shown)} more; in all " if len(moves) > len(shown) else ""
    whole = summed(moves)
    tensors = counted(len(moves), "tensor")
    return [*lines, f" {more}{tensors}, {whole.coordinates:,} coordinates, norm {small_text(whole.norm)}"]


def _clipped(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[-(width - 1) :]
