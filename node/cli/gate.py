"""`gate`: run the event's gates, or one's own, on any version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, ThreadsFlag, event_of, settings_of

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ..gates.run import Result
    from ..store import Store

app = typer.Typer(help="Tests that a version must pass: run them on any.", no_args_is_help=True)


@app.callback()
def gate() -> None:
    """Tests that a version must pass: run them on any."""


@app.command("run")
def run(
    revision: Annotated[str, typer.Argument(metavar="REV", help="The version to test; default: the newest.")] = "HEAD",
    against: Annotated[str, typer.Option("--against", metavar="REV", help="Compare with this one, not with its parent.")] = "",
    name: Annotated[list[str] | None, typer.Option("--name", metavar="NAME", help="Only this gate; may be repeated.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Run your own gates (TOML); they may be commands.")
    ] = None,
    sign: Annotated[bool, typer.Option("--sign", help="With --json: add verdicts signed by this node, and keep them.")] = False,
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    threads: ThreadsFlag = None,
    data_dir: DataFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Test a version against the one before it, and exit with 1 if a gate fails."""
    from rich.console import Console

    from ..gates.file import read_gate_file
    from ..gates.printing import compared, gates_table
    from ..gates.run import choose, run_gates
    from ..history.progress import shown_on_terminal
    from ..history.revisions import find_commit
    from ..keys import require
    from ..reading import open_store
    from ..store import Store
    from .offline import offline

    if sign and not as_json:
        raise UserError("--sign goes with --json", "add --json")
    node_home, folder = event_of(home, config, event)
    manifest = folder.manifest().open()
    gates = choose(read_gate_file(file) if file is not None else manifest.gate, name or [])
    if not gates:
        raise UserError("there is no gate to run", "an event's gates are its [[gate]] sections; --file FILE reads your own")
    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    with open_store(folder) as store, shown_on_terminal() as progress:
        candidate = find_commit(store, revision)
        base = find_commit(store, against) if against else _parent(store, candidate)
        found = offline(run_gates(manifest, store, settings, gates, candidate, base, progress))
    if as_json:
        verdicts = [result.sign(require(node_home.identity_path), manifest, candidate, base) for result in found if sign]
        if verdicts:
            with Store.open_beside(folder.store_path) as store:
                store.verdicts.add(verdicts)
        signed = [{"verdict": verdict.encode().hex()} for verdict in verdicts] or [{}] * len(found)
        rows = [result.fields() | more for result, more in zip(found, signed, strict=True)]
        typer.echo(json.dumps(_report(candidate, base, found, rows)))
    else:
        measured = [result.measurement for result in found]
        Console().print(gates_table(compared(candidate, base), measured))
    if not all(result.measurement.passed for result in found):
        raise typer.Exit(1)


def _parent(store: Store, commit: Commit) -> Commit:
    if not commit.parents:
        raise UserError("the first version has none before it to be compared with", "say which one with --against REV")
    return store.commit(commit.base)


def _report(candidate: Commit, base: Commit, found: Sequence[Result], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "commit": candidate.digest.hex(), "against": base.digest.hex(), "round": candidate.round, "against_round": base.round,
        "passed": all(result.measurement.passed for result in found), "gates": rows,
    }  # fmt: skip
