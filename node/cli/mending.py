"""`bisect` and `revert`: which commit broke it, and how to take it out again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, settings_of
from .merging import DraftFlag, hand_on
from .offline import offline

if TYPE_CHECKING:
    from ...protocol.commit import Commit
    from ...protocol.event import EventManifest
    from ..history.bisect import Found
    from ..history.bisect_state import Limit, Question, State, StateFile
    from ..history.revert import Reverted
    from ..store import Store


def bisect(
    good: Annotated[str, typer.Argument(metavar="[GOOD]", help="A version that was good.")] = "",
    bad: Annotated[str, typer.Argument(metavar="[BAD]", help="A later one that is bad.")] = "",
    gate: Annotated[
        str, typer.Option("--gate", metavar="NAME", help="loss, on held-out samples; or a gate of the event's, against GOOD.")
    ] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="COMMAND", help="A command instead: 0 is good, 1 to 124 bad; for $COLLAB_WEIGHTS.")
    ] = "",
    above: Annotated[float | None, typer.Option("--above", metavar="X", help="A value above X is bad.")] = None,
    below: Annotated[float | None, typer.Option("--below", metavar="X", help="A value below X is bad.")] = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=0, help="So many held-out samples; 0: the event's.")] = 0,
    reset: Annotated[bool, typer.Option("--reset", help="Forget a bisection that was not finished.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Find the commit that broke a metric between GOOD and BAD, in ⌈log₂ n⌉ evaluations. Without arguments: go on with the last.

    Without --above or --below, bad is what is nearer to BAD's value than to GOOD's.
    """
    from ..history.bisect import NothingBroke
    from ..history.bisect import bisect as search
    from ..history.bisect_state import StateFile
    from ..reading import commit_line, open_store

    _, folder = event_of(home, config, event)
    settings = settings_of(config, device=device, data_dir=data_dir)
    file, manifest = StateFile(folder.path / "bisect.json"), folder.manifest().open()
    with file.lock():
        if reset:
            file.remove()
        with open_store(folder) as store:
            limit = _limit(above, below)
            given = bool(good or bad or gate or run)
            asked = _question(manifest, store, good, bad, gate, run, limit, samples) if given else None
            if reset and asked is None:
                return
            state = _state(file, asked)
            tell = (lambda line: None) if as_json else typer.echo
            try:
                found = offline(search(manifest, store, file, state, settings, tell))
            except NothingBroke:
                file.remove()
                raise
            file.remove()
            typer.echo(json.dumps(found.fields()) if as_json else _answer(found) + "\n" + commit_line(store.commit(found.commit)))


def _question(
    event: EventManifest, store: Store, good: str, bad: str, gate: str, run: str, limit: Limit | None, samples: int
) -> Question:
    from functools import partial

    from ..history.bisect import suspects
    from ..history.bisect_state import Limit, Question
    from ..history.metric import METRICS
    from .integrity import digest_of

    if not (good and bad) or bool(gate) == bool(run):
        raise UsageError("a bisection needs a GOOD and a BAD version, and --gate NAME or --run COMMAND")
    ends = digest_of(store, good), digest_of(store, bad)
    suspects(store, *ends)
    asked = partial(Question, good=ends[0].hex(), bad=ends[1].hex(), samples=samples)
    gates = [each.name for each in event.gate]
    itself = Limit(side="above", threshold=0.0)
    if run and limit is not None:
        raise UsageError("a command says by its exit status what is bad", "leave out --above and --below")
    if run:
        return asked(measure="command", name=run, limit=itself)
    if gate in gates and not (limit and gate in METRICS):
        if limit is not None:
            raise UsageError("a gate says itself what is bad", "leave out --above and --below")
        return asked(measure="gate", name=gate, limit=itself)
    if gate not in METRICS:
        known = ", ".join([*METRICS, *gates])
        raise UserError(f"there is no metric or gate {gate!r}", f"there is {known}; --run COMMAND takes any command")
    return asked(measure="metric", name=gate, limit=limit)


def _limit(above: float | None, below: float | None) -> Limit | None:
    from ..history.bisect_state import Limit

    if above is not None and below is not None:
        raise UsageError("--above and --below are two different things", "choose one")
    if above is not None:
        return Limit(side="above", threshold=above)
    return None if below is None else Limit(side="below", threshold=below)


