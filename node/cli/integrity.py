"""`verify`: is what this node keeps whole and true?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .flags import ConfigFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, settings_of

if TYPE_CHECKING:
    from ..store import Store

Revision = Annotated[str, typer.Argument(metavar="[REV]", help="A version; default: the newest.")]


def verify(
    revision: Revision = "",
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


def digest_of(store: Store, revision: str) -> bytes:
    """Return the commit that is meant: a full id, or the newest. Raises UserError."""
    if not revision:
        return store.head_commit().digest
    try:
        digest = bytes.fromhex(revision)
    except ValueError:
        digest = b""
    if not store.has_commit(digest):
        raise UserError(f"there is no commit {revision}", "`collab-node log` lists them")
    return digest
