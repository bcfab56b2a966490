"""`release` and `releases`: versions that the maintainers sign for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, ThreadsFlag, event_of, settings_of

if TYPE_CHECKING:
    from datetime import datetime

    from ...protocol.dependent import Dependent
    from ...protocol.identity import Identity
    from ...protocol.release import Release
    from ..releases.files import Files
    from ..releases.publish import Desk

app = typer.Typer(help="Releases: list, show, export, hand on, and who may make them.", no_args_is_help=True)

VersionArgument = Annotated[str, typer.Argument(metavar="[VERSION]", help="Such as 1.2.0; default: the newest.")]


def release(
    revision: Annotated[str, typer.Argument(metavar="[REV]", help="The commit to release; default: the newest.")] = "HEAD",
    version: Annotated[str, typer.Option("--version", metavar="X.Y.Z", help="Higher than the computed one, never lower.")] = "",
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="What is new, in your words.")] = "",
    licence: Annotated[str, typer.Option("--licence", metavar="ID", help="Of the weights, such as apache-2.0.")] = "unknown",
    verdicts: Annotated[
        list[Path] | None,
        typer.Option("--verdicts", metavar="FILE", help="Another peer's `gate run --json --sign`; may be repeated."),
    ] = None,
    require: Annotated[
        int, typer.Option("--require", metavar="M", min=1, help="Verdicts of at least M peers on each gate, or as gates say.")
    ] = 1,
    despite: Annotated[
        str, typer.Option("--despite-contradictions", metavar="REASON", help="Release though peers' verdicts contradict.")
    ] = "",
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Re-test the packages there that require the last release.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Your own gates (TOML), too: tasks to promise from now on.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute the version and show why; release nothing.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Release a commit: its version is computed from what changed since the last release, and signed with the evidence."""
    from ..gates.file import read_gate_file
    from ..gates.verdicts import read_verdicts
    from ..history.progress import shown_on_terminal
    from ..history.revisions import find_commit
    from ..modules.index import Index
    from ..releases import roles
    from ..releases.opinions import Wish
    from ..releases.publish import prepare
    from .offline import offline

    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    wish = Wish(version, message, licence.lower(), [signed for file in verdicts or [] for signed in read_verdicts(file)],
                require, despite, None if index is None else Index.open(index),
                read_gate_file(file) if file is not None else ())
    with _at_desk(home, config, event, write=True) as desk, shown_on_terminal() as progress:
        signer, now = _signer(home, config), _now()
        before = desk.files()
        files = desk.started(signer, now)
        roles.check_signer(files, signer)
        made = offline(prepare(desk, find_commit(desk.store, revision), wish, signer, settings, now, progress))
        lacking = 0
        if not dry_run:
            files = roles.add_release(files, made, signer, now)
            desk.keep(files, before)
            lacking = roles.missing(files)
    if as_json:
        typer.echo(json.dumps(fields_of(made) | {"missing_signatures": lacking, "dry_run": dry_run}))
    else:
        _announce(made, lacking, dry_run)


def _announce(made: Release, lacking: int, dry_run: bool) -> None:
    from ..units import short

    why = made.evidence.reason() if made.evidence is not None else "the first release"
    what = f"{made.title} {made.version}: round {made.round}, commit {short(made.commit)} ({why})"
    if dry_run:
        typer.echo(f"would release {what}")
    elif lacking:
        typer.echo(f"{what} waits for {lacking} more signature{'s' if lacking > 1 else ''}")
        typer.echo("hand it on with `collab-node releases push DIR`; the others pull it, sign it and push it back")
    else:
        typer.echo(f"released {what}")


@app.command("list")
def list_(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False) -> None:
    """List the releases, newest version first; their signatures are checked."""
    from ..units import printable, short

    with _at_desk(home, config, event) as desk:
        found = desk.known()
    if not found and not as_json:
        typer.echo("no releases")
    for made in found:
        if as_json:
            typer.echo(json.dumps(fields_of(made)))
        else:
            first_line = printable((made.message.splitlines() or [""])[0])
            typer.echo(f"{made.version:<12} {short(made.commit)}  round {made.round:<6} {first_line}".rstrip())


