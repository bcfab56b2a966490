"""`add`, `install` and `module`: packages of adapters, experts, heads and datastores, and what a project takes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UserError
from .flags import (
    ConfigFlag,
    DataFlag,
    DeviceFlag,
    EventFlag,
    HomeFlag,
    JsonFlag,
    ThreadsFlag,
    event_of,
    home_of,
    settings_of,
)  # fmt: skip

app = typer.Typer(help="Packages: make, try and publish them; LoRA adapters in and out.", no_args_is_help=True)

IndexFlag = Annotated[
    Path, typer.Option("--index", metavar="DIR", envvar="COLLAB_INDEX", help="The folder of packages; or set COLLAB_INDEX.")
]
ProjectFlag = Annotated[Path, typer.Option("--dir", metavar="DIR", help="The project; default: this folder.")]


def add(
    wanted: Annotated[list[str], typer.Argument(metavar="NAME@RANGE…", help="Such as bengali-ner@^1.2 or 'ner@>=1.2,<2'.")],
    index: IndexFlag,
    project: ProjectFlag = Path(),
    trust: Annotated[bool, typer.Option("--trust-publisher", help="Take a package whose publisher changed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Require packages: choose versions that fit all together, and lock them in modules.lock."""
    from ...protocol.errors import LocalProtocolError
    from ...protocol.module import Requirement
    from ..modules import install as installing
    from ..modules.index import Index

    try:
        parsed = [Requirement.parse(text) for text in wanted]
    except LocalProtocolError as error:
        raise UserError(str(error)) from error
    _print(installing.add(project, Index.open(index), parsed, trust=trust), as_json, "locked")


def install(index: IndexFlag, project: ProjectFlag = Path(), as_json: JsonFlag = False) -> None:
    """Make the folder modules/ exactly what modules.lock says, bit for bit."""
    from ..modules import install as installing
    from ..modules.index import Index

    _print(installing.install(project, Index.open(index)), as_json, "installed")


def retest_dependents(
    index: IndexFlag,
    revision: Annotated[str, typer.Argument(metavar="[REV]", help="The new base; default: the newest version.")] = "HEAD",
    against: Annotated[str, typer.Option("--against", metavar="REV", help="The old base; default: the last release.")] = "",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Re-test the packages that require the event's model on a new version: exit code 1 if one got worse or does not fit."""
    from ..history.progress import shown_on_terminal
    from ..history.revisions import find_commit
    from ..modules.dependents import dependents_on, retest
    from ..modules.index import Index
    from ..reading import open_store
    from ..releases.publish import Desk
    from .offline import offline
    from .release import dependent_fields

    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    opened = Index.open(index)
    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    with open_store(folder) as store, shown_on_terminal() as progress:
        newer = find_commit(store, revision)
        older, version = Desk(folder, manifest, store).base(against)
        modules = dependents_on(opened, manifest.name, version)
        found = offline(retest(manifest, store, settings, opened, modules, older, newer, progress))
    if as_json:
        rows = [dependent_fields(each) for each in found]
        typer.echo(json.dumps({"older": older.digest.hex(), "newer": newer.digest.hex(), "dependents": rows}))
    else:
        typer.echo("\n".join([line for each in found for line in each.lines()] or [f"nothing there requires {manifest.name}"]))
    if any(each.failed for each in found):
        raise typer.Exit(1)


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="With module.toml; `releases export` writes such a folder too.")],
    index: IndexFlag, home: HomeFlag = None, config: ConfigFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Publish a folder as a package, signed with this node's key."""
    from .. import keys
    from ..modules.index import Index
    from ..modules.pack import pack as publish

    signer = keys.load_or_create(home_of(home, config).identity_path)
    _print([publish(folder, Index(index), signer)], as_json, "published")


@app.command("list")
def list_(index: IndexFlag, as_json: JsonFlag = False) -> None:
    """List the packages of an index; their signatures are checked."""
    from ..modules.index import Index

    opened = Index.open(index)
    _print([held for name in opened.names() for held in opened.versions(name)], as_json, "")


@app.command()
def apply(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The base model's safetensors file.")],
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A LoRA adapter's folder, as peft writes it.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The safetensors file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a base model's weights with a LoRA adapter merged into them."""
    from ..modules.adapter import apply_adapter
    from ..modules.pack import MANIFEST, read_module

    if (adapter / MANIFEST).exists() and (module := read_module(adapter)).kind != "adapter":
        problem = f"{module.name} is of kind {module.kind}, which no weights of the base's own shape can hold"
        raise UserError(problem, f"`collab-node module test {adapter}` puts it into the event's model")
    if out.exists() and not force:
        raise UserError(f"{out} is already there", "choose another name, or --force to replace it")
    typer.echo(f"wrote {out}: the adapter changed {apply_adapter(base, adapter, out)} tensors")


@app.command()
def extract(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The base model's safetensors file.")],
    tuned: Annotated[Path, typer.Argument(metavar="TUNED", help="The same model after fine-tuning.")],
    folder: Annotated[Path, typer.Argument(metavar="ADAPTER", help="The folder to make, for peft to load.")],
    rank: Annotated[int, typer.Option("--rank", metavar="R", min=1, max=65536, help="The rank of the matrices.")] = 8,
) -> None:
    """Make a LoRA adapter of what a fine-tuning changed."""
    from ..modules.adapter import extract_adapter

    if folder.exists():
        raise UserError(f"{folder} is already there", "choose another name")
    lost = extract_adapter(base, tuned, folder, rank)
    typer.echo(f"wrote {folder}: rank {rank} leaves out {100 * lost:.3g}% of the change")


def _print(found: list[Any], as_json: bool, done: str) -> None:
    rows = [
        {
            "name": held.package.module.name, "version": held.package.module.version, "kind": held.package.module.kind,
            "record": held.digest.hex(), "publisher": held.package.publisher, "requires": list(held.package.module.requires),
        }
        for held in found
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"packages": rows}))
        return
    for row in rows:
        typer.echo(f"{done} {row['name']} {row['version']}  {row['kind']}  {row['record'][:12]}".strip())
