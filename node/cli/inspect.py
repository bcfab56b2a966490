"""`status`, `log` and `export`: reading a node, whether it runs or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of, home_of

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ..store import Store

FORMATS = ("safetensors",)
RoundFlag = Annotated[int | None, typer.Option("--round", metavar="N", min=0, help="The commit of this round, not the newest.")]


def status(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """Show what the node is doing, or where it stopped."""
    from ..reading import read_view

    view = read_view(home_of(home, config), event)
    if as_json:
        typer.echo(json.dumps(view.to_dict()))
        return
    from rich.console import Console

    from ..panel import render

    console = Console()
    console.print(render(view, console.width, console.height))


def log(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest N commits only.")] = None,
    oneline: Annotated[bool, typer.Option("--oneline", help="One line a commit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a commit and line.")] = False,
) -> None:
    """Show the event's history, newest first."""
    from ..reading import commit_fields, commit_line, open_store

    if oneline and as_json:
        raise UsageError("--oneline and --json are two different things", "choose one")
    _, folder = event_of(home, config, event)
    with open_store(folder) as store:
        digests = store.digests(-1 if limit is None else limit)
        if as_json or oneline:
            for digest in digests:
                commit = store.commit(digest)
                typer.echo(json.dumps(commit_fields(commit)) if as_json else commit_line(commit))
        else:
            _print_table(store, digests)


def _print_table(store: Store, digests: list[bytes]) -> None:
    from rich.console import Console

    from ..rounds_table import RoundRow, rounds_table

    Console().print(rounds_table(RoundRow.of(store.commit(digest)) for digest in digests))


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="safetensors.")] = "safetensors",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    round: RoundFlag = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
) -> None:
    """Write the weights after a commit to OUT, replayed and checked against its state hash."""
    import asyncio

    from ..export import export_weights
    from ..reading import open_store

    if format not in FORMATS:
        raise UsageError(f"--format is {' or '.join(FORMATS)} (not {format!r})")
    if out.is_dir() or (out.exists() and not force):
        raise UserError(f"{out} is already there", "choose another name, or --force to replace a file")
    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store:
        commit = _commit_of(store, round)
        asyncio.run(export_weights(manifest, store, commit, out.absolute()))
    typer.echo(f"wrote {out}: {manifest.name} after round {commit.round}, commit {commit.digest.hex()}")


def _commit_of(store: Store, round: int | None) -> Commit:
    if round is None:
        return store.head_commit()
    digest = store.at_round(round)
    if digest is None:
        raise UserError(f"there is no commit of round {round}; the newest is of round {store.head_commit().round}")
    return store.commit(digest)
