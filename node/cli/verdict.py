"""`verdict` and `verdicts`: what peers signed about versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of

if TYPE_CHECKING:
    from ..gates.verdicts import Held

app = typer.Typer(help="Signed results of gates: take over another peer's.", no_args_is_help=True)


@app.callback()
def verdict() -> None:
    """Signed results of gates: take over another peer's."""


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gate run --json --sign` printed there.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Keep the verdicts in a file, if their signatures hold and the versions that they are about are here."""
    from ..gates.verdicts import add_verdicts, read_verdicts
    from ..store import Store

    _, folder = event_of(home, config, event)
    found = read_verdicts(file)
    with Store.open_beside(folder.store_path) as store:
        new = add_verdicts(folder.manifest().open(), store, found)
    typer.echo(f"{new} new verdict{'' if new == 1 else 's'}, {len(found) - new} known")


@app.command()
def drop(
    digest: Annotated[str, typer.Argument(metavar="VERDICT", help="By the first digits of its id.")],
    revision: Annotated[str, typer.Argument(metavar="[REV]", help="The version that it is about.")] = "HEAD",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Forget a verdict, of somebody whose measurements are not to count."""
    from ..errors import UserError
    from ..history.revisions import find_commit
    from ..store import Store

    _, folder = event_of(home, config, event)
    with Store.open_beside(folder.store_path) as store:
        about = store.verdicts.about(find_commit(store, revision).state)
        matching = [each for each in about if digest and each.digest.hex().startswith(digest.lower())]
        if len(matching) != 1:
            what = f"{len(matching)} verdicts' ids begin" if matching else "no verdict's id begins"
            raise UserError(f"{what} with {digest[:64]!r}", f"`collab-node verdicts {revision} --json` lists what there is")
        store.verdicts.drop(matching[0].digest)
    typer.echo(f"forgot what {matching[0].signer} said")


def verdicts(
    revision: Annotated[str, typer.Argument(metavar="[REV]", help="The version that they are about.")] = "HEAD",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """List what peers signed about a version, and where they contradict each other."""
    from ...protocol.verdict import contradictions
    from ..gates.verdicts import verdicts_of
    from ..history.revisions import find_commit
    from ..reading import open_store

    _, folder = event_of(home, config, event)
    with open_store(folder) as store:
        commit = find_commit(store, revision)
        held = verdicts_of(store, commit)
    against = contradictions((each.peer, each.verdict) for each in held)
    if as_json:
        rows = [each.fields() for each in held]
        typer.echo(json.dumps({"commit": commit.digest.hex(), "verdicts": rows, "contradictions": against}))
    elif held:
        _print(held)
        for line in against:
            typer.echo(f"contradiction: {line}")
    else:
        typer.echo("no verdicts")


def _print(held: Sequence[Held]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..gates.printing import interval, number
    from ..units import peer_text, printable, short

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("id", "gate", "worse by", "within", "samples", "", "signer", "hardware", "data"):
        table.add_column(heading, justify="right" if heading in ("worse by", "within", "samples") else "left")
    for each in held:
        measured, data = each.verdict.measurement, each.verdict.data
        table.add_row(
            short(each.signed.digest), measured.gate, number(measured.change, "+"), interval(measured), f"{measured.samples:,}",
            "passed" if measured.passed else "FAILED", peer_text(each.peer),
            Text(printable(each.verdict.hardware)),
            "own program" if data is None else short(data),
        )  # fmt: skip
    Console().print(table)
