"""`log`, `show`, `diff` and `blame`: reading what happened to the weights, as git's commands of these names read code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, ThreadsFlag, event_of, settings_of

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.event import EventManifest
    from ..history.moves import Move
    from ..history.payloads import Payloads
    from ..settings import Settings
    from ..store import Store

RangeArgument = Annotated[str, typer.Argument(metavar="[REV|RANGE]", help="Such as main, v1.2.0, main~3, @12, v1..main.")]
RevisionArgument = Annotated[str, typer.Argument(metavar="[REV]", help="Such as main, v1.2.0, main~3, @12, 4f3a.")]


def log(
    revision: RangeArgument = "HEAD",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest N commits only.")] = None,
    all_refs: Annotated[bool, typer.Option("--all", help="What any branch or tag reaches.")] = False,
    oneline: Annotated[bool, typer.Option("--oneline", help="One line a commit.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="One line a commit, beside the graph of commits.")] = False,
    stat: Annotated[bool, typer.Option("--stat", help="With each commit, the tensors that it moved farthest.")] = False,
    by: Annotated[str, typer.Option("--by", metavar="WHOM", help="contributor: what each one did, in all.")] = "",
    tensor: Annotated[str, typer.Option("--tensor", metavar="NAME", help="Commits that moved it (* is a wildcard).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a commit and line.")] = False,
) -> None:
    """Show the event's history, newest first: all that a commit descends from, or a range."""
    from ..history import printing

    if as_json and (oneline or graph):
        raise UsageError("--json is for scripts, --oneline and --graph for people", "choose one")
    if by not in ("", "contributor"):
        raise UsageError(f"--by is contributor (not {by!r})")
    with _reading(home, config, event) as (manifest, store):
        shown = printing.chosen(store, revision, all_refs=all_refs, limit=limit)
        if by:
            printing.contributors(shown, as_json)
        elif tensor:
            printing.tensor(shown, _payloads(manifest, store), tensor, as_json)
        elif as_json:
            printing.json_lines(shown)
        elif oneline or graph or stat:
            printing.lines(shown, graph=graph, payloads=_payloads(manifest, store) if stat else None)
        else:
            printing.rounds(shown)


def show(
    revision: RevisionArgument = "HEAD", home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show one commit: its contributions and their weights, who was left out and why, who signed it, what it moved."""
    from ..history import printing
    from ..history.moves import moves_of
    from ..history.revisions import find_commit

    with _reading(home, config, event) as (manifest, store):
        commit = find_commit(store, revision)
        moves: list[Move] | None = None
        parts: list[list[Move]] = []
        missing = ""
        payloads = _payloads(manifest, store)
        try:
            if commit.method == "proposals":
                parts = [moves_of(change) for _, change in payloads.changes(commit)]
            moves = moves_of(payloads.change(commit))
        except UserError as error:
            missing = error.message
        printing.commit(store, commit, moves, parts, payloads.layout, missing, as_json)


def diff(
    older: Annotated[str, typer.Argument(metavar="A|A..B", help="The older version; alone, it is compared with main.")],
    newer: Annotated[str | None, typer.Argument(metavar="[B]", help="The newer version.")] = None,
    tasks: Annotated[bool, typer.Option("--tasks", help="What the event's gates measure of both, not the tensors.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show what differs between the weights of two versions, tensor by tensor; both are replayed and checked first."""
    from ..history import printing
    from ..history.revisions import find_pair
    from ..history.versions import diff_commits
    from .offline import offline

    with _reading(home, config, event) as (manifest, store):
        first, second = find_pair(store, older, newer)
        if tasks:
            settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
            _diff_tasks(manifest, store, settings, first, second, as_json)
            return
        if first.state == second.state and not as_json:
            typer.echo("the weights are the same, bit for bit")
            return
        printing.diff(first, second, offline(diff_commits(manifest, store, first, second)), as_json)


def _diff_tasks(
    manifest: EventManifest, store: Store, settings: Settings, first: Commit, second: Commit, as_json: bool
) -> None:
    from ..gates.run import run_gates
    from ..history import printing
    from ..history.progress import shown_on_terminal
    from .offline import offline

    if not manifest.gate:
        raise UserError("the event has no gates, so there is nothing to measure", "its [[gate]] sections are its tasks")
    with shown_on_terminal() as progress:
        found = offline(run_gates(manifest, store, settings, manifest.gate, second, first, progress))
    printing.diff_tasks(first, second, found, as_json)


def blame(
    tensor: Annotated[str, typer.Argument(metavar="TENSOR", help="Its name, or a pattern such as 'layers.0.*'.")],
    revision: RangeArgument = "HEAD",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show who moved a tensor, how far, and in which commits."""
    from ..history import printing

    with _reading(home, config, event) as (manifest, store):
        shown = printing.chosen(store, revision)
        printing.blame(shown, _payloads(manifest, store), tensor, as_json)


@contextmanager
def _reading(home: HomeFlag, config: ConfigFlag, event: EventFlag) -> Iterator[tuple[EventManifest, Store]]:
    from ..reading import open_store

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store:
        yield manifest, store


def _payloads(manifest: EventManifest, store: Store) -> Payloads:
    from ..history.payloads import Payloads

    return Payloads(manifest, store)
