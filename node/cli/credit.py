"""`credits` and `certificate`: who gave what, from the signed history, and a statement of it to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of, home_of

if TYPE_CHECKING:
    from rich.table import Table

    from ...protocol.credits import Credit

_WIDE = 90

certificate_app = typer.Typer(help="A signed statement of what a peer gave, to keep and to show.", no_args_is_help=True)


def credits(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The first N peers.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List who gave what, computed from the signed history: every node finds the same."""
    from ..credit.leaderboard import count_credits, read_names
    from ..reading import open_store

    node_home, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store:
        head = store.head_commit()
        ranking, names = count_credits(manifest, store, head).ranking(), read_names(store)
    if as_json:
        named = ((rank, credit, names.get(credit.peer, "")) for rank, credit in enumerate(ranking, 1))
        rows = [{"rank": rank, "name": name, **credit.row()} for rank, credit, name in named]
        found = {"round": head.round, "commit": head.digest.hex(), "credits": rows[:limit]}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    console.print(f"{manifest.name} after round {head.round}, {head.samples:,} samples in all", highlight=False)
    total = head.samples if console.width >= _WIDE else 0
    console.print(_table(ranking[:limit], names, _own(node_home.identity_path), total))


def _own(path: Path) -> str:
    from .. import keys

    try:
        return keys.load(path).peer_id
    except FileNotFoundError:
        return ""


def _table(ranking: tuple[Credit, ...], names: dict[str, str], own: str, samples: int) -> Table:
    """`samples` in all, to say whose part is how large; 0 where there is no room for it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..units import bytes_text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("who", no_wrap=True, overflow="ellipsis", min_width=15)
    part = ("part",) if samples else ()
    for heading in ("samples", *part, "merged", "refused", "checked", "gates", "sent", "served"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rank, credit in enumerate(ranking, 1):
        mine = credit.peer == own
        who = names.get(credit.peer) or f"…{credit.peer[-8:]}"
        share = (f"{credit.samples / samples:.1%}",) if samples else ()
        counts = (f"{count:,}" for count in (credit.contributions, credit.refused, credit.checked, credit.gates))
        table.add_row(
            str(rank), Text(f"{who} (you)" if mine else who), f"{credit.samples:,}", *share, *counts,
            bytes_text(credit.bytes), bytes_text(credit.served), style="bold" if mine else None,
        )  # fmt: skip
    return table


@certificate_app.command("issue")
def issue_certificate(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")],
    peer: Annotated[
        str, typer.Option("--peer", metavar="PEER", help="Whose: a peer id, its end, or a name; default: this node's own.")
    ] = "",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
) -> None:
    """Sign what a peer gave up to the newest commit, with this node's key."""
    from .. import keys
    from ..credit.certifying import issue
    from ..files import atomic_write

    if out.exists():
        raise UserError(f"{out} is already there", "choose another name")
    node_home, folder = event_of(home, config, event)
    identity = keys.require(node_home.identity_path)
    certificate, missing = issue(folder, identity, peer)
    atomic_write(out, certificate.text().encode())
    typer.echo(f"wrote {out}; `collab-node certificate verify {out}` checks it")
    if missing and certificate.open().credit.peer != identity.peer_id:
        typer.echo(f"the event's own word it is once {missing} who sign for it run `collab-node certificate sign {out}`")


@certificate_app.command()
def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate that somebody else has issued.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Sign a certificate too, once this home's history says the same: where several sign for the event."""
    from .. import keys
    from ..credit.certifying import sign as add_signature
    from ..files import atomic_write

    node_home = home_of(home, config)
    certificate, missing = add_signature(file, node_home, keys.require(node_home.identity_path))
    atomic_write(file, certificate.text().encode())
    typer.echo(f"signed {file}; {missing} more must sign" if missing else f"signed {file}: it is the event's own word now")


@certificate_app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Check a certificate: its signature, its text, and its numbers where this home has the event's history."""
    from ..credit.certifying import check

    found = check(file, home_of(home, config))
    if found.agrees is False:
        raise UserError(f"{file} is signed by {found.statement.issuer}, but {found.history}")
    said, credit = found.statement, found.statement.credit
    typer.echo(f"signature: good, by {found.role} ({', '.join(found.signers)})")
    typer.echo(f"says: {credit.samples:,} samples of {credit.peer} in {said.title} up to round {said.round}")
    typer.echo(f"history: {found.history}")
