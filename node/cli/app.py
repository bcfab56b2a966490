"""The commands and their names. What they need is imported when they run: help comes at once."""

from __future__ import annotations

from typing import Annotated

import typer

from . import dashboard, event, inspect, run
from .commands import Commands

app = typer.Typer(
    name="collab-node",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, merge and version one model together: a node of a peer-to-peer swarm.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"collab-node {version('collab-node')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Take the options that stand before a command."""


app.add_typer(event.app, name="event")
app.add_typer(inspect.key_app, name="key")
app.command("seed")(run.seed)
app.command("join")(run.join)
app.command("stop")(run.stop)
app.command("status")(inspect.status)
app.command("log")(inspect.log)
app.command("export")(inspect.export)
app.command("dashboard")(dashboard.dashboard)
app.command("report")(dashboard.report)
