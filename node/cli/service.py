"""`service`: a systemd user unit for this home's node."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, home_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..home import Home

TrainFlag = Annotated[
    bool | None, typer.Option("--train/--no-train", help="Train as well, or not; default: as `join` and `seed` do.")
]
app = typer.Typer(help="Run the node as a systemd user service.", no_args_is_help=True)

DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]


@app.command()
def install(
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", train: TrainFlag = None, dry_run: DryRunFlag = False
) -> None:
    """Write a unit that runs this home's node, and start it now and with the machine.

    It runs `seed` for an event that was created here, `join` for one that was joined before.
    """
    from ..hosting.service import install as write
    from ..hosting.service import run_systemctl, unit_path, unit_text

    node_home = home_of(home, config)
    text = unit_text(_command(node_home, config, event, train), node_home.path.absolute())
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
    typer.echo("stopped and removed; `collab-node join`, or `seed`, runs the node without it")


def _command(home: Home, config: Path | None, event: str, train: bool | None) -> list[str]:
    from ..event.joining import taken_up_by

    word, folder = taken_up_by(home, event)  # it needs no invite then: the unit holds no token
    command = [sys.executable, "-m", "collab.node", word, "--home", str(home.path.absolute()), "--event", folder.path.name]
    command += ["--config", str(config.absolute())] if config is not None else []
    command += [] if train is None else ["--train" if train else "--no-train"]
    return [*command, "--display", "plain", "--log-file", str(home.log_path.absolute())]
