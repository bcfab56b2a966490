"""`status` and `key`: reading a node, whether it runs or not."""

from __future__ import annotations

import json

import typer

from ..errors import UserError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, home_of

key_app = typer.Typer(help="This node's identity.", no_args_is_help=True)


@key_app.command()
def show(home: HomeFlag = None, config: ConfigFlag = None) -> None:
    """Print this node's peer id."""
    from .. import keys

    path = home_of(home, config).identity_path
    try:
        typer.echo(keys.load(path).peer_id)
    except FileNotFoundError as error:
        raise UserError(f"there is no key {path} yet", "`event create` and `join` make one") from error


def status(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """Show what the node is doing, or where it stopped."""
    from ..reading import read_view

    view = read_view(home_of(home, config), event)
    if as_json:
        typer.echo(json.dumps(view.to_dict()))
        return
    from rich.console import Console

    from ..display import render

    Console().print(render(view))
