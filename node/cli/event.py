"""`event`: write one, check it, create it, invite to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from . import invites
from .flags import ConfigFlag, HomeFlag, home_of

if TYPE_CHECKING:
    from ...protocol.event import EventDraft

app = typer.Typer(help="Write, check and create events, and invite volunteers.", no_args_is_help=True)

EventFile = Annotated[Path, typer.Argument(metavar="FILE", help="The event in TOML.")]


@app.command()
def init(file: EventFile = Path("event.toml")) -> None:
    """Write a commented event to FILE, to be edited."""
    from ..event.file import event_template
    from ..files import atomic_write

    if file.exists():
        raise UserError(f"{file} is already there", "choose another name")
    atomic_write(file, event_template().encode())
    typer.echo(f"wrote {file}; edit it, then `collab-node event check {file}`")


@app.command()
def check(file: EventFile) -> None:
    """Say what is wrong with FILE, line by line, or that nothing is."""
    draft = read_draft(file)
    what = f"{draft.model.family} on {draft.data.source}, merged by {draft.merge.method}"
    typer.echo(f"{file}: event {draft.name!r} is valid: {what}")


@app.command()
def create(
    file: EventFile,
    home: HomeFlag = None,
    config: ConfigFlag = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Make the first weights from this seed.")] = 0,
    from_checkpoint: Annotated[
        Path | None, typer.Option("--from-checkpoint", metavar="FILE", help="Start from a checkpoint, as `import` does.")
    ] = None,
    invited: Annotated[bool, typer.Option("--invited", help="Let in whoever has an invite: makes an admission key.")] = False,
) -> None:
    """Sign the event in FILE as its coordinator and start its history."""
    from ..event.create import create_event

    draft = read_draft(file)
    checkpoint = require_checkpoint(from_checkpoint) if from_checkpoint is not None else None
    event = create_event(home_of(home, config), draft, seed=seed, checkpoint=checkpoint, invited=invited)
    typer.echo(f"created event {event.name} {event.digest.hex()}")
    typer.echo("`collab-node seed` starts its first node; `collab-node key backup FILE` keeps the key that it is signed with")


app.command()(invites.invite)
app.command()(invites.invites)


def read_draft(file: Path) -> EventDraft:
    """Read an event file. Raises UserError with a line for every mistake."""
    from ..event.file import EventFileError, read_event_file

    try:
        return read_event_file(file)
    except EventFileError as error:
        raise UserError(str(error)) from error


def require_checkpoint(path: Path) -> Path:
    """Return `path`. Raises UserError if nothing is there."""
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}")
    return path
