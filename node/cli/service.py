"""`service`: a systemd user unit for this home's node."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, home_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..home import Home

app = typer.Typer(help="Run the node as a systemd user service.", no_args_is_help=True)

DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]


@app.command()
def install(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", dry_run: DryRunFlag = False) -> None:
    """Write a unit that runs this home's node (`join` it once before), and start it now and with the machine."""
    from ..event.joining import remembered_invite
    from ..hosting.service import install as write
    from ..hosting.service import run_systemctl, unit_path, unit_text

    node_home = home_of(home, config)
    remembered_invite(node_home, event)  # so that `join` needs none: the unit holds no token
    text = unit_text(_command(node_home, config, event), node_home.path.absolute())
    if dry_run:
        typer.echo(text, nl=False)
        return
    write(text, unit_path(), run_systemctl)
    typer.echo(f"wrote {unit_path()} and started it; `collab-node status` and `logs -f` show it")
    typer.echo("to run it while nobody is logged in: loginctl enable-linger")


@app.command()
def remove(dry_run: DryRunFlag = False) -> None:
    """Stop the service, and take its unit away. The home stays as it is."""
    from ..hosting.service import remove as take_away
    from ..hosting.service import run_systemctl, unit_path

    if dry_run:
        typer.echo(f"would stop the service and remove {unit_path()}")
        return
    take_away(unit_path(), run_systemctl)
    typer.echo("stopped and removed; `collab-node join` runs the node without it")


def _command(home: Home, config: Path | None, event: str) -> list[str]:
    command = [sys.executable, "-m", "collab.node", "join", "--home", str(home.path.absolute())]
    command += ["--event", event] if event else []
    command += ["--config", str(config.absolute())] if config is not None else []
    return [*command, "--display", "plain", "--log-file", str(home.log_path.absolute())]
