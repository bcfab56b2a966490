"""What the history commands print, for people and, as JSON, for scripts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from ...protocol import refs
from ...protocol.commit import Commit
from ...protocol.proposal import open_merge
from ..display.rounds_table import RoundRow, rounds_table
from ..gates.printing import compared, gates_table
from ..proposals.merged import merged_lines
from ..store import Store
from ..units import counted, loss_text, peer_text, short
from . import tables
from .blame import blame as find_blame
from .blame import blame_fields
from .diff import TensorDiff, combined
from .draw import draw
from .graph import StoreGraph
from .listing import annotation_lines
from .log import by_contributor, log_fields, log_line, ref_labels, spans
from .moves import Move, matching, moves_of, summed
from .payloads import Payloads
from .revisions import find_commits, read_commit
from .show import carried_of, certificate_fields, departed_of, revert_lines, show_fields

if TYPE_CHECKING:
    from ...kernels import Layout
    from ..gates.run import Result


_OTHER = "no merge of contributions: `collab-node diff` says what it did"


@dataclass(frozen=True)
class Chosen:
    """Commits of a store, newest first; read one by one, since a history may be long."""

    store: Store
    digests: list[bytes]

    def __iter__(self) -> Iterator[Commit]:
        return (read_commit(self.store, digest) for digest in self.digests)


def chosen(store: Store, expression: str, *, all_refs: bool = False, limit: int | None = None) -> Chosen:
    """Return what a revision (with its ancestors) or range means, or all that any ref reaches. Raises UserError."""
    if all_refs:
        return Chosen(store, refs.history(StoreGraph(store), set(store.refs.all().values()))[:limit])
    return Chosen(store, find_commits(store, expression)[:limit])


def rounds(shown: Chosen) -> None:
    """Print the table of rounds."""
    _print(rounds_table(RoundRow.of(commit) for commit in shown))


def json_lines(shown: Chosen) -> None:
    """Print a JSON object a commit."""
    labels = ref_labels(shown.store)
    for commit in shown:
        typer.echo(json.dumps(log_fields(commit, labels)))


def lines(shown: Chosen, *, graph: bool, payloads: Payloads | None) -> None:
    """Print a line a commit: beside the `graph`, or not; with what each moved, if there are `payloads`."""
    labels = ref_labels(shown.store)
    for commit, head, body, joints in _rows(shown, graph):
        typer.echo(f"{head}{log_line(commit, labels)}")
        for line in _stat(commit, payloads) if payloads is not None else ():
            typer.echo(f"{body}{line}")
        for joint in joints:
            typer.echo(joint)


def _stat(commit: Commit, payloads: Payloads) -> list[str]:
    return tables.stat_lines(moves_of(payloads.change(commit))) if payloads.explain(commit) else [f" {_OTHER}"]


def _rows(shown: Chosen, graph: bool) -> Iterator[tuple[Commit, str, str, Sequence[str]]]:
    if not graph:
        for commit in shown:
            yield commit, "", "", ()
        return
    known, parents = set(shown.digests), StoreGraph(shown.store).parents
    rows = draw((digest, [parent for parent in parents(digest) if parent in known]) for digest in shown.digests)
    for row in rows:
        yield read_commit(shown.store, row.commit), f"{row.head} ", f"{row.body} ", row.joints


def contributors(shown: Chosen, as_json: bool) -> None:
    """Print what everybody contributed."""
    works = by_contributor(shown)
    if as_json:
        for work in works:
            typer.echo(json.dumps(work.to_dict()))
    else:
        _print(tables.work_table(works))


def tensor(shown: Chosen, payloads: Payloads, pattern: str, as_json: bool) -> None:
    """Print the commits that moved a tensor."""
    names = matching(payloads.layout.names, pattern)
    size = _size(payloads, names)
    rows = []
    for commit in filter(payloads.explain, shown):
        moves = [move for move in moves_of(payloads.change(commit)) if move.tensor in names]
        if moves:
            rows.append((commit, replace(summed(moves, pattern), size=size)))
    _note_others(shown, payloads)
    if as_json:
        for commit, move in rows:
            typer.echo(json.dumps({"commit": commit.digest.hex(), "round": commit.round, **move.to_dict()}))
    elif not rows:
        typer.echo(f"none of these commits moved {pattern}")
    else:
        _print(tables.tensor_table(rows))


def commit(
    store: Store, shown: Commit, moves: Sequence[Move] | None, parts: Sequence[Sequence[Move]], layout: Layout, missing: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Print one commit; `parts` are what each proposal moved that it merged, `missing` says why there are no `moves`."""
    if as_json:
        typer.echo(json.dumps(show_fields(store, shown, moves, parts)))
        return
    console = Console()
    for name in (name for name, at in store.refs.all("tags/").items() if at == shown.digest):
        for line in annotation_lines(store, name):
            console.print(Text(line), soft_wrap=True)
    for line in _headers(store, shown):
        console.print(Text(line), soft_wrap=True)
    if shown.method == "proposals":
        console.print(Text("\n".join([*merged_lines(shown), *_parts_lines(shown, parts)])), soft_wrap=True)
    if shown.accepted:
        console.print(tables.contributions_table(shown))
    if shown.rejected:
        console.print(tables.rejected_table(shown))
    if moves:
        console.print(tables.moves_table(moves, layout.numel()))
    elif missing:
        console.print(Text(f"\nwhat it moved cannot be told: {missing}"), soft_wrap=True)


