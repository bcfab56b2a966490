"""`module test`, `module head` and `module datastore`: modules beside a version of the event's model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, ThreadsFlag, event_of, settings_of

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.event import EventManifest
    from ..store import Store

RevisionArgument = Annotated[str, typer.Argument(metavar="[REV]", help="The version of the base; default: the newest.")]
NewFolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; module.toml is for you to write.")]
FieldFlag = Annotated[str, typer.Option("--field", metavar="NAME", help="Where the text is.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to `module`."""
    app.command("test")(trial)
    app.command("head")(head)
    app.command("datastore")(datastore)


def trial(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="With module.toml: your own, or one that `install` wrote.")],
    revision: RevisionArgument = "HEAD",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Run a module's gates on a version of the event's model with it, against without it: exit code 1 if one fails."""
    from rich.console import Console

    from ..gates.printing import gates_table
    from ..history.progress import shown_on_terminal
    from ..modules.trial import try_out
    from .offline import offline

    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    with _version(home, config, event, revision) as (manifest, store, commit), shown_on_terminal() as progress:
        found = offline(try_out(manifest, store, settings, folder, commit, progress))
    if as_json:
        typer.echo(json.dumps({"commit": commit.digest.hex(), "gates": [each.model_dump() for each in found]}))
    else:
        Console().print(gates_table(f"{folder.absolute().name} in round {commit.round}: before without it, now with it", found))
    if not all(each.passed for each in found):
        raise typer.Exit(1)


def head(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled texts: a JSONL file in the data folder.")],
    folder: NewFolderArgument,
    revision: RevisionArgument = "HEAD",
    field: FieldFlag = "text",
    label: Annotated[str, typer.Option("--label", metavar="NAME", help="Where the label is.")] = "label",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None,
) -> None:  # fmt: skip
    """Train a head on a version's features; half of the texts train it, and gates on that file test it on the other half."""
    from ..modules.making import a_head, make
    from .offline import offline

    asked = a_head(folder, path=data, field=field, label=label)
    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    with _version(home, config, event, revision) as (manifest, store, commit):
        labels = offline(make(manifest, store, settings, commit, asked))
    typer.echo(f"wrote {folder}: a head with {labels} labels")


def datastore(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Text, JSONL or Parquet in the data folder.")],
    folder: NewFolderArgument,
    revision: RevisionArgument = "HEAD",
    field: FieldFlag = "text",
    shard: Annotated[str, typer.Option("--shard", metavar="N/OF", help="Which of its blocks; 0/2 is every other.")] = "",
    entries: Annotated[int, typer.Option("--entries", metavar="N", min=1, help="At most so many.")] = 100_000,
    k: Annotated[int, typer.Option("--k", metavar="K", help="How many neighbours are asked.")] = 8,
    temperature: Annotated[float, typer.Option("--temperature", metavar="T", help="What distances are divided by.")] = 1.0,
    share: Annotated[float, typer.Option("--lambda", metavar="L", help="How much they count; the base counts 1 − L.")] = 0.25,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None,
) -> None:  # fmt: skip
    """Make a retrieval datastore: a version's hidden state at each token of a text, and the token that stood there."""
    from ..modules.making import a_datastore, make
    from .offline import offline

    asked = a_datastore(
        folder, path=data, field=field, shard=shard, entries=entries, k=k, temperature=temperature, share=share
    )  # fmt: skip
    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    with _version(home, config, event, revision) as (manifest, store, commit):
        size = offline(make(manifest, store, settings, commit, asked))
    typer.echo(f"wrote {folder}: a datastore with {size} entries")


@contextmanager
def _version(
    home: HomeFlag, config: ConfigFlag, event: EventFlag, revision: str
) -> Iterator[tuple[EventManifest, Store, Commit]]:
    from ..history.revisions import find_commit
    from ..reading import open_store

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store:
        yield manifest, store, find_commit(store, revision)
