"""`verify`, `fsck`, `gc`: is what this node keeps whole and true, and is all of it needed?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, settings_of

if TYPE_CHECKING:
    from ..store import Store

Revision = Annotated[str, typer.Argument(help="A version; default: the newest.")]


def verify(
    revision: Revision = "HEAD",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    replay: Annotated[bool, typer.Option("--replay/--no-replay", help="Replay every merge, not only check the bytes.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Prove a version: every hash, signature and certificate, and by replay every state. Names the first thing that is wrong."""
    import asyncio

    from ..history.progress import shown_on_terminal
    from ..history.verify import verify as check
    from ..reading import open_store
    from ..units import short

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store, shown_on_terminal() as progress:
        digest = digest_of(store, revision)
        report = asyncio.run(check(manifest, store, digest, settings_of(config, device=device), progress, replay=replay))
    if as_json:
        typer.echo(json.dumps(report.fields()))
    elif report.wrong is not None:
        for line in report.wrong.lines():
            typer.echo(line, err=True)
    else:
        replayed = f", {report.replayed} merges replayed from round {report.start}" if replay else ""
        what = f"{report.commits} commits, {report.payloads} payloads, {report.snapshots} snapshots{replayed}"
        typer.echo(f"round {report.round}, commit {short(digest)}, is whole: {what}")
    if report.wrong is not None:
        raise typer.Exit(1)


def fsck(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """Check the store without replaying: every blob's hash, the index, the chain; say for each finding what to do."""
    from ..history.fsck import fsck as check
    from ..history.progress import shown_on_terminal

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with shown_on_terminal() as progress:
        found = check(manifest, folder.store_path, progress)
    errors = [finding for finding in found if finding.severity == "error"]
    if as_json:
        typer.echo(json.dumps({"errors": len(errors), "findings": [finding.fields() for finding in found]}))
    else:
        for finding in found:
            for line in finding.lines():
                typer.echo(line, err=finding.severity == "error")
        typer.echo(f"{len(errors)} errors" if errors else "no errors")
    if errors:
        raise typer.Exit(1)


def gc(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be deleted.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete what no branch, tag, snapshot or open contribution needs. The node must not run meanwhile."""
    from contextlib import nullcontext

    from ..history.gc import gc as collect
    from ..units import bytes_text

    node_home, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with nullcontext() if dry_run else node_home.lock():
        found = collect(manifest, folder.store_path, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(found.fields()))
        return
    what = f"{found.commits} commits, {found.contributions} contributions, {found.blobs} blobs, {found.files} unfinished files"
    typer.echo(f"{'would delete' if dry_run else 'deleted'} {what}: {bytes_text(found.bytes)}")


def digest_of(store: Store, revision: str) -> bytes:
    """Return the id of the commit that is meant; its bytes may be damaged. Raises UserError."""
    from ...protocol.refs import resolve
    from ..history.graph import StoreGraph
    from ..history.revisions import ref_errors

    with ref_errors():
        return resolve(StoreGraph(store), revision)