def _parts_lines(shown: Commit, parts: Sequence[Sequence[Move]]) -> Iterator[str]:
    """Yield what each proposal moved, the tensors that it moved farthest first."""
    if not parts:
        return
    for (signed, _), moves in zip(open_merge(shown)[1].opened(), parts, strict=True):
        yield f"{short(signed.digest)} moved"
        yield from tables.stat_lines(moves)


def _headers(store: Store, shown: Commit) -> Iterator[str]:
    labels = ref_labels(store).get(shown.digest, [])
    yield f"commit {shown.digest.hex()}" + (f" ({', '.join(labels)})" if labels else "")
    for parent in shown.parents:
        yield f"parent {parent.hex()}"
    yield f"state  {shown.state.hex()}"
    kind = "root" if shown.method == "root" else f"{shown.method}{', full' if shown.full else ''}"
    yield f"round  {shown.round} · {kind} · loss {loss_text(shown.loss)} · {shown.samples:,} samples since the root"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(shown.time))
    yield f"made   {when} by {shown.proposer}"
    yield f"roster {counted(len(shown.roster), 'member')}"
    if departed := departed_of(shown):
        yield f"left   {', '.join(map(peer_text, departed))}"
    if shown.statement is None and (said := carried_of(shown)):
        peers = len({each.peer for each in said})
        yield f"tests  {counted(len(said), 'verdict')} of {counted(peers, 'peer')} on earlier versions"
    if (proof := certificate_fields(store, shown)) is not None:
        signers = ", ".join(map(peer_text, proof["signers"]))
        yield f"final  epoch {proof['epoch']}, view {proof['view']}, signed by {signers}"
    elif shown.parents and shown.statement is None:
        yield "final  no certificate is here"
    yield from revert_lines(shown)


def diff(older: Commit, newer: Commit, diffs: Sequence[TensorDiff], as_json: bool) -> None:
    """Print what differs between two versions."""
    if as_json:
        fields = {
            "older": older.digest.hex(), "newer": newer.digest.hex(), "tensors": [each.to_dict() for each in diffs],
            "total": combined(diffs).to_dict(),
        }  # fmt: skip
        typer.echo(json.dumps(fields))
        return
    typer.echo(f"{short(older.digest)} (round {older.round}) .. {short(newer.digest)} (round {newer.round})")
    _print(tables.diff_table(diffs))


def diff_tasks(older: Commit, newer: Commit, results: Sequence[Result], as_json: bool) -> None:
    """Print what gates measured of two versions, side by side."""
    if as_json:
        tasks = [result.fields() for result in results]
        typer.echo(json.dumps({"older": older.digest.hex(), "newer": newer.digest.hex(), "tasks": tasks}))
    else:
        _print(gates_table(compared(newer, older), [result.measurement for result in results]))


def blame(shown: Chosen, payloads: Payloads, pattern: str, as_json: bool) -> None:
    """Print who moved a tensor."""
    names = matching(payloads.layout.names, pattern)
    size = _size(payloads, names)
    credits = find_blame(payloads, shown, names)
    _note_others(shown, payloads)
    if as_json:
        typer.echo(json.dumps(blame_fields(credits, names, size)))
        return
    what = names[0] if len(names) == 1 else f"{len(names)} tensors"
    if not credits:
        typer.echo(f"nobody moved {what} in these {len(shown.digests)} commits")
        return
    typer.echo(f"{what}: {size:,} coordinates, {len(shown.digests)} commits")
    _print(tables.blame_table(credits, size))


def _note_others(shown: Chosen, payloads: Payloads) -> None:
    others = [commit.round for commit in shown if not payloads.explain(commit)]
    if others:
        typer.echo(f"not counted: round {spans(others)}, {_OTHER}", err=True)


def _size(payloads: Payloads, names: Collection[str]) -> int:
    return sum(math.prod(shape) for name, shape in payloads.layout.tensors if name in names)


def _print(renderable: RenderableType) -> None:
    Console().print(renderable)
