"""`remote`, `clone`, `fetch` and `push`: histories, proposals, releases and packages between nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of, home_of

if TYPE_CHECKING:
    from ..home import EventFolder, Home
    from ..remotes.outcome import Report

app = typer.Typer(help="Other nodes, homes and bundles to fetch from and push to.", no_args_is_help=True)

_WAIT_SECONDS = 24 * 3600.0
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What it is called here.")]
PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="The peer id of whose key it is.")]
RefsHelp = "Branches, tags, proposals/ID; or all proposals, releases, modules."


@app.command()
def add(
    name: NameArgument,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A node's address, an invite, or a home's or bundle's path.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Remember a remote under a name."""
    from ..remotes import config as remotes
    from ..store import Store

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with Store.open_beside(folder.store_path) as store:
        typer.echo(f"{name} is {remotes.add(store, manifest, name, address).where}")


@app.command("list")
def list_(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """List the remotes, and whose pushes this node takes."""
    from ..remotes import config as remotes
    from ..store import Store

    _, folder = event_of(home, config, event)
    with Store.open(folder.store_path, read_only=True) as store:
        known, pushers = remotes.remotes(store), remotes.pushers(store)
    if as_json:
        rows = [{"name": each.name, "where": each.where} for each in known]
        typer.echo(json.dumps({"remotes": rows, "may_push": pushers}))
        return
    for each in known:
        typer.echo(f"{each.name:<16} {each.where}")
    for peer in pushers:
        typer.echo(f"may push here:   {peer}")
    if not known and not pushers:
        typer.echo("no remotes; `collab-node remote add NAME ADDRESS` makes one")


@app.command()
def remove(name: NameArgument, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Forget a remote, and the branches that were fetched from it."""
    from ..remotes import config as remotes
    from ..store import Store

    _, folder = event_of(home, config, event)
    with Store.open_beside(folder.store_path) as store:
        typer.echo(f"forgot {name} and {remotes.remove(store, name)} of its branches")


@app.command()
def allow(peer: PeerArgument, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Take pushes from a key from now on. Nobody's are taken otherwise."""
    from ..remotes import config as remotes
    from ..store import Store

    _, folder = event_of(home, config, event)
    with Store.open_beside(folder.store_path) as store:
        remotes.allow(store, peer)
    typer.echo(f"{peer} may push to this node")


@app.command()
def forbid(peer: PeerArgument, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Take no pushes from a key any more."""
    from ..remotes import config as remotes
    from ..store import Store

    _, folder = event_of(home, config, event)
    with Store.open_beside(folder.store_path) as store:
        remotes.forbid(store, peer)
    typer.echo(f"{peer} may not push to this node any more")


def clone(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="An invite, another home's folder, or a bundle's file.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Take over an event with all that SOURCE publishes of it, to read and check out. It is not joined, and nothing trains."""
    from ..history.progress import shown_on_terminal
    from ..remotes.cloning import clone as take
    from ..remotes.cloning import origin_of
    from .offline import offline

    origin = origin_of(source, event)
    with shown_on_terminal() as progress:
        cloned = offline(take(home_of(home, config), origin, progress))
    if as_json:
        typer.echo(json.dumps(cloned.fields()))
    else:
        typer.echo("\n".join(cloned.report.lines()))
        typer.echo(f"{cloned.name} ({cloned.event.hex()[:16]}) is here, with main at round {cloned.round}")
    check_taken(cloned.report)


def fetch(
    remote: Annotated[str, typer.Argument(metavar="[REMOTE]", help="Default: the only one, or origin.")] = "",
    refs: Annotated[list[str] | None, typer.Argument(metavar="[REF]…", help=RefsHelp)] = None,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Fetch what a remote publishes: branches become REMOTE/NAME; tags, proposals, releases and packages keep their names."""
    _finish(_carry(*event_of(home, config, event), "fetch", remote, refs or []), as_json)


def push(
    remote: Annotated[str, typer.Argument(metavar="REMOTE")],
    refs: Annotated[list[str], typer.Argument(metavar="REF[:REF]…", help=RefsHelp + " :REF deletes one there.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Also where commits over there are lost, or a tag moves.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Push branches, tags, proposals, releases and packages to a remote whose owner allowed this node's key."""
    _finish(push_to(*event_of(home, config, event), remote, refs, force=force), as_json)


def push_to(home: Home, folder: EventFolder, remote: str, refs: list[str], *, force: bool = False) -> Report:
    """Push and return what became of it. Raises UserError."""
    return _carry(home, folder, "push", remote, refs, force=force)


def check_remote(folder: EventFolder, name: str) -> None:
    """Raise UserError unless there is such a remote."""
    from ..remotes.config import find
    from ..store import Store

    with Store.open(folder.store_path, read_only=True) as store:
        find(store, name)


def check_taken(report: Report) -> None:
    """Raise UserError if a name was refused."""
    if report.refused:
        count = sum(outcome.what == "refused" for outcome in report.outcomes)
        names = {outcome.name for outcome in report.outcomes}
        raise UserError(f"{count} of {len(names)} names refused by {report.where}", "the lines with ! say why")


def _carry(home: Home, folder: EventFolder, what: str, name: str, refs: list[str], *, force: bool = False) -> Report:
    """Fetch or push: over the running node's network where one runs and the remote is a node, else by ourselves."""
    from .. import keys
    from ..control.socket import call
    from ..history.progress import shown_on_terminal
    from ..remotes import run
    from ..remotes.config import find
    from ..remotes.outcome import Report
    from ..remotes.place import is_running, open_place
    from ..store import Store
    from .offline import offline

    with Store.open(folder.store_path, read_only=True) as store:
        remote = find(store, name)
    if remote.path is None and is_running(home):
        asked = {"remote": remote.name, "refs": refs, "force": force, "event": folder.manifest().open().digest.hex()}
        return Report.read(call(home.path, what, timeout=_WAIT_SECONDS, **asked))
    with open_place(home, folder) as place, shown_on_terminal() as progress:
        ends = run.Ends(place, remote, keys.load_or_create(home.identity_path), progress=progress)
        return offline(run.fetch(ends, refs) if what == "fetch" else run.push(ends, refs, force=force))


def _finish(report: Report, as_json: bool) -> None:
    if as_json:
        fields: dict[str, Any] = report.fields()
        typer.echo(json.dumps(fields))
    else:
        typer.echo("\n".join(report.lines()))
    check_taken(report)
