"""`key`: show this node's identity, back it up, restore it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, HomeFlag, home_of

app = typer.Typer(help="This node's identity: what all its credit belongs to.", no_args_is_help=True)

PassphraseFlag = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Read the passphrase from FILE's first line.")
]
_MAX_PASSPHRASE_FILE = 4096


@app.command()
def show(home: HomeFlag = None, config: ConfigFlag = None) -> None:
    """Print this node's peer id."""
    from .. import keys

    typer.echo(keys.require(home_of(home, config).identity_path).peer_id)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
    passphrase_file: PassphraseFlag = None,
) -> None:
    """Write the key to FILE, encrypted with a passphrase."""
    from .. import keys
    from ..files import write_private
    from ..key_backup import seal

    if file.exists():
        raise UserError(f"{file} is already there", "choose another name")
    identity = keys.require(home_of(home, config).identity_path)
    write_private(file, seal(identity, _passphrase(passphrase_file, twice=True)).encode())
    typer.echo(f"wrote {file}: the key of {identity.peer_id}; nobody can read it without the passphrase, not even you")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `key backup` wrote.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
    passphrase_file: PassphraseFlag = None,
) -> None:
    """Put the key in FILE into this home, which must have none yet. Never run one key on two machines at once."""
    from .. import key_backup, keys

    target = home_of(home, config).identity_path
    try:
        with file.open("rb") as source:
            text = source.read(key_backup.MAX_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    peer = key_backup.peer_of(text)
    if target.exists():
        if keys.load(target).peer_id == peer:
            raise UserError(f"this very key is already here: {target}", "there is nothing to restore")
        raise UserError(f"there is already a key {target}", "move it away first, or restore into another home with --home DIR")
    identity = key_backup.unseal(text, _passphrase(passphrase_file, twice=False))
    if keys.create(target, identity).peer_id != identity.peer_id:
        raise UserError(f"somebody made a key {target} meanwhile", "move it away and try again")
    typer.echo(f"restored {identity.peer_id}: what it contributes from here counts for the same peer")
    typer.echo("never run it on two machines at once: the others would see a peer that contradicts itself")


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """Return the passphrase from the file, or from whoever sits at the terminal; it never stands on the command line."""
    if file is not None:
        try:
            with file.open(encoding="utf-8") as source:
                return source.readline(_MAX_PASSPHRASE_FILE).rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the passphrase in {file}: {getattr(error, 'strerror', error)}") from error
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the passphrase", "use --passphrase-file FILE")
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
