"""`branch` and `tag`: names for versions, kept by this node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of

if TYPE_CHECKING:
    from ..home import Home
    from ..store import Store

NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="Without a name, all are listed.")]
AtArgument = Annotated[str, typer.Argument(metavar="[REV]", help="Where it points: such as main, v1.2.0, main~3, @12.")]
DeleteFlag = Annotated[bool, typer.Option("--delete", "-d", help="Delete it.")]


def branch(
    name: NameArgument = "", revision: AtArgument = "HEAD", delete: DeleteFlag = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Move one that is there, delete the last way to commits.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """List branches, make one at a commit, or delete one. main itself moves with the swarm's rounds."""
    from ..history import listing, naming
    from ..units import short

    if not name:
        _only_listing(delete, force)
        with _refs_of(home, config, event, write=False) as (_, _, store):
            listing.branches(store, as_json)
        return
    with _refs_of(home, config, event, write=True) as (_, _, store):
        if delete:
            typer.echo(f"deleted branch {name} (was {short(naming.delete_branch(store, name, force=force))})")
        else:
            typer.echo(f"branch {name} is at {short(naming.make_branch(store, name, revision, force=force))}")


def tag(
    name: NameArgument = "", revision: AtArgument = "HEAD", delete: DeleteFlag = False,
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Annotate it, signed by the node.")] = "",
    force: Annotated[bool, typer.Option("--force", "-f", help="Move one that is there.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """List tags, tag a commit, or delete a tag."""
    from .. import keys
    from ..history import listing, naming
    from ..units import short

    if not name:
        _only_listing(delete, force or bool(message))
        with _refs_of(home, config, event, write=False) as (_, _, store):
            listing.tags(store, as_json)
        return
    with _refs_of(home, config, event, write=True) as (found, event_id, store):
        if delete:
            typer.echo(f"deleted tag {name} (was {short(naming.delete_tag(store, name))})")
            return
        signer = keys.load_or_create(found.identity_path) if message else None
        commit = naming.make_tag(
            store, event_id, name, revision, message=message, signer=signer, now=int(time.time()), force=force
        )
        typer.echo(f"tag {name} is at {short(commit)}" + (f", signed by {signer.peer_id}" if signer else ""))


def _only_listing(*flags: bool) -> None:
    if any(flags):
        raise UsageError("a name is missing")


@contextmanager
def _refs_of(home: HomeFlag, config: ConfigFlag, event: EventFlag, *, write: bool) -> Iterator[tuple[Home, bytes, Store]]:
    from ..store import Store

    found, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    opened = Store.open_beside(folder.store_path) if write else Store.open(folder.store_path, read_only=True)
    with opened as store:
        yield found, manifest.digest, store
