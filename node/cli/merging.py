"""`test`, `merge` and `sign`: what becomes of proposals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, ThreadsFlag, event_of, settings_of
from .offline import offline
from .proposals import MessageFlag, OntoFlag, conflicts_fields, identity_of, show_conflicts

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.event import EventManifest
    from ..deciding.draft import Draft
    from ..proposals.conflicts import Comparison
    from ..proposals.merging import Attempt, Plan
    from ..store import Proposed, Store

ProposalsArgument = Annotated[list[str], typer.Argument(metavar="PROPOSAL…", help="By the first digits of their ids.")]
MethodFlag = Annotated[
    str, typer.Option("--method", metavar="NAME", help="auto: the one that does best on the gates' data, or on held-out data.")
]
SetFlag = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the method; may be repeated.")
]
GatesFlag = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Run your own gates (TOML) as well; they may be commands.")
]
DraftFlag = Annotated[
    Path | None, typer.Option("--draft", metavar="FILE", help="Where a commit waits that others have to sign, too.")
]


def trial(
    proposals: ProposalsArgument,
    method: MethodFlag = "auto",
    onto: OntoFlag = "HEAD",
    parameters: SetFlag = None,
    file: GatesFlag = None,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Merge proposals as `merge` would, and run the gates on the result: exit code 1 if one fails. Nothing is kept."""
    from ..history.progress import shown_on_terminal
    from ..history.replay import replaying
    from ..history.revisions import find_commit
    from ..proposals.board import find_proposals
    from ..proposals.merging import check_new, needs_data, try_merge
    from ..store import Store

    node, folder = event_of(home, config, event)
    manifest, identity = folder.manifest().open(), identity_of(node)
    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    plan = _plan(manifest, method, parameters, "", file)
    if not plan.gates:
        raise UserError("there is no gate to run", "an event's gates are its [[gate]] sections; --file FILE reads your own")

    async def work(store: Store, parent: Commit, chosen: list[Proposed]) -> Attempt:
        with shown_on_terminal() as progress:
            async with replaying(manifest, store, settings, data=needs_data(plan)) as replay:
                return await try_merge(replay, store, identity, parent, chosen, plan, progress)

    with Store.open_beside(folder.store_path) as store:
        chosen = find_proposals(store, proposals)
        plan.check(len(chosen))
        parent = find_commit(store, onto)
        check_new(store, parent, chosen)
        tested = offline(work(store, parent, chosen))
    _tell_tested(tested, as_json)
    if tested.failed:
        raise typer.Exit(1)


