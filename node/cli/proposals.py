"""`propose`, `review` and `merge`: changes that were made outside the swarm."""

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
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A safetensors file, or a folder with one.")],
    message: MessageFlag,
    base: Annotated[str, typer.Option("--base", metavar="REV", help="The version that it was trained from.")] = "HEAD",
    error: Annotated[
        float, typer.Option("--error", metavar="SHARE", min=1e-6, max=0.9, help="How much of the change may be lost (its norm).")
    ] = 0.02,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, help="Trained on so many: its weight.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write it to FILE, to be sent.")] = None,
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a model that you trained from a version: the difference, as small as the error allows, signed."""
    import time

    from ...protocol.messages import Signed
    from ...protocol.proposal import MAX_MESSAGE, open_proposal
    from ..history.replay import replaying
    from ..history.revisions import find_commit
    from ..proposals.board import keep, write_file
    from ..proposals.making import make_proposal
    from ..proposals.weights import checkpoint_file
    from ..store import Store
    from ..units import bytes_text, short

    if len(message) > MAX_MESSAGE:
        raise UsageError(f"the message has {len(message)} characters, {MAX_MESSAGE} are allowed")
    if out is not None and out.exists():
        raise UserError(f"{out} is already there", "choose another name")
    file = checkpoint_file(checkpoint)
    node, folder = event_of(home, config, event)
    manifest, identity = folder.manifest().open(), _identity(node)

    async def make(store: Store, commit: Commit) -> tuple[Signed, bytes]:
        async with replaying(manifest, store, settings_of(config, device=device)) as replay:
            return await make_proposal(
                replay, identity, commit, file,
                error=error, samples=samples, message=message, time=int(time.time()),
            )  # fmt: skip

    with Store.open_beside(folder.store_path) as store:
        signed, payload = offline(make(store, find_commit(store, base)))
        keep(store, signed, payload)
        if out is not None:
            write_file(out.absolute(), signed, payload)
    proposal = open_proposal(signed.encode())[1]
    if as_json:
        fields = {"proposal": signed.digest.hex(), "form": proposal.form, "bytes": len(payload), "error": proposal.error}
        typer.echo(json.dumps(fields))
        return
    typer.echo(f"proposal {short(signed.digest)}: {proposal.form}, {bytes_text(len(payload))}, error {100 * proposal.error:.2g}%")
    if out is not None:
        typer.echo(f"wrote {out}: `collab-node review {out.name}` takes it over elsewhere")


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
    from ..proposals.merged import printable
    from ..proposals.printing import proposal_fields, proposals_table
    from ..store import Store

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
            signed, _, payload = read_file(Path(which), manifest, store)
            keep(store, signed, payload)
            which = signed.digest.hex()
        chosen = find_proposals(store, [which])
        compared = offline(compared_to(store, find_commit(store, onto), chosen))
        if as_json:
            typer.echo(json.dumps({**proposal_fields(chosen[0]), "conflicts": _fields(compared)}))
            return
        Console().print(proposals_table(store, chosen))
    typer.echo(f"by {chosen[0].maker}\n\n{printable(chosen[0].proposal.message)}\n")
    _show(compared, f"nothing changed between its base and {onto}")


def merge(
    proposals: Annotated[list[str], typer.Argument(metavar="PROPOSAL…", help="By the first digits of their ids.")],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="auto: the one of the lowest held-out loss.")] = "auto",
    into: Annotated[str, typer.Option("--into", metavar="BRANCH", help="The branch that takes the commit.")] = "merged",
    onto: OntoFlag = "HEAD",
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the method; may be repeated.")
    ] = None,
    message: MessageFlag = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only report the conflicts.")] = False,
    home: HomeFlag = None,
    config: ConfigFlag = None,
    event: EventFlag = "",
    device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Merge proposals into a commit that you, the coordinator, sign. What conflicts is reported first."""
    import time

    from ...protocol.proposal import open_merge
    from ..history.replay import replaying
    from ..history.revert import branch_to_take
    from ..history.revisions import find_commit
    from ..proposals.board import find_proposals
    from ..proposals.conflicts import compare
    from ..proposals.merged import tried_lines
    from ..proposals.merging import AUTO, check_merge, keep_merge, merge_proposals
    from ..store import Store
    from ..units import short

    chosen_parameters = _parameters(parameters or [])
    node, folder = event_of(home, config, event)
    manifest, identity, settings = folder.manifest().open(), _identity(node), settings_of(config, device=device)

    async def work(store: Store, parent: Commit, chosen: list[Proposed]) -> tuple[list[Comparison], Commit | None]:
        async with replaying(manifest, store, settings, data=method == AUTO and not dry_run) as replay:
            compared = await compare(replay, store, parent, chosen)
            if not as_json:
                _show(compared, "no conflicts: one proposal, on the version that it was made from")
            if dry_run:
                return compared, None
            return compared, await merge_proposals(
                replay, store, identity, parent, chosen,
                method=method, parameters=chosen_parameters, message=message, time=int(time.time()),
            )  # fmt: skip

    with Store.open_beside(folder.store_path) as store:
        chosen = find_proposals(store, proposals)
        name, expected, parent = branch_to_take(store, into, find_commit(store, onto))
        check_merge(store.amendments.of(manifest).event_on(parent), identity, len(chosen), method, chosen_parameters)
        compared, commit = offline(work(store, parent, chosen))
        if commit is None:
            if as_json:
                typer.echo(json.dumps({"conflicts": _fields(compared)}))
            return
        keep_merge(store, name, expected, commit, chosen)
    made = open_merge(commit)[1]
    if as_json:
        fields = {
            "commit": commit.digest.hex(), "branch": into, "state": commit.state.hex(), "method": made.method,
            "parameters": made.parameters, "tried": [each.model_dump() for each in made.tried], "conflicts": _fields(compared),
        }  # fmt: skip
        typer.echo(json.dumps(fields))
        return
    for line in tried_lines(made):
        typer.echo(line)
    typer.echo(f"{into} is at commit {short(commit.digest)}: {len(chosen)} proposals merged by {made.method}")


def _identity(node: Home) -> Identity:
    from .. import keys

    try:
        return keys.load(node.identity_path)
    except FileNotFoundError as error:
        raise UserError(f"there is no key {node.identity_path} yet", "`event create` and `join` make one") from error


def _parameters(given: list[str]) -> dict[str, float]:
    found = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--set {each!r} is not NAME=VALUE with a number") from error
    return found


def _show(compared: list[Comparison], otherwise: str) -> None:
    from rich.console import Console

    from ..proposals.printing import conflict_table

    for comparison in compared:
        Console().print(conflict_table(comparison))
    if not compared:
        typer.echo(otherwise)


def _fields(compared: list[Comparison]) -> list[dict[str, Any]]:
    from ..proposals.printing import conflict_fields

    return [conflict_fields(comparison) for comparison in compared]