@app.command()
def show(
    version: VersionArgument = "", home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show a release: what it was computed from, who signed verdicts, what is new."""
    from ..units import printable

    with _at_desk(home, config, event) as desk:
        made = desk.find(version)
    if as_json:
        typer.echo(json.dumps(fields_of(made)))
        return
    why = made.evidence.reason() if made.evidence is not None else "the first release"
    rows = [("commit", f"{made.commit.hex()} (round {made.round})"), ("why", why), ("licence", made.licence),
            ("released by", made.releaser)]  # fmt: skip
    rows += [("despite", printable(made.despite))] if made.despite else []
    rows += [("promises", ", ".join(made.tasks))] if made.tasks else []
    rows += [("verdict", f"{verdict.measurement.sentence()} — {peer}") for peer, verdict in made.opened_verdicts()]
    rows += [("module", printable(line)) for each in made.dependents for line in each.lines()]
    typer.echo(printable(f"{made.title} {made.version}"))
    for label, value in rows:
        typer.echo(f"{label:<12} {value}")
    typer.echo(printable("\n" + "\n\n".join(part for part in (made.message, made.changelog) if part)))


@app.command()
def export(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Such as 1.2.0.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to make.")],
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="safetensors or transformers.")] = "safetensors",
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier one wrote.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Write a release for its users: weights, a model card, CITATION.cff, and module.toml for others to depend on."""
    from ..history.checkout import FORMATS
    from ..releases.export import export_release
    from .offline import offline

    if format not in FORMATS:
        raise UserError(f"--format is {' or '.join(FORMATS)} (not {format!r})")
    with _at_desk(home, config, event) as desk:
        made = desk.find(version)
        offline(export_release(desk.event, desk.store, made, folder.absolute(), format, force=force))
    typer.echo(f"{folder} is {made.title} {made.version}")


@app.command()
def sign(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Sign what waits for signatures: a release, or other maintainers."""
    from ..releases import roles

    with _at_desk(home, config, event, write=True) as desk:
        before = desk.files()
        version = roles.pending_release(_some(before))
        files = roles.sign(before, _signer(home, config), _now())
        desk.keep(files, before)
        lacking = roles.missing(files)
    what = f"release {version}" if version else "the change of maintainers"
    typer.echo(f"signed {what}; {lacking} more must sign" if lacking else f"signed {what}, which is in effect now")


@app.command()
def drop(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Forget what waits for signatures; what is in effect stays."""
    from ..releases import roles

    with _at_desk(home, config, event, write=True) as desk:
        before = desk.files()
        desk.keep(roles.without_pending(_some(before)), before)
    typer.echo("nothing waits for signatures now")


@app.command()
def renew(home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Say anew, as a maintainer, which releases are the newest: that word holds for 30 days."""
    from ..releases import roles

    with _at_desk(home, config, event, write=True) as desk:
        before, signer, now = desk.files(), _signer(home, config), _now()
        files = roles.renew(desk.started(signer, now), signer, now)
        desk.keep(files, before)
        lacking = roles.missing(files)
    typer.echo(f"{lacking} more must sign" if lacking else f"renewed for {roles.SHORT.days} days")


@app.command()
def maintainers(
    peers: Annotated[list[str] | None, typer.Argument(metavar="[PEER]…", help="All who are maintainers from now on.")] = None,
    threshold: Annotated[int, typer.Option("--threshold", metavar="K", min=1, help="So many of them must sign.")] = 1,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show who signs releases, or change it: the old maintainers and the new ones have to sign that."""
    from ..releases import roles

    if not peers:
        with _at_desk(home, config, event) as desk:
            named, needed = roles.maintainers(desk.files(), desk.signers()[-1])
        if as_json:
            typer.echo(json.dumps({"maintainers": named, "threshold": needed}))
        else:
            typer.echo("\n".join([f"{needed} of these must sign:", *named]))
        return
    with _at_desk(home, config, event, write=True) as desk:
        signer, now = _signer(home, config), _now()
        before = desk.files()
        files = roles.change_maintainers(desk.started(signer, now), peers, threshold, signer, now)
        desk.keep(files, before)
        lacking = roles.missing(files)
    typer.echo(f"{lacking} more must sign" if lacking else "changed")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Any client of The Update Framework can read it.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Write the releases' signed records to a directory, for others to pull."""
    from ..releases import files as shelf

    with _at_desk(home, config, event) as desk:
        shelf.write_folder(_some(desk.files()), folder)
    typer.echo(f"wrote the releases to {folder}")


@app.command()
def pull(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `push` wrote.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Take over the releases from a directory, if the maintainers signed them and nothing rolls back."""
    from ..releases import files as shelf

    with _at_desk(home, config, event, write=True) as desk:
        found = desk.keep(shelf.read_folder(folder), desk.files())
    typer.echo(f"{len(found)} release{'' if len(found) == 1 else 's'}, the newest {found[0].version if found else 'none'}")


def fields_of(made: Release) -> dict[str, Any]:
    """Return a release as plain values; digests in hex."""
    from ...protocol.record import sha256

    evidence = made.evidence.model_dump(mode="python") if made.evidence is not None else None
    return {
        "version": made.version, "tag": made.tag, "event": made.event.hex(), "commit": made.commit.hex(), "round": made.round,
        "state": made.state.hex(), "record": made.digest.hex(), "previous": made.previous.hex() if made.previous else None,
        "evidence": evidence, "bump": made.evidence.bump().name.lower() if made.evidence is not None else None,
        "reason": made.evidence.reason() if made.evidence is not None else "the first release",
        "verdicts": [
            {"verdict": digest.hex(), "peer": peer, "hardware": verdict.hardware, **verdict.measurement.model_dump()}
            for digest, (peer, verdict) in zip(map(sha256, made.verdicts), made.opened_verdicts(), strict=True)
        ],
        "despite": made.despite, "dependents": [dependent_fields(each) for each in made.dependents], "tasks": list(made.tasks),
        "learned": list(made.evidence.learned) if made.evidence is not None else [],
        "message": made.message, "changelog": made.changelog, "licence": made.licence, "releaser": made.releaser,
        "credits": [credit.row() for credit in made.credits], "time": made.time,
    }  # fmt: skip


def dependent_fields(dependent: Dependent) -> dict[str, Any]:
    """Return a module that was re-tested as plain values."""
    gains = [
        {
            "gate": gain.compared.gate, "before": gain.before, "after": gain.after, "kept": gain.kept,
            "measures": gain.measures.model_dump() if gain.measures is not None else None,
            "passed": gain.compared.passed, "compared": gain.compared.model_dump(),
        }
        for gain in dependent.gains
    ]  # fmt: skip
    named = {"module": dependent.module, "version": dependent.version, "kind": dependent.kind, "package": dependent.package.hex()}
    return {**named, "fits": dependent.fits, "failed": dependent.failed, "problem": dependent.problem, "gains": gains}


def _some(files: Files) -> Files:
    if not files:
        raise UserError("there are no releases yet", "`collab-node release` makes one, `releases pull DIR` fetches them")
    return files


def _signer(home: HomeFlag, config: ConfigFlag) -> Identity:
    from .. import keys
    from .flags import home_of

    return keys.require(home_of(home, config).identity_path)


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)


@contextmanager
def _at_desk(home: HomeFlag, config: ConfigFlag, event: EventFlag, *, write: bool = False) -> Iterator[Desk]:
    from ..releases.publish import Desk
    from ..store import Store

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    opened = Store.open_beside(folder.store_path) if write else Store.open(folder.store_path, read_only=True)
    with opened as store:
        yield Desk(folder, manifest, store)
