"""`status`: reading a node, whether it runs or not."""

from __future__ import annotations

import json

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, home_of


def status(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """Show what the node is doing, or where it stopped."""
    from ..reading import read_view

    view = read_view(home_of(home, config), event)
    if as_json:
        typer.echo(json.dumps(view.to_dict()))
        return
    from rich.console import Console

    from ..display.panel import render

    console = Console()
    console.print(render(view, console.width, console.height))