def _state(file: StateFile, asked: Question | None) -> State:
    """Return the bisection to go on with, or a new one. Raises UserError if another one is not finished."""
    from ..history.bisect_state import State

    kept = file.load()
    if asked is None:
        if kept is None:
            raise UserError("no bisection is under way", "begin one: collab-node bisect GOOD BAD --gate loss")
        return kept
    if kept is not None and kept.question != asked:
        raise UserError("another bisection is not finished", "go on with it: `collab-node bisect`; or forget it: add --reset")
    return kept or State(question=asked)


def _answer(found: Found) -> str:
    from ..units import short

    tried = f"{found.evaluated} of {found.versions} versions were evaluated"
    both = ("", ", and the bad end", ", and both ends")[found.ends_evaluated]
    return f"commit {short(found.commit)} of round {found.round} is the first bad one; {tried}{both}"


def revert(
    revisions: Annotated[list[str] | None, typer.Argument(metavar="[COMMIT]...", help="What to take out again.")] = None,
    contributor: Annotated[
        str, typer.Option("--contributor", metavar="PEER", help="Only what this peer contributed; without COMMIT: all of it.")
    ] = "",
    into: Annotated[str, typer.Option("--into", metavar="BRANCH", help="The branch that takes the revert.")] = "reverts",
    onto: Annotated[str, typer.Option("--onto", metavar="REV", help="Where a new branch starts.")] = "HEAD",
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Why.")] = "",
    draft: DraftFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be taken out.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Subtract what commits, or a contributor, added to the weights, as a new commit on a branch of yours."""
    import time

    from .. import keys
    from ..deciding.maintainers import check_maintainer
    from ..history.revert import branch_to_take, keep_revert, make_revert
    from ..history.revisions import find_commit
    from ..store import Store

    node_home, folder = event_of(home, config, event)
    manifest, identity = folder.manifest().open(), keys.require(node_home.identity_path)
    with Store.open_beside(folder.store_path) as store:
        name, now, parent = branch_to_take(store, into, find_commit(store, onto))
        in_force = store.amendments.of(manifest).event_on(parent)
        if in_force.maintainers is not None:
            check_maintainer(in_force, identity)
        peer, commits = _meant(store, parent, revisions or [], contributor)
        made = offline(make_revert(
            manifest, store, settings_of(config, device=device), identity, parent, commits,
            peer=peer, message=message, time=int(time.time()),
        ))  # fmt: skip
        waiting = None if dry_run else hand_on(store, into, made.commit, draft, in_force.deciders().threshold)
        if not dry_run and waiting is None:
            keep_revert(store, name, now, made.commit)
    if as_json:
        waits = {} if waiting is None else {"draft": str(waiting)}
        typer.echo(json.dumps({**made.fields(), "branch": name, "kept": not dry_run and waiting is None, **waits}))
    else:
        _print_revert(made, into, dry_run or waiting is not None)
        if waiting is not None:
            typer.echo(f"others must sign {waiting}: `collab-node sign {waiting}`")


def _meant(store: Store, parent: Commit, revisions: list[str], contributor: str) -> tuple[str | None, list[Commit]]:
    """Return whose contributions are meant (None: everybody's) and in which commits, newest first. Raises UserError."""
    from ..history.revert import commits_with, peer_named
    from ..history.revisions import find_commit

    if not revisions and not contributor:
        raise UsageError("say what to revert: a COMMIT, or --contributor PEER")
    peer = peer_named(store, parent, contributor) if contributor else None
    if revisions:
        found = {commit.digest: commit for commit in (find_commit(store, revision) for revision in revisions)}
        return peer, sorted(found.values(), key=lambda commit: -commit.round)
    commits = commits_with(store, parent, peer or "")
    if not commits:
        raise UserError(f"everything of {peer} was taken out already")
    return peer, commits


def _print_revert(made: Reverted, branch: str, dry_run: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ..units import counted, short

    rounds = ("round " if len(made.rounds) == 1 else "rounds ") + ", ".join(str(round) for round in made.rounds)
    done = "would take out" if dry_run else f"{branch} is now at {short(made.commit.digest)}, round {made.commit.round}: took out"
    typer.echo(f"{done} {counted(made.contributions, 'contribution')} of {rounds}")
    if not any(each.later for each in made.tensors):
        typer.echo("no later commit moved the same coordinates")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("tensor", "taken out", "moved later", "share"):
        table.add_column(heading, justify="left" if heading == "tensor" else "right")
    for each in made.tensors:
        table.add_row(each.tensor, f"{each.taken:,}", f"{each.later:,}", f"{each.later / each.taken:.0%}")
    typer.echo(f"{made.later_commits} later commits moved some of the same coordinates; what they added stays:")
    Console().print(table)
