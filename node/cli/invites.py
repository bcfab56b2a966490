"""`event invite` and `event invites`: making the line that a volunteer pastes, and what became of those that were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of

if TYPE_CHECKING:
    from ...protocol.invite import Invite


def invite(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="MULTIADDRESS", help="How peers reach this node; default: what the running node says."),
    ] = None,
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="Good for a time such as 12h or 7d.")] = "",
    uses: Annotated[int, typer.Option("--uses", metavar="N", min=0, max=8192, help="Good for N nodes; 0: any number.")] = 0,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="For yourself: `event invites` shows it.")] = "",
    qr: Annotated[bool, typer.Option("--qr", help="Print it as a QR code, too.")] = False,
) -> None:
    """Print the line that a volunteer passes to `join`; in an event by invitation it has a token of its own."""
    import time

    from ..event.inviting import make_invite, wanted

    node_home, folder = event_of(home, config, event)
    made = make_invite(node_home, folder, address or [], wanted(expires, uses, note), time.time())
    typer.echo(made.text())
    if qr:
        _show_qr(made)


def _show_qr(made: Invite) -> None:
    import shutil

    from ..event.qr import qr_text

    columns = shutil.get_terminal_size().columns
    held, lines = qr_text(made, columns)
    if len(lines[0]) > columns:
        typer.echo(f"hint: the QR code needs {len(lines[0])} columns, this terminal has {columns}: make it wider", err=True)
        return
    for line in lines:
        typer.secho(line, fg="bright_white", bg="black")
    if len(held.bootstrap) < len(made.bootstrap):
        typer.echo(f"(the code holds {len(held.bootstrap)} of the {len(made.bootstrap)} addresses in the line)", err=True)


def invites(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """List the invites that were made in this home, and how many nodes got in by each."""
    import json
    import time

    from ..amendments.making import standing
    from ..event.inviting import admitted_so_far, issued_invites
    from ..reading import open_store

    _, folder = event_of(home, config, event)
    found = issued_invites(folder)
    with open_store(folder) as store:
        admitted, revoked = admitted_so_far(folder.manifest().open(), store), standing(folder, store).in_force.revoked
    if as_json:
        rows = [
            {
                "id": one.token.hex(), "used": len(admitted.by(one.token)), "revoked": one.token in revoked,
                **one.model_dump(exclude={"token"}),
            }
            for one in found
        ]  # fmt: skip
        typer.echo(json.dumps({"invites": rows}, ensure_ascii=False))
        return
    from rich.console import Console

    from ..event.invites_table import invites_table

    Console().print(invites_table(found, admitted, revoked, time.time()) if found else "no invite was made in this home")
