"""`export`, `checkout` and `import`: weights out to other tools, and in from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of, home_of

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.event import EventManifest
    from ..store import Store

FormatFlag = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="safetensors, or transformers: a directory for from_pretrained.")
]
ForceFlag = Annotated[bool, typer.Option("--force", help="Replace what an earlier one wrote.")]


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; with --format transformers, the directory.")],
    format: FormatFlag = "safetensors",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    revision: Annotated[str, typer.Option("--rev", metavar="REV", help="This version: such as v1.2.0, main~3, 4f3a.")] = "",
    round: Annotated[
        int | None, typer.Option("--round", metavar="N", min=0, help="The commit of this round, not the newest.")
    ] = None,
    force: ForceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the weights after a commit to OUT, replayed and checked against its state hash."""
    from ..export import export_weights
    from ..reading import open_store
    from .offline import offline

    _check_format(format)
    if revision and round is not None:
        raise UsageError("--rev and --round both say which version", "choose one")
    if format == "safetensors" and (out.is_dir() or (out.exists() and not force)):
        raise UserError(f"{out} is already there", "choose another name, or --force to replace a file")
    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store:
        commit = _commit_of(store, revision or "HEAD", round)
        if format == "safetensors":
            offline(export_weights(manifest, store, commit, out.absolute()))
        else:
            _check_out(manifest, store, commit, out, format, force)
    _tell(f"wrote {out}:", out, manifest, commit, as_json)


def checkout(
    revision: Annotated[str, typer.Argument(metavar="REV", help="Such as main, v1.2.0, main~3, @12, 4f3a.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to make.")],
    format: FormatFlag = "safetensors",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    force: ForceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Make the directory DIR with the weights of one version, replayed and checked, and a note of what they are."""
    from ..reading import open_store

    _check_format(format)
    _, kept = event_of(home, config, event)
    manifest = kept.manifest().open()
    with open_store(kept) as store:
        commit = _commit_of(store, revision, None)
        _check_out(manifest, store, commit, folder, format, force)
    _tell(f"{folder} is", folder, manifest, commit, as_json)


def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A safetensors file, or what save_pretrained wrote.")],
    event_file: Annotated[Path, typer.Option("--event-file", metavar="FILE", help="The new event in TOML, its model that one.")],
    home: HomeFlag = None,
    config: ConfigFlag = None,
    invited: Annotated[bool, typer.Option("--invited", help="Let in whoever has an invite: makes an admission key.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a checkpoint the root commit of a new event."""
    from ...protocol.commit import root_commit
    from ..event.create import create_event
    from .event import read_draft, require_checkpoint

    draft = read_draft(event_file)
    event = create_event(home_of(home, config), draft, checkpoint=require_checkpoint(source), invited=invited)
    root = root_commit(event).digest.hex()
    if as_json:
        typer.echo(json.dumps({"event": event.name, "event_id": event.digest.hex(), "commit": root}))
        return
    typer.echo(f"created event {event.name} {event.digest.hex()}")
    typer.echo(f"its root commit {root} is {source}")


def _tell(what: str, out: Path, event: EventManifest, commit: Commit, as_json: bool) -> None:
    if as_json:
        fields = {"path": str(out), "event": event.name, "commit": commit.digest.hex(), "round": commit.round}
        typer.echo(json.dumps({**fields, "state": commit.state.hex()}))
    else:
        typer.echo(f"{what} {event.name} after round {commit.round}, commit {commit.digest.hex()}")


def _check_format(format: str) -> None:
    from ..history.checkout import FORMATS

    if format not in FORMATS:
        raise UsageError(f"--format is {' or '.join(FORMATS)} (not {format!r})")


def _check_out(event: EventManifest, store: Store, commit: Commit, folder: Path, format: str, force: bool) -> None:
    from ..history.checkout import check_out
    from .offline import offline

    offline(check_out(event, store, commit, folder.absolute(), format, force=force))


def _commit_of(store: Store, revision: str, round: int | None) -> Commit:
    from ..history.revisions import find_commit

    if round is None:
        return find_commit(store, revision)
    digest = store.at_round(round)
    if digest is None:
        raise UserError(f"there is no commit of round {round}; the newest is of round {store.head_commit().round}")
    return store.commit(digest)