def merge(
    proposals: ProposalsArgument,
    method: MethodFlag = "auto",
    into: Annotated[str, typer.Option("--into", metavar="BRANCH", help="The branch that takes the commit.")] = "merged",
    onto: OntoFlag = "HEAD",
    parameters: SetFlag = None,
    message: MessageFlag = "",
    file: GatesFlag = None,
    despite: Annotated[
        str, typer.Option("--despite-gates", metavar="REASON", help="Merge what fails a gate; the commit says why.")
    ] = "",
    draft: DraftFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only report the conflicts.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    threads: ThreadsFlag = None, data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Merge proposals into a commit that you, a maintainer, sign. Conflicts are reported first, and the gates must pass."""
    from ..deciding.maintainers import check_maintainer
    from ..history.progress import shown_on_terminal
    from ..history.replay import replaying
    from ..history.revert import branch_to_take
    from ..history.revisions import find_commit
    from ..proposals.board import find_proposals
    from ..proposals.conflicts import compare
    from ..proposals.merging import check_despite, check_new, commit_of, keep_merge, needs_data, try_merge
    from ..store import Store

    node, folder = event_of(home, config, event)
    manifest, identity = folder.manifest().open(), identity_of(node)
    settings = settings_of(config, device=device, threads=threads, data_dir=data_dir)
    plan = _plan(manifest, method, parameters, message, file)

    async def work(store: Store, parent: Commit, chosen: list[Proposed]) -> tuple[list[Comparison], Attempt | None]:
        async with replaying(manifest, store, settings, data=needs_data(plan) and not dry_run) as replay:
            compared = await compare(replay, store, parent, chosen)
            if not as_json:
                show_conflicts(compared, "no conflicts: one proposal, on the version that it was made from")
            if dry_run:
                return compared, None
            with shown_on_terminal() as progress:
                return compared, await try_merge(replay, store, identity, parent, chosen, plan, progress)

    with Store.open_beside(folder.store_path) as store:
        chosen = find_proposals(store, proposals)
        check_despite(despite)
        plan.check(len(chosen))
        name, expected, parent = branch_to_take(store, into, find_commit(store, onto))
        check_new(store, parent, chosen)
        in_force = store.amendments.of(manifest).event_on(parent)
        check_maintainer(in_force, identity)
        compared, tested = offline(work(store, parent, chosen))
        if tested is None:
            if as_json:
                typer.echo(json.dumps({"conflicts": conflicts_fields(compared)}))
            return
        commit = commit_of(manifest, store, identity, tested, despite)
        waiting = hand_on(store, into, commit, draft, in_force.deciders().threshold)
        if waiting is None:
            keep_merge(store, name, expected, commit)
    _tell_merged(commit, into, compared, waiting, as_json)


def sign(
    draft: Annotated[Path, typer.Argument(metavar="DRAFT", help="What `merge` or `revert` wrote for others to sign.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Sign another maintainer's merge or revert, once it is replayed here; with enough signatures it becomes a commit."""
    from ..deciding.draft import read_draft, write_draft
    from ..deciding.signing import keep_draft, sign_draft
    from ..store import Store
    from ..units import short

    node, folder = event_of(home, config, event)
    manifest, identity = folder.manifest().open(), identity_of(node)
    read, payloads = read_draft(draft)
    with Store.open_beside(folder.store_path) as store:
        done = offline(sign_draft(manifest, store, settings_of(config, device=device), identity, read, payloads))
        if not as_json:
            _show_draft(done.draft)
        kept = not done.missing and keep_draft(store, done.draft)
        if done.added:
            write_draft(draft, done.draft, store)
    commit = done.draft.commit
    if as_json:
        signers = done.draft.signers()
        fields = {"commit": commit.digest.hex(), "branch": read.branch, "signers": signers, "missing": done.missing, "kept": kept}
        typer.echo(json.dumps(fields))
    elif done.missing:
        typer.echo(f"signed {draft}: {done.missing} more must sign; send it on")
    else:
        where = "is at" if kept else "was already at"
        typer.echo(f"{read.branch} {where} commit {short(commit.digest)}; others take it over: `collab-node sign {draft}`")


def hand_on(store: Store, branch: str, commit: Commit, file: Path | None, threshold: int) -> Path | None:
    """Write a commit to a file if others have to sign it yet, and return the file. Raises UserError."""
    from ..deciding.draft import Draft, write_draft
    from ..units import short

    if threshold == 1:
        return None
    path = file or Path(f"{short(commit.digest)}.draft")
    write_draft(path.absolute(), Draft(branch, commit), store)
    return path


def _plan(event: EventManifest, method: str, parameters: list[str] | None, message: str, file: Path | None) -> Plan:
    import time

    from ..gates.file import read_gate_file
    from ..gates.run import all_gates
    from ..proposals.merging import Plan

    own = read_gate_file(file) if file is not None else ()
    chosen, gates = _parameters(parameters or []), all_gates(event.gate, own)
    return Plan(method, chosen, message, int(time.time()), gates, event.merge.cap)


def _parameters(given: list[str]) -> dict[str, float]:
    found = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--set {each!r} is not NAME=VALUE with a number") from error
    return found


def _tell_tested(tested: Attempt, as_json: bool) -> None:
    from rich.console import Console

    from ..gates.printing import gates_table
    from ..proposals.merged import tried_lines
    from ..units import short

    merge, parent = tested.merge, tested.parent
    if as_json:
        fields = {
            "against": parent.digest.hex(), "state": merge.state.hex(), "method": merge.method, "parameters": merge.parameters,
            "tried": [each.model_dump() for each in merge.tried], "passed": not tested.failed, "failed": tested.failed,
            "gates": [result.fields() for result in tested.results],
        }  # fmt: skip
        typer.echo(json.dumps(fields))
        return
    for line in tried_lines(merge):
        typer.echo(line)
    title = f"merged by {merge.method}, against round {parent.round} ({short(parent.digest)})"
    Console().print(gates_table(title, [result.measurement for result in tested.results]))


def _tell_merged(commit: Commit, into: str, compared: list[Comparison], waiting: Path | None, as_json: bool) -> None:
    from ...protocol.proposal import open_merge
    from ..proposals.merged import merged_fields, tried_lines, verdict_lines
    from ..proposals.statistics import leaves_room
    from ..units import short

    made = open_merge(commit)[1]
    if as_json:
        merged = {name: value for name, value in merged_fields(commit).items() if name not in ("message", "proposals")}
        fields = {"commit": commit.digest.hex(), "branch": into, "state": commit.state.hex(), **merged}
        draft = {} if waiting is None else {"draft": str(waiting)}
        typer.echo(json.dumps({**fields, **draft, "conflicts": conflicts_fields(compared)}))
        return
    for line in (*tried_lines(made), *verdict_lines(commit)):
        typer.echo(line)
    if not leaves_room(made):
        typer.echo(f"a cap of {made.parameters['cap']:g} makes this the average: who trusts the statistics says --set cap=1")
    what = f"{len(made.proposals)} proposals merged by {made.method}"
    if waiting is None:
        typer.echo(f"{into} is at commit {short(commit.digest)}: {what}")
    else:
        typer.echo(f"{what}; others must sign {waiting}: `collab-node sign {waiting}`")


def _show_draft(draft: Draft) -> None:
    from ..history.show import revert_lines
    from ..proposals.merged import merged_lines

    commit = draft.commit
    for line in revert_lines(commit) if commit.method == "revert" else merged_lines(commit):
        typer.echo(line)
    typer.echo(f"signed by {', '.join(draft.signers())}")
