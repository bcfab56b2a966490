"""`propose` and `review`: changes that were made outside the swarm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, settings_of
from .offline import offline

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.identity import Identity
    from ..home import Home
    from ..proposals.conflicts import Comparison
    from ..store import Proposed

OntoFlag = Annotated[str, typer.Option("--onto", metavar="REV", help="The version to compare with or to merge into.")]
MessageFlag = Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="What it is and why.")]


def propose(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A safetensors file, a checkout's folder, or what save_pretrained wrote.")
    ],
    message: MessageFlag,
    base: Annotated[str, typer.Option("--base", metavar="REV", help="The version that it was trained from.")] = "HEAD",
    error: Annotated[
        float, typer.Option("--error", metavar="SHARE", min=1e-6, max=0.9, help="How much of the change may be lost (its norm).")
    ] = 0.02,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, help="Trained on so many: its weight.")] = 1,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Measure what merging by fisher or regmean needs, on the event's samples.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write it to FILE, to be sent.")] = None,
    push: Annotated[str, typer.Option("--push", metavar="REMOTE", help="Also push it to a remote.")] = "",
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a model that you trained from a version: the difference, as small as the error allows, signed."""
    import time

    from ...protocol.proposal import MAX_MESSAGE, open_proposal
    from ..history.replay import replaying
    from ..history.revisions import find_commit
    from ..proposals.board import keep, write_file
    from ..proposals.making import Made, make_proposal
    from ..proposals.printing import made_fields, made_lines
    from ..proposals.weights import checkpoint_file
    from ..store import Store
    from .remote import check_remote, check_taken, push_to

    if len(message) > MAX_MESSAGE:
        raise UsageError(f"the message has {len(message)} characters, {MAX_MESSAGE} are allowed")
    if out is not None and out.exists():
        raise UserError(f"{out} is already there", "choose another name")
    node, folder = event_of(home, config, event)
    if push:
        check_remote(folder, push)
    manifest, identity = folder.manifest().open(), identity_of(node)

    async def make(store: Store, commit: Commit, file: Path) -> Made:
        async with replaying(manifest, store, settings_of(config, device=device), data=statistics) as replay:
            return await make_proposal(
                replay, identity, commit, file,
                error=error, samples=samples, message=message, time=int(time.time()), statistics=statistics,
            )  # fmt: skip

    with checkpoint_file(manifest, checkpoint) as file, Store.open_beside(folder.store_path) as store:
        made = offline(make(store, find_commit(store, base), file))
        keep(store, made.signed, *made.blobs)
        if out is not None:
            write_file(out.absolute(), made.signed, *made.blobs)
    proposal = open_proposal(made.signed.encode())[1]
    if as_json:
        typer.echo(json.dumps(made_fields(made.signed, proposal)))
    else:
        typer.echo("\n".join(made_lines(made, proposal, out)))
    if push:
        told = push_to(node, folder, push, [f"proposals/{made.signed.digest.hex()}"])
        typer.echo("\n".join(told.lines()), err=as_json)
        check_taken(told)


def review(
    which: Annotated[str, typer.Argument(metavar="[PROPOSAL|FILE]", help="By the first digits of its id; none: list all.")] = "",
    onto: OntoFlag = "HEAD",
    everything: Annotated[bool, typer.Option("--all", help="List those that were merged, too.")] = False,
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """List the open proposals, or show one and what it conflicts with. A FILE is checked and taken over first."""
    from rich.console import Console

    from ..history.replay import replaying
    from ..history.revisions import find_commit
    from ..proposals.board import find_proposals, keep, read_file
    from ..proposals.conflicts import compare
    from ..proposals.printing import proposal_fields, proposals_table
    from ..store import Store
    from ..units import printable

    _, folder = event_of(home, config, event)
    manifest = folder.manifest().open()

    async def compared_to(store: Store, target: Commit, chosen: list[Proposed]) -> list[Comparison]:
        async with replaying(manifest, store, settings_of(config, device=device)) as replay:
            return await compare(replay, store, target, chosen)

    with Store.open_beside(folder.store_path) as store:
        if not which:
            found = [each for each in store.proposals.all() if everything or each.merged is None]
            if as_json:
                typer.echo(json.dumps([proposal_fields(each) for each in found]))
            elif found:
                Console().print(proposals_table(store, found))
            else:
                typer.echo("no open proposals")
            return
        if Path(which).is_file():
            signed, _, blobs = read_file(Path(which), manifest, store)
            keep(store, signed, *blobs)
            which = signed.digest.hex()
        chosen = find_proposals(store, [which])
        compared = offline(compared_to(store, find_commit(store, onto), chosen))
        if as_json:
            typer.echo(json.dumps({**proposal_fields(chosen[0]), "conflicts": conflicts_fields(compared)}))
            return
        Console().print(proposals_table(store, chosen))
    typer.echo(f"by {chosen[0].maker}\n\n{printable(chosen[0].proposal.message)}\n")
    show_conflicts(compared, f"nothing changed between its base and {onto}")


def identity_of(node: Home) -> Identity:
    """Return the node's key. Raises UserError."""
    from .. import keys

    return keys.require(node.identity_path)


def show_conflicts(compared: list[Comparison], otherwise: str) -> None:
    """Print a table a comparison, or `otherwise` if there is none."""
    from rich.console import Console

    from ..proposals.printing import conflict_table

    for comparison in compared:
        Console().print(conflict_table(comparison))
    if not compared:
        typer.echo(otherwise)


def conflicts_fields(compared: list[Comparison]) -> list[dict[str, Any]]:
    """Return the comparisons as plain values."""
    from ..proposals.printing import conflict_fields

    return [conflict_fields(comparison) for comparison in compared]
