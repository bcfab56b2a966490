"""`verify`, `fsck`, `gc`, `bundle`, `unbundle`: is a history whole and true, and how it is carried elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from ..units import counted
from .flags import ConfigFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, home_of, settings_of
from .offline import offline

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
    from ..history.progress import shown_on_terminal
    from ..history.verify import verify as check
    from ..reading import open_store
    from ..units import short

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store, shown_on_terminal() as progress:
        digest = digest_of(store, revision)
        report = offline(check(manifest, store, digest, settings_of(config, device=device), progress, replay=replay))
    if as_json:
        typer.echo(json.dumps(report.fields()))
    elif report.wrong is not None:
        for line in report.wrong.lines():
            typer.echo(line, err=True)
    else:
        replayed = f", {counted(report.replayed, 'merge')} replayed from round {report.start}" if replay else ""
        what = _counts(report.commits, report.payloads, report.snapshots) + replayed
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
    what = f"{counted(found.commits, 'commit')}, {counted(found.contributions, 'contribution')}, {counted(found.blobs, 'blob')}"
    what += f", {counted(found.files, 'unfinished file')}"
    typer.echo(f"{'would delete' if dry_run else 'deleted'} {what}: {bytes_text(found.bytes)}")


def bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    revisions: Annotated[str, typer.Argument(metavar="[RANGE]", help="Such as v1.2.0..main; default: everything.")] = "",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    snapshots: Annotated[
        bool, typer.Option("--snapshots/--no-snapshots", help="With the snapshots, or only those that a replay needs.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the history, or a part of it, into one file, for `unbundle` elsewhere."""
    from ..history.bundle import write_bundle
    from ..history.progress import shown_on_terminal
    from ..history.revisions import find_commits
    from ..reading import open_store
    from ..units import bytes_text, short

    if file.is_dir() or (file.exists() and not force):
        raise UserError(f"{file} is already there", "choose another name, or --force to replace a file")
    _, folder = event_of(home, config, event)
    manifest = folder.manifest()
    with open_store(folder) as store, shown_on_terminal() as progress:
        chosen = find_commits(store, revisions) if revisions else None
        made = write_bundle(manifest, store, file.absolute(), chosen, progress, snapshots=snapshots)
    if as_json:
        typer.echo(json.dumps(made.fields()))
        return
    what = f"{_counts(made.commits, made.payloads, made.snapshots)}, {bytes_text(made.size)}"
    thin = f"; for whoever has {', '.join(short(digest) for digest in made.needs)}" if made.needs else ""
    typer.echo(f"wrote {file}: {what}{thin}")


def unbundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `bundle` wrote.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Take over the history in FILE, each commit and blob verified. The node must not run meanwhile."""
    from ..history.progress import shown_on_terminal
    from ..history.unbundle import unbundle as take

    with shown_on_terminal() as progress:
        taken = take(home_of(home, config), file, progress)
    if as_json:
        typer.echo(json.dumps(taken.fields()))
        return
    what = f"{_counts(taken.commits, taken.payloads, taken.snapshots)}, {counted(taken.refs, 'ref')}"
    where = f"the newest commit {'is now' if taken.moved else 'stays'} that of round {taken.round}"
    typer.echo(f"event {taken.event.hex()[:16]}: new are {what}; {where}")
    for name in taken.kept:
        typer.echo(f"note: {name} is elsewhere in the bundle; yours stays where it is")


def digest_of(store: Store, revision: str) -> bytes:
    """Return the id of the commit that is meant; its bytes may be damaged. Raises UserError."""
    from ...protocol.refs import resolve
    from ..history.graph import StoreGraph
    from ..history.revisions import ref_errors

    with ref_errors():
        return resolve(StoreGraph(store), revision)


def _counts(commits: int, payloads: int, snapshots: int) -> str:
    return f"{counted(commits, 'commit')}, {counted(payloads, 'payload')}, {counted(snapshots, 'snapshot')}"
