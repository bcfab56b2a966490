"""What a volunteer does with a node that runs: `logs`, `pause`, `resume`, `leave`, `restart`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from .flags import ConfigFlag, HomeFlag, home_of

if TYPE_CHECKING:
    from ..home import Home

_REST_SECONDS = 60.0  # a large model's checkpoint has to reach the disk
_POLL_SECONDS = 0.2


def logs(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="Begin with the last N lines.")] = 40,
) -> None:
    """Show the log of a node in the background."""
    from ..hosting.log_file import follow as follow_log
    from ..hosting.log_file import last_lines

    path = home_of(home, config).log_path
    for line in last_lines(path, lines):
        typer.echo(line)
    if follow:
        for line in follow_log(path):
            typer.echo(line)


def pause(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="A note to yourself, shown by `status`.")] = "",
) -> None:
    """Stop training and give the memory back, the GPU's too; the node stays connected. Nothing is lost."""
    from ..control.socket import call

    answer = call(home_of(home, config).path, "pause", timeout=_REST_SECONDS, reason=reason)
    typer.echo(f"paused: {answer['reason']}; `collab-node resume` goes on")


def resume(home: HomeFlag = None, config: ConfigFlag = None) -> None:
    """Go on after `pause`."""
    from ..control.socket import call

    answer = call(home_of(home, config).path, "resume")
    still, was_paused = answer["reason"], answer.get("was_paused", True)
    if still:
        typer.echo(f"{'not paused by you any more' if was_paused else 'you had not paused it'}, but it still rests: {still}")
    else:
        typer.echo("going on where it stopped" if was_paused else "it was not paused, and goes on as before")


def leave(
    home: HomeFlag = None,
    config: ConfigFlag = None,
    now: Annotated[bool, typer.Option("--now", help="At once, as Ctrl-C does; this round's work is kept.")] = False,
) -> None:
    """Hand in what was trained, say goodbye, and stop."""
    from ..control.socket import NotRunning, call

    node_home = home_of(home, config)
    path = node_home.path
    if now:
        call(path, "stop")
        seconds = 0.0
    else:
        answer = call(path, "leave", timeout=_REST_SECONDS)
        seconds = float(answer["seconds"])
        if seconds:
            typer.echo(f"handing in what was trained for round {answer['round']}; at most {seconds:.0f} s")
    try:
        while True:
            time.sleep(_POLL_SECONDS)
            call(path, "status")
    except NotRunning:
        _until_given_back(node_home)
        typer.echo("left; `collab-node join`, or `seed`, comes back, with the same key and all credit")


def _until_given_back(home: Home) -> None:
    """Wait for the process, which still writes after its socket is gone: who starts again must find the home free."""
    for _ in range(int(_REST_SECONDS / _POLL_SECONDS)):
        try:
            with home.lock():
                return
        except UserError:
            time.sleep(_POLL_SECONDS)


def restart(home: HomeFlag = None, config: ConfigFlag = None) -> None:
    """Start the node again in its own place, with the options that it was started with and the settings as they are now."""
    from ..control.socket import call

    path: Path = home_of(home, config).path
    call(path, "restart")
    typer.echo("starting again; `collab-node status` shows how far it is")
